#!/usr/bin/env bash
# What surprised: Crawlee for Python tells URLs apart by a key in which the whole URL is in lower case, path and query
# too. Of /songs/aB and /songs/Ab only the first is ever fetched, and nothing is reported.
# Why it matters to a crawler: keys in base 62 or base 64, as many APIs have them, differ in case alone. One of such a
# pair is lost without a failure; a count of the rows alone shows it.
# Versions: crawlee 1.11.0.
# Output seen on 2026-11-29:
#   asked for ['/songs/aB', '/songs/Ab', '/songs/2']
#   fetched ['/songs/2', '/songs/aB']
# Authority: RFC 3986, section 6.2.2.1: scheme and host have no case, the other parts do. The docstring of crawlee's
# normalize_url speaks of scheme and netloc alone. Request.from_url(..., always_enqueue=True) or a unique_key of one's
# own goes around it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check crawlee==1.11.0

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import asyncio
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from crawlee.crawlers import HttpCrawler

PATHS = ["/songs/aB", "/songs/Ab", "/songs/2"]
fetched = []


class Songs(BaseHTTPRequestHandler):
    def do_GET(self):
        fetched.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *words):
        pass


async def crawl(port):
    crawler = HttpCrawler(configure_logging=False)

    @crawler.router.default_handler
    async def handle(context):
        await context.push_data({"url": context.request.url})

    await crawler.run([f"http://127.0.0.1:{port}{path}" for path in PATHS])


logging.disable(logging.WARNING)
server = ThreadingHTTPServer(("127.0.0.1", 0), Songs)
threading.Thread(target=server.serve_forever, daemon=True).start()
asyncio.run(crawl(server.server_port))
server.shutdown()
print("crawlee", version("crawlee"))
print("asked for", PATHS)
print("fetched", sorted(fetched))
sys.exit(sorted(fetched) != ["/songs/2", "/songs/aB"])
END
