#!/usr/bin/env bash
# What surprised: dlt's requests helper obeys Retry-After, but only up to request_max_retry_delay, a setting of the
# backoff (300 seconds by default). A server that asks for more is asked again too early; nothing is reported about it.
# Why it matters to a crawler: quotas of an hour or a day are common. Each early return is a request in vain, the five
# attempts are spent within 20 minutes, and a limiter that counts refused requests starts its window anew never lets it
# in.
# Versions: dlt 1.31.0. The cap is set to 1 second and Retry-After to 4, so that the script is quick.
# Output seen on 2026-11-29:
#   Retry-After: 4, came back after 1.0 seconds
# Authority: RFC 9110, section 10.2.3: the value is how long the client ought to wait, not a wish to be cut short.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check dlt==1.31.0

cd "$folder"
export RUNTIME__DLTHUB_TELEMETRY=false
"$folder/venv/bin/python" - <<'END'
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dlt
from dlt.sources.helpers.requests import Client

times = []


class RefusingOnce(BaseHTTPRequestHandler):
    def do_GET(self):
        times.append(time.monotonic())
        self.send_response(429 if len(times) == 1 else 200)
        self.send_header("Retry-After", "4")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), RefusingOnce)
threading.Thread(target=server.serve_forever, daemon=True).start()
Client(request_max_retry_delay=1).get(f"http://127.0.0.1:{server.server_port}/songs/1")
server.shutdown()
waited = times[1] - times[0]
print("dlt", dlt.__version__)
print(f"Retry-After: 4, came back after {waited:.1f} seconds")
sys.exit(waited >= 3.5)
END
