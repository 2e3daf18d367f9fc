#!/usr/bin/env bash
# What surprised: django-ratelimit refuses with 403 Forbidden unless the project writes a handler of its own, and sends
# no header that tells a refusal for now from one for good.
# Why it matters to a crawler: a 403 commonly means that a song is not to be had. Counted as missing or as a final
# failure, every song after the first refusal is lost, though in the next window it would be served.
# Versions: django-ratelimit 4.1.0, Django 5.2.19.
# Output seen on 2026-11-29:
#   request 1: 200 []
#   request 2: 200 []
#   request 3: 403 []
# Authority: RFC 6585, section 4, gives 429 to one who asks too often; RFC 9110, section 15.5.4, gives 403 to a request
# that is understood and refused. The package documents its 403.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check django-ratelimit==4.1.0 Django==5.2.19

"$folder/venv/bin/python" - <<'END'
import logging
import sys
import threading
import urllib.error
import urllib.request
from importlib.metadata import version
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings

cache = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], CACHES=cache, LOGGING_CONFIG=None)
django.setup()
logging.getLogger("django").addHandler(logging.NullHandler())

from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from django_ratelimit.decorators import ratelimit


@ratelimit(key="ip", rate="2/h")
def song(request):
    return JsonResponse({})


urlpatterns = [path("song", song)]


class Quiet(WSGIRequestHandler):
    def log_message(self, *words):
        pass


server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("django-ratelimit", version("django-ratelimit"))
seen = []
for count in (1, 2, 3):
    try:
        answer = urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/song")
    except urllib.error.HTTPError as refused:
        answer = refused
    hints = [name for name in answer.headers if "rate" in name.lower() or "retry" in name.lower()]
    print(f"request {count}: {answer.status} {hints}")
    seen.append((answer.status, hints))
server.shutdown()
sys.exit(seen != [(200, []), (200, []), (403, [])])
END
