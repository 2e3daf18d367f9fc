"""The threaded asyncio gather loop: a few long-lived workers, each in a thread, draw songs from one dispatcher.

The article's recipe makes a future for every song; a million of those weigh 3.4 GB before the first request. Workers
keep its shape (`asyncio.gather` over `loop.run_in_executor(executor, function, *params)`) at a cost that does not
depend on the range.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from crawler.core.ports import MultiFetcher, Transfers
from crawler.engine.backlog import Attempt
from crawler.engine.dispatcher import Dispatcher

# A worker that has not come back this long after its attempt's timeout sits in a user's function that ignores it.
GRACE_SECONDS = 0.5

# A worker whose transfers are on their way is not notified of new songs: it looks for them, at the latest when one is
# due, but not for every song of thousands a second.
LEAST_LOOK_SECONDS, LOOK_SECONDS = 0.005, 0.05


class Worker:
    """A loop that tries one song after the other, in the thread that calls `run`, until there is none left."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._attempt: Attempt | None = None

    def run(self) -> None:
        """Run until nothing is left or the dispatcher is stopped; an error that is no song's stops it and is raised."""
        try:
            while drawn := self._dispatcher.draw_attempts():
                self._attempt = drawn.pop()
                if not self._try(self._attempt):
                    return  # abandoned meanwhile: another worker runs instead
                self._attempt = None
        except BaseException as error:
            self._dispatcher.stop(error)
            raise

    def _try(self, attempt: Attempt) -> bool:
        """Make one attempt; its verdict is let go at once: a hundred workers that kept their last song weigh 70 MB."""
        fetch = attempt.chunk.fetcher.attempt
        if attempt.chunk.is_canary:
            fetch = getattr(attempt.chunk.fetcher, "attempt_fresh", fetch)
        return self._dispatcher.settle([(attempt, fetch(attempt.item, attempt.timeout))]) == 1

    def patience(self) -> float:
        """Abandon the present attempt if it is overdue; else return the seconds until it is worth another look.

        Zero: abandoned. The song timed out, and the thread ends whenever the function that it sits in does.
        """
        attempt = self._attempt
        if attempt is None:
            return GRACE_SECONDS
        left = attempt.started + attempt.timeout + GRACE_SECONDS - self._dispatcher.clock.now()
        if left > 0:
            return left
        return 0.0 if self._dispatcher.abandon(attempt) else GRACE_SECONDS


class MultiWorker:
    """A loop that keeps many songs on their way at once, in the thread that calls `run`, until there is none left."""

    def __init__(self, dispatcher: Dispatcher, fetcher: MultiFetcher, most: int) -> None:
        self._dispatcher = dispatcher
        self._fetcher = fetcher
        self._most = most
        self._on_the_way = 0

    def run(self) -> None:
        """Run until nothing is left or the dispatcher is stopped; an error that is no song's stops it and is raised."""
        try:
            transfers = self._fetcher.open_transfers(self._most)
            try:
                self._run(transfers)
            finally:
                transfers.close()
        except BaseException as error:
            self._dispatcher.stop(error)
            raise

    def _run(self, transfers: Transfers) -> None:
        while (seconds := self._start_more(transfers)) is not None:
            if settled := transfers.perform(min(max(seconds, LEAST_LOOK_SECONDS), LOOK_SECONDS)):
                self._on_the_way -= len(settled)
                self._dispatcher.settle(settled)

    def _start_more(self, transfers: Transfers) -> float | None:
        """Start what may go; returns after how many seconds to look again at the latest, None: nothing is left."""
        seconds = 0.0
        if not self._on_the_way:
            attempts = self._dispatcher.draw_attempts(self._most)
            if not attempts:
                return None
        elif (more := self._dispatcher.draw_more(self._most - self._on_the_way)) is not None:
            attempts, seconds = more
        else:
            return None
        for attempt in attempts:
            start = transfers.start
            if attempt.chunk.is_canary:
                start = getattr(transfers, "start_fresh", start)
            start(attempt, attempt.item, attempt.timeout)
        self._on_the_way += len(attempts)
        return seconds


async def gather_songs(
    dispatcher: Dispatcher, at_once: int, executor: Executor, fetcher: MultiFetcher | None = None
) -> None:
    """Try `at_once` songs at once in the executor's threads; raises what stopped the dispatcher, if anything did.

    Each in a thread of its own; with a `fetcher` that can try many, all in one: a second would wait for the interpreter
    most of the time (with two, a quarter fewer songs a second, and 34 us of CPU a song instead of 25).
    """
    if fetcher:
        workers = [_run_worker(MultiWorker(dispatcher, fetcher, at_once), executor)]
    else:
        workers = [_tend_worker(dispatcher, executor) for _ in range(at_once)]
    try:
        # Every worker is awaited, whatever one of them met: nothing may run on once the caller has its answer.
        await asyncio.gather(*workers, return_exceptions=True)
    finally:
        dispatcher.close()
    if dispatcher.error:
        raise dispatcher.error


async def _run_worker(worker: MultiWorker, executor: Executor) -> None:
    await asyncio.get_running_loop().run_in_executor(executor, worker.run)


async def _tend_worker(dispatcher: Dispatcher, executor: Executor) -> None:
    """Keep one worker running, and another instead whenever it is stuck past its attempt's timeout."""
    loop = asyncio.get_running_loop()
    stuck = True
    while stuck:
        worker = Worker(dispatcher)
        running = loop.run_in_executor(executor, worker.run)
        stuck = not await _finished(running, worker)


async def _finished(running: asyncio.Future[None], worker: Worker) -> bool:
    """Wait for a worker to end; False once it is abandoned, its attempt being overdue."""
    while not running.done():
        patience = worker.patience()
        if patience == 0.0:
            return False
        await asyncio.wait({running}, timeout=patience)
    running.result()
    return True
