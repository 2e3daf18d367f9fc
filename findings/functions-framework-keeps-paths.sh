#!/usr/bin/env bash
# What surprised: a function of functions-framework does not get every path. /robots.txt and /favicon.ico are answered
# 404 by the framework, and so is every path with an encoded newline; the function is not called and cannot change it.
# Why it matters to a crawler: an API served this way can publish no robots.txt, so that its 404, which means that all
# is allowed, says nothing about what its owner wants. And a key with %0A in it is "missing" by the router's word, not
# by the API's: the same 404 as a song that does not exist.
# Versions: functions-framework 3.10.2 (Werkzeug 3.1.9).
# Output seen on 2026-11-29:
#   /songs/1: 200 from the function
#   /songs/1%202: 200 from the function
#   /songs/1%0A2: 404 from the framework
#   /robots.txt: 404 from the framework
#   /favicon.ico: 404 from the framework
# Authority: RFC 3986, section 2.1: %0A is an octet like another in a path. The README of functions-framework describes
# a function that answers the requests to its server, and names no path that it does not get.
set -euo pipefail

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check functions-framework==3.10.2 Werkzeug==3.1.9
python="$folder/venv/bin/python"

cat >"$folder/main.py" <<'END'
import functions_framework


@functions_framework.http
def songs(request):
    return "from the function"
END

port=$("$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$folder/venv/bin/functions-framework" --source "$folder/main.py" --target songs --host 127.0.0.1 --port "$port" \
    >"$folder/log" 2>&1 &
server=$!
curl --silent --fail --output /dev/null --retry 60 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$port/"

"$python" -c 'from importlib.metadata import version; print("functions-framework", version("functions-framework"))'
changed=0
while read -r path expected; do
    body=$(curl --silent --write-out '\n%{http_code}' "http://127.0.0.1:$port$path")
    by="from the framework"
    [[ $body == "from the function"* ]] && by="from the function"
    seen="${body##*$'\n'} $by"
    echo "$path: $seen"
    [ "$seen" = "$expected" ] || changed=1
done <<'END'
/songs/1 200 from the function
/songs/1%202 200 from the function
/songs/1%0A2 404 from the framework
/robots.txt 404 from the framework
/favicon.ico 404 from the framework
END
exit "$changed"
