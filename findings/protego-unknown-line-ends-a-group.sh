#!/usr/bin/env bash
# What surprised: in Protego, not only rules end a list of user agents: Crawl-delay, Request-rate and even an unknown
# word do too. The agents named before it lose the rules that follow; a Sitemap line in the same place changes nothing.
# Why it matters to a crawler: it fetches what robots.txt forbids it, and Scrapy, whose parser this is by default, with
# it. A site sees one of its agents obey and the other not, from the same block.
# Versions: protego 0.7.0.
# Output seen on 2026-11-29 (may first, may second fetch /songs/1, which is forbidden to both):
#   nothing: False False
#   Sitemap: http://127.0.0.1/s.xml: False False
#   Crawl-delay: 5: True False
#   Request-rate: 1/5: True False
#   Colour: blue: True False
# Authority: RFC 9309, section 2.2.4: records that it does not define must not disturb how its own are read, nor end a
# group, with a sitemap as the example. Protego's README names that RFC as its specification.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check protego==0.7.0

"$folder/venv/bin/python" - <<'END'
import sys
from importlib.metadata import version

from protego import Protego

URL = "http://127.0.0.1/songs/1"
print("protego", version("protego"))
seen = []
for line in ("", "Sitemap: http://127.0.0.1/s.xml", "Crawl-delay: 5", "Request-rate: 1/5", "Colour: blue"):
    middle = f"{line}\n" if line else ""
    rules = Protego.parse(f"User-agent: first\n{middle}User-agent: second\nDisallow: /songs/\n")
    may = rules.can_fetch(URL, "first"), rules.can_fetch(URL, "second")
    print(f"{line or 'nothing'}:", *may)
    seen.append(may)
sys.exit(seen != [(False, False)] * 2 + [(True, False)] * 3)
END
