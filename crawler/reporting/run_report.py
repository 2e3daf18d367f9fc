"""A run's report, from the store alone: how it stands, and a look into the rows of songs that failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from crawler.core.verdict import Row
from crawler.reporting.report import Report, make_report
from crawler.runs.manifest import CommittedPart
from crawler.runs.spec import RunSpec
from crawler.runs.status import run_standing
from crawler.runs.store import Ledger

MOST_FAILURES = 50
# Parts that are read for their failed rows: each is a whole object of the store.
MOST_READ = 20


def run_report(ledger: Ledger, spec: RunSpec, epoch: float) -> Report:
    """Report on a run, finished or not."""
    standing = run_standing(ledger, spec, epoch)
    answer = standing.answer(spec, ledger.url, coverage=True)
    failures = list(islice(_failures(ledger, standing.parts), MOST_FAILURES))
    return make_report(spec, answer, standing.grid, standing.parts, failures)


def _failures(ledger: Ledger, parts: Sequence[CommittedPart]) -> Iterator[Row]:
    """Yield the first failed rows."""
    for part in islice((part for part in parts if part.tally.failed), MOST_READ):
        yield from (row for row in ledger.rows(part.key) if row.status == "failed")
