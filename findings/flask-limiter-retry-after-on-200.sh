#!/usr/bin/env bash
# What surprised: with its headers switched on, Flask-Limiter sends Retry-After on every answer, on a 200 with quota
# left too. The header says 60 seconds, and the next request is served at once.
# Why it matters to a crawler: one that obeys Retry-After whatever the status asks one song a minute of a server that
# would give a hundred. The header may only be obeyed on an answer that refuses.
# Versions: Flask-Limiter 4.1.1, Flask 3.1.3.
# Output seen on 2026-11-29:
#   request 1: 200 remaining=99 retry-after=60
#   request 2: 200 remaining=98 retry-after=60
#   request 3: 200 remaining=97 retry-after=60
# Authority: RFC 9110, section 10.2.3: the field says how long to wait before a follow-up request. It names 503 and
# redirects, RFC 6585, section 4, adds 429; nothing asks for it where the request was served.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check Flask-Limiter==4.1.1 Flask==3.1.3

"$folder/venv/bin/python" - <<'END'
import logging
import sys
import threading
import urllib.request
from importlib.metadata import version

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
app = Flask("songs")
limiter = Limiter(get_remote_address, app=app, headers_enabled=True, storage_uri="memory://")


@app.get("/songs/<int:number>")
@limiter.limit("100/minute")
def song(number):
    return {"number": number}


server = make_server("127.0.0.1", 0, app)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("Flask-Limiter", version("Flask-Limiter"))
seen = []
for number in (1, 2, 3):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/songs/{number}") as answer:
        left, wait = answer.headers["X-RateLimit-Remaining"], answer.headers["Retry-After"]
        print(f"request {number}: {answer.status} remaining={left} retry-after={wait}")
        seen.append((answer.status, int(left) > 0, int(wait or 0) > 50))
server.shutdown()
sys.exit(seen != [(200, True, True)] * 3)
END
