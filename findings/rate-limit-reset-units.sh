#!/usr/bin/env bash
# What surprised: three rate limiters send a header of the very same name, X-RateLimit-Reset, for the same window of 60
# seconds, and write it in three ways: seconds left, an epoch second, an epoch second with a fraction.
# Why it matters to a crawler: the name does not tell the unit. Taken for seconds left, an epoch second is a pause of
# half a century; taken for an epoch second, 60 lies in 1970 and no pause is made at all; read as an integer, the
# fraction is an error. The reader has to judge by the size of the value, and must accept a fraction.
# Versions: @fastify/rate-limit 11.2.0 (fastify 5.12.8), express-rate-limit 8.7.5 (express 5.3.0), koa-ratelimit 6.0.0
# (koa 3.3.0), all with the headers of their defaults.
# Output seen on 2026-11-29 (the epochs follow the clock):
#   @fastify/rate-limit 60 (seconds left)
#   express-rate-limit 1795994825 (epoch second)
#   koa-ratelimit 1795994933.22941 (epoch second with a fraction)
# Authority: no standard defines the name. The README of @fastify/rate-limit says seconds that must pass;
# draft-ietf-httpapi-ratelimit-headers chose seconds left for its own fields, since epochs need clocks that agree.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund fastify@5.12.8 @fastify/rate-limit@11.2.0 express@5.3.0 \
    express-rate-limit@8.7.5 koa@3.3.0 koa-ratelimit@6.0.0

cat >show.mjs <<'END'
import Fastify from 'fastify';
import fastifyLimit from '@fastify/rate-limit';
import express from 'express';
import { rateLimit } from 'express-rate-limit';
import Koa from 'koa';
import koaLimit from 'koa-ratelimit';

const minute = 60_000;

async function withFastify() {
  const app = Fastify();
  await app.register(fastifyLimit, { max: 10, timeWindow: minute });
  app.get('/', async () => ({}));
  await app.listen({ port: 0, host: '127.0.0.1' });
  return app.server;
}

function withExpress() {
  const app = express();
  app.use(rateLimit({ windowMs: minute, limit: 10 }));
  app.get('/', (_, answer) => answer.json({}));
  return app.listen(0, '127.0.0.1');
}

function withKoa() {
  const app = new Koa();
  app.use(koaLimit({ driver: 'memory', db: new Map(), duration: minute, max: 10 }));
  app.use((context) => { context.body = {}; });
  return app.listen(0, '127.0.0.1');
}

async function resetOf(server) {
  if (!server.listening) await new Promise((ready) => server.once('listening', ready));
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/`);
  server.close();
  return answer.headers.get('x-ratelimit-reset') ?? 'none';
}

function unitOf(text) {
  const isEpoch = Math.abs(Number(text) - Date.now() / 1000 - 60) < 10;
  if (/^\d+$/.test(text)) return isEpoch ? 'epoch second' : Number(text) <= 60 ? 'seconds left' : 'unknown';
  return isEpoch ? 'epoch second with a fraction' : 'unknown';
}

const cases = [
  ['@fastify/rate-limit', withFastify, 'seconds left'],
  ['express-rate-limit', withExpress, 'epoch second'],
  ['koa-ratelimit', withKoa, 'epoch second with a fraction'],
];
for (const [name, make, expected] of cases) {
  let text = await resetOf(await make());
  // A window may happen to end on a whole second.
  for (let more = 0; name === 'koa-ratelimit' && more < 3 && unitOf(text) !== expected; more++) {
    text = await resetOf(make());
  }
  console.log(name, text, `(${unitOf(text)})`);
  if (unitOf(text) !== expected) process.exitCode = 1;
}
END
npm ls @fastify/rate-limit express-rate-limit koa-ratelimit
node show.mjs
