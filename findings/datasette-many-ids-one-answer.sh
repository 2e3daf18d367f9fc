#!/usr/bin/env bash
# What surprised: of five ways to ask Datasette for songs 1 and 2, one brings both, and all five answer 200. One
# underscore for two, or the id given twice, finds nothing; an operator it does not know is passed over, and the whole
# table comes; two ids in the address of a row bring the first row alone.
# Why it matters to a crawler: with many ids in one request, an id that is not in the answer counts as missing. A slip
# in the template of the URL then makes every song missing, and no status or error shows it. A batch has to be proven
# first on ids that are known, and an answer with ids that were not asked for is a fault.
# Versions: datasette 0.65.5.
# Output seen on 2026-11-29:
#   songs.json?id__in=1,2 -> 200, ids 1 2
#   songs.json?id_in=1,2 -> 200, ids none
#   songs.json?id=1&id=2 -> 200, ids none
#   songs.json?id__within=1,2 -> 200, ids 1 2 3
#   songs/1,2.json -> 200, ids 1
# Authority: RFC 9110, section 15.5.1, has 400 for a request the server cannot make sense of. Datasette's documentation
# lists the operators, __in among them, and does not say what becomes of another one.
set -euo pipefail

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check datasette==0.65.5
python="$folder/venv/bin/python"

"$python" - "$folder/music.db" <<'END'
import sqlite3
import sys

with sqlite3.connect(sys.argv[1]) as music:
    music.execute("create table songs (id integer primary key, title text)")
    music.executemany("insert into songs values (?, ?)", [(1, "One"), (2, "Two"), (3, "Three")])
END

port=$("$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$folder/venv/bin/datasette" serve "$folder/music.db" --host 127.0.0.1 --port "$port" >"$folder/log" 2>&1 &
server=$!
curl --silent --fail --output /dev/null --retry 60 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$port/"

"$folder/venv/bin/datasette" --version
"$python" - "http://127.0.0.1:$port/music/" <<'END'
import json
import sys
import urllib.request

EXPECTED = {
    "songs.json?id__in=1,2": [1, 2],
    "songs.json?id_in=1,2": [],
    "songs.json?id=1&id=2": [],
    "songs.json?id__within=1,2": [1, 2, 3],
    "songs/1,2.json": [1],
}
seen = {}
for path in EXPECTED:
    shaped = f"{path}{'&' if '?' in path else '?'}_shape=objects"
    with urllib.request.urlopen(sys.argv[1] + shaped) as answer:
        seen[path] = [row["id"] for row in json.load(answer)["rows"]]
        print(f"{path} -> {answer.status}, ids", *(seen[path] or ["none"]))
sys.exit(seen != EXPECTED)
END
