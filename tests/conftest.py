"""Settle what every test shares."""

from __future__ import annotations

from hypothesis import settings

# The same examples in every run, and no limit on how long one takes: a busy machine must not fail a test.
settings.register_profile("songcrawl", derandomize=True, database=None, deadline=None)
settings.load_profile("songcrawl")
