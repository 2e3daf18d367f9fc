#!/usr/bin/env bash
# What surprised: to_number of the jmespath package takes whatever Python's int() and float() take. A title "nan" or
# "Infinity" and an id "1e999" become floats that JSON has no form for; "1_000" and digits of other scripts become
# numbers.
# Why it matters to a crawler: Python's json then writes the bare word NaN or Infinity into a row, which readers of JSON
# such as BigQuery or JavaScript refuse, or raises in the middle of a file where allow_nan is False. The answer fetched
# was valid JSON throughout.
# Versions: jmespath 1.1.0.
# Output seen on 2026-11-29:
#   "nan" -> NaN
#   "Infinity" -> Infinity
#   "1e999" -> Infinity
#   "1_000" -> 1000
#   "\u0661\u0662" -> 12
#   "0x10" -> null
# Authority: the JMESPath specification has to_number parse strings of its json-number production and names no others;
# in RFC 8259, section 6, a number is never NaN, Infinity or written with underscores. "1e999" has the right form, and
# the size of floats is left to the implementation; what comes of it is no JSON number all the same.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check jmespath==1.1.0

"$folder/venv/bin/python" - <<'END'
import json
import sys

import jmespath

EXPECTED = {
    "nan": "NaN",
    "Infinity": "Infinity",
    "1e999": "Infinity",
    "1_000": "1000",
    "\u0661\u0662": "12",
    "0x10": "null",
}
print("jmespath", jmespath.__version__)
seen = {}
for text in EXPECTED:
    answer = json.loads(json.dumps({"value": text}))
    seen[text] = json.dumps(jmespath.search("to_number(value)", answer))
    print(json.dumps(text), "->", seen[text])
sys.exit(seen != EXPECTED)
END
