#!/usr/bin/env bash
# What surprised: hapi-rate-limit documents X-RateLimit-UserReset as the time in milliseconds until the window ends, and
# sends the moment at which it ends, in milliseconds since 1970. Its 429 has no Retry-After, and counts below zero:
# X-RateLimit-UserRemaining is -1.
# Why it matters to a crawler: read by the README, the wait is 57 years; read as the epoch seconds that others send, it
# ends in 57 thousand years. A remaining count read as unsigned fails on -1.
# Versions: hapi-rate-limit 8.0.0, @hapi/hapi 21.4.10.
# Output seen on 2026-11-29 (the reset follows the clock):
#   429 remaining=-1 reset=1795994933576 retry-after=null
# Authority: the README of hapi-rate-limit 8.0.0, in its list of response headers.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @hapi/hapi@21.4.10 hapi-rate-limit@8.0.0

cat >show.mjs <<'END'
import Hapi from '@hapi/hapi';
import limit from 'hapi-rate-limit';

const server = Hapi.server({ port: 0, host: '127.0.0.1' });
const options = { userLimit: 2, userCache: { expiresIn: 60_000 }, pathLimit: false };
await server.register({ plugin: limit, options });
server.route({ method: 'GET', path: '/', handler: () => ({}) });
await server.start();
let answer;
for (let count = 0; count < 3; count++) answer = await fetch(server.info.uri);
await server.stop();

const [left, reset, wait] = ['x-ratelimit-userremaining', 'x-ratelimit-userreset', 'retry-after']
  .map((name) => answer.headers.get(name));
console.log(`${answer.status} remaining=${left} reset=${reset} retry-after=${wait}`);
const isDate = Math.abs(Number(reset) - Date.now() - 60_000) < 10_000;
process.exitCode = answer.status === 429 && left === '-1' && isDate && wait === null ? 0 : 1;
END
npm ls hapi-rate-limit
grep -n 'x-ratelimit-userreset' node_modules/hapi-rate-limit/README.md
node show.mjs
