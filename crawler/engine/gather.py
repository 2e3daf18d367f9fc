"""The threaded asyncio gather loop: a few long-lived strands, each in a thread, draw songs from one source of work.

The article's recipe makes a future for every song; a million of those weigh 3.4 GB before the first request. Strands
keep its shape (`asyncio.gather` over `loop.run_in_executor(executor, function, *params)`) at a cost that does not
depend on the range.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from crawler.engine.work import Attempt, Work

# A strand that has not come back this long after its attempt's timeout sits in a user's function that ignores it.
GRACE_SECONDS = 0.5


class Strand:
    """Try one song after the other, in the thread that calls `run`, until there is none left."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._attempt: Attempt | None = None

    def run(self) -> None:
        """Run until the work is done or stopped; an error that is no song's stops the work and is raised."""
        try:
            while attempt := self._work.take():
                self._attempt = attempt
                if not self._try(attempt):
                    return  # abandoned meanwhile: another strand took this one's place
                self._attempt = None
        except BaseException as error:
            self._work.stop(error)
            raise

    def _try(self, attempt: Attempt) -> bool:
        """Make one attempt; its verdict is let go at once: a hundred strands that kept their last song weigh 70 MB."""
        return self._work.settle(attempt, attempt.batch.lane.attempt(attempt.item, attempt.timeout))

    def patience(self) -> float:
        """Give up the present attempt if it is overdue; else give the seconds until it is worth another look.

        Zero: given up. The song timed out, and the thread ends whenever the function that it sits in does.
        """
        attempt = self._attempt
        if attempt is None:
            return GRACE_SECONDS
        left = attempt.started + attempt.timeout + GRACE_SECONDS - self._work.clock.now()
        if left > 0:
            return left
        return 0.0 if self._work.abandon(attempt) else GRACE_SECONDS


async def gather_songs(work: Work, strands: int, executor: Executor) -> None:
    """Run the work on that many strands in the executor's threads; raises what stopped it, if anything did."""
    try:
        # Every strand is awaited, whatever one of them met: nothing may run on once the caller has its answer.
        await asyncio.gather(*(_tend_strand(work, executor) for _ in range(strands)), return_exceptions=True)
    finally:
        work.stop()
    if work.error:
        raise work.error


async def _tend_strand(work: Work, executor: Executor) -> None:
    """Keep one strand running, another in its place whenever it is stuck past its attempt's timeout."""
    loop = asyncio.get_running_loop()
    stuck = True
    while stuck:
        strand = Strand(work)
        running = loop.run_in_executor(executor, strand.run)
        stuck = not await _finished(running, strand)


async def _finished(running: asyncio.Future[None], strand: Strand) -> bool:
    """Wait for a strand to end; False once it is abandoned, its attempt being overdue."""
    while not running.done():
        patience = strand.patience()
        if patience == 0.0:
            return False
        await asyncio.wait({running}, timeout=patience)
    running.result()
    return True
