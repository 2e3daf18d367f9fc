"""Fuzz: calls that schemathesis makes from the function's own openapi.json, right ones and wrong ones.

Each must be answered as the document says: a status that it names, in the form that it names, with the headers that
it promises. The only 5xx is a 503: nothing is wrong with the deployment.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks
from servers import Page, Upstream, error, missing, song

from campaigns.function import start

# Small bounds, so that a call of any size is over in a moment.
SETTINGS = {"max_songs": 50, "part_songs": 20, "end_after_missing": 20, "deadline_seconds": 2, "max_at_once": 20}

CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

_ACCEPT = ["application/json", "*/*", "text/html,application/xhtml+xml,*/*;q=0.8"]

# By the campaign's own seed, each case once: the first wrong answer is told as it came.
_DRAWN = settings(
    derandomize=False,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def fuzz(output: Path, cases: int, draw: random.Random) -> dict[str, dict[int, int]]:
    """Send `cases` calls; gives how often each operation was answered with each status.

    Raises AssertionError for the first answer that the document does not name.
    """
    with Upstream(_pages) as upstream, start(upstream.url, output, **SETTINGS) as server:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        operations: list[Any] = [each.ok() for each in schema.get_all_operations()]  # type: ignore[union-attr]
        with requests.Session() as session:
            session.trust_env = False
            sender = _Sender(session, draw)
            for nth, operation in enumerate(operations):
                sender.send(operation, (cases - sum(sender.sent.values())) // (len(operations) - nth))
    return {label: dict(statuses) for label, statuses in sender.answers.items()}


def _pages(song_num: int, _nth: int) -> Page:
    """Serve songs up to 100, one that fails, and one at which the upstream refuses us: both are drawn often."""
    if song_num < 2:
        return error(400 if song_num else 401)
    return song(song_num) if song_num <= 100 else missing()


@dataclass
class _Sender:
    session: requests.Session
    draw: random.Random
    sent: Counter[str] = field(default_factory=Counter)
    answers: dict[str, Counter[int]] = field(default_factory=dict)

    def send(self, operation: Any, cases: int) -> None:
        """Send right and wrong calls in turn; where nothing can be wrong, right ones only."""
        modes = [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if _takes_anything(operation) else [])]
        for nth, mode in enumerate(modes):
            self._send(operation, mode, (cases + nth) // len(modes))

    def _send(self, operation: Any, mode: Any, cases: int) -> None:
        @seed(self.draw.randrange(10**9))
        @settings(_DRAWN, max_examples=cases)
        @given(case=operation.as_strategy(generation_mode=mode), accept=st.sampled_from(_ACCEPT))
        def send_each(case: Any, accept: str) -> None:
            response = case.call(session=self.session, headers={"Accept": accept}, timeout=60)
            self.sent[operation.label] += 1
            self.answers.setdefault(operation.label, Counter())[response.status_code] += 1
            assert response.status_code < 500 or response.status_code == 503, response.text
            # A browser's page takes anything: it fills in what it can.
            rejects = [] if "text/html" in accept else [checks.negative_data_rejection]
            case.validate_response(response, checks=[*CHECKS, *rejects])

        send_each()


def _takes_anything(operation: Any) -> bool:
    return bool(operation.body or operation.query or operation.path_parameters)
