#!/usr/bin/env bash
# What surprised: once its limits have names, as its documentation shows for several limits on one API,
# @nestjs/throttler adds the name to Retry-After as well: the 429 carries Retry-After-short and no Retry-After.
# Why it matters to a crawler: it finds no word about when to come back, though the server meant to give it, and falls
# back on a guess. The part after the dash is chosen by whoever runs the API, so there is no list to look it up in.
# Versions: @nestjs/throttler 6.7.1, @nestjs/core, common and platform-express 12.5.1.
# Output seen on 2026-11-29:
#   one limit without a name: 429 {"retry-after":"60"}
#   limits named short and long: 429 {"retry-after-short":"60"}
# Authority: RFC 6585, section 4, and RFC 9110, section 10.2.3, know the field Retry-After alone.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @nestjs/throttler@6.7.1 @nestjs/common@12.5.1 @nestjs/core@12.5.1 \
    @nestjs/platform-express@12.5.1 reflect-metadata@0.2.2 rxjs@7.8.2

cat >show.mjs <<'END'
import 'reflect-metadata';
import { Controller, Get, Module } from '@nestjs/common';
import { APP_GUARD, NestFactory } from '@nestjs/core';
import { ThrottlerGuard, ThrottlerModule } from '@nestjs/throttler';

class Songs { find() { return {}; } }
Get()(Songs.prototype, 'find', Object.getOwnPropertyDescriptor(Songs.prototype, 'find'));
Controller()(Songs);

async function refusal(limits) {
  class App {}
  const providers = [{ provide: APP_GUARD, useClass: ThrottlerGuard }];
  Module({ imports: [ThrottlerModule.forRoot(limits)], controllers: [Songs], providers })(App);
  const app = await NestFactory.create(App, { logger: false });
  await app.listen(0, '127.0.0.1');
  const url = `http://127.0.0.1:${app.getHttpServer().address().port}/`;
  let answer;
  for (let count = 0; count < 3; count++) answer = await fetch(url);
  await app.close();
  const waits = Object.fromEntries([...answer.headers].filter(([name]) => name.startsWith('retry-after')));
  return `${answer.status} ${JSON.stringify(waits)}`;
}

const plain = await refusal([{ ttl: 60_000, limit: 2 }]);
const named = await refusal([{ name: 'short', ttl: 60_000, limit: 2 }, { name: 'long', ttl: 3_600_000, limit: 100 }]);
console.log('one limit without a name:', plain);
console.log('limits named short and long:', named);
const same = /^429 {"retry-after":"\d+"}$/.test(plain) && /^429 {"retry-after-short":"\d+"}$/.test(named);
process.exitCode = same ? 0 : 1;
END
npm ls @nestjs/throttler
node show.mjs
