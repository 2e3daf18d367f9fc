"""What must hold, whatever happens: every object is checked as it is created, every answer as it is given."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from crawler.core.errors import BadRequest
from crawler.core.verdict import Kind, Verdict
from crawler.engine.absent_songs import MANY
from crawler.fan_out.task_call import MOST_DEATHS, POISON
from crawler.rate_control.circuit_breaker import OPEN_AFTER_AMBIGUOUS
from crawler.runs.spec import RunSpec
from crawler.runs.summary import Reason, RunSummary
from crawler.runs.verify import verify_run
from simulation.choices import Choices
from simulation.store import Entry
from simulation.stored import Kept, Rows, StoredRun, expand, read_rows
from simulation.threads import Violation
from simulation.visits import CrawlCall, Visit

if TYPE_CHECKING:
    from simulation.world import World

# A killed call loses at most what it had of the parts that it may have open at once.
OPEN_PARTS = 2


class Truth:
    """Watch one world; the first thing that is wrong ends it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.runs: dict[str, StoredRun] = {}
        self.choices = Choices(self)
        self._said: dict[int, set[tuple[str, str]]] = defaultdict(set)
        self._tries: Counter[tuple[str, int]] = Counter()
        self._failures: Counter[str] = Counter()
        self._throttles: Counter[tuple[str, int]] = Counter()
        self._hanging: Counter[str] = Counter()
        self._probing: dict[str, bool] = defaultdict(bool)

    def fail(self, sentence: str) -> NoReturn:
        """End the world."""
        violation = Violation(sentence)
        self._world.scheduler.violation = self._world.scheduler.violation or violation
        raise violation

    def hold(self, promise: bool, sentence: str) -> None:
        """End the world unless the promise is kept."""
        if not promise:
            self.fail(sentence)

    # What the upstream was asked, and said

    def asked(self, call: CrawlCall, number: int, *, canary: bool = False) -> None:
        """Hold an attempt against what the call knew: no song that it need not ask for, no part it did not look for.

        A canary is a song that somebody found.
        """
        self.hold(not call.over, f"{call.name} asks for {number} after its answer")
        if canary:
            was_found = any(status == "found" for status, _ in self._said[number])
            self.hold(was_found, f"{call.name} asks whether {number} is there, which nobody found")
            return
        assert call.spec
        run = self.runs[call.spec.run]
        name = run.part_of.get(number)
        self.hold(name is not None, f"{call.name} asks for {number}, which {call.spec.run} has not")
        self.hold(name in call.opened, f"{call.name} asks for {number} of a part that it did not look for")
        self.hold(number not in call.settled, f"{call.name} asks for {number} though it has its outcome")
        seen = call.first_listing.get(f"runs/{call.spec.run}/rest/songs-", 0)
        again = [kept.by for rest, kept in run.rests if rest == name and kept.serial < seen and number in kept.rows]
        self.hold(not again, f"{call.name} asks for {number}, whose row was kept aside")
        self._tries[call.name, number] += 1
        if self._tries[call.name, number] >= call.pace.limits.max_attempts:
            self._said[number].add(("failed", ""))

    def answered(self, call: CrawlCall, number: int, verdict: Verdict, *, late: bool = False) -> None:
        """Remember what the upstream said, but for throttling: that makes no song failed, unless it comes too late.

        After as many failures in a row a call may send a canary.
        """
        if late:
            self.hangs(call)
        else:
            self._failures[call.name] = self._failures[call.name] + 1 if verdict.kind is Kind.RETRY else 0
            self._judge_failures(call)
        if number == self._world.upstream.busy:
            self._said[number].add(("failed", "http_429"))
        if verdict.provisional and not (verdict.kind is Kind.MISSING or self._world.upstream.is_private(number)):
            self._tries[call.name, number] -= 1  # a refusal of all: no song is failed for it
            if self._is_small(call) or not any(said == "found" for each in self._said.values() for said, _ in each):
                self._said[number].add(("failed", str(verdict.error)))
        elif verdict.final:
            self._said[number].add((verdict.kind.value, str(verdict.info or verdict.error)))
        elif verdict.kind is not Kind.RETRY and not late:
            self._throttles[call.name, number] += 1
            self._tries[call.name, number] -= self._throttles[call.name, number] == 1  # later ones may be its own

    def _is_small(self, call: CrawlCall) -> bool:
        """Tell whether a call's run is not held back for want of a known song."""
        assert call.spec
        return len(call.spec.grid.songs) < MANY or call.spec.parent is not None

    def stubborn(self, run: str) -> bool:
        """Tell whether a run lacks songs that refuse at each attempt: a call of a second may not get past them."""
        stored, upstream = self.runs[run], self._world.upstream
        left = set(stored.part_of) - set(stored.rows_at(self._world.bucket.serial))
        return any(upstream.is_private(number) or number == upstream.busy for number in left)

    def hangs(self, call: CrawlCall) -> None:
        """Count an attempt that never comes back; between which answers it is given up is the engine's affair."""
        self._hanging[call.name] += 1
        self._judge_failures(call)

    def _judge_failures(self, call: CrawlCall) -> None:
        self._probing[call.name] |= self._failures[call.name] + self._hanging[call.name] >= OPEN_AFTER_AMBIGUOUS

    # What was stored

    def indexed(self, run: str) -> bool:
        """Tell whether a run has its markers in the index."""
        names = self._world.bucket.entries
        begun = any(name.startswith("index/begun/") and name.endswith(f"/{run}") for name in names)
        return begun and any(name.startswith("index/all/") and name.endswith(f"-{run}") for name in names)

    def created(self, entry: Entry) -> None:
        """Hold an object against everything that was stored before it."""
        folder, _, rest = entry.stored.name.partition("/")
        if folder == "runs":
            run, _, name = rest.partition("/")
            self._created_of_run(run, name, entry)
        elif folder == "next":
            self.choices.claimed(entry)
        elif folder == "index" and rest.startswith("ended/"):
            run, _, taken_back = rest.rpartition("/")[2].partition("~")
            stored = self.runs[run]
            ended = stored.finished is not None or stored.stops > int(taken_back or 0)
            self.hold(ended, f"{run} is noted as ended, and is not")

    def met(self, visit: Visit, entry: Entry, data: bytes) -> None:
        """Hold what a process would have stored against what was there first: a manifest has one content."""
        same = data == entry.data or not entry.stored.name.endswith("/manifest.json")
        self.hold(same, f"{visit.name} would write another {entry.stored.name}")

    def _created_of_run(self, name: str, stored: str, entry: Entry) -> None:
        if stored == "run.json":
            self.runs[name] = StoredRun(msgspec.json.decode(entry.data), entry.serial, entry.by.name)
            self.choices.begun(name)
            return
        self.hold(name in self.runs, f"{entry.stored.name} is there before its run.json")
        run = self.runs[name]
        if stored.startswith("stop-"):
            self.hold(run.stopped is None, f"{entry.stored.name} stops what is stopped")
            run.stopped, run.stops = entry.serial, run.stops + 1
            self.hold(stored == f"stop-{run.stops:06d}.json", f"{entry.stored.name} is the stop {run.stops}")
        elif stored.startswith("resume-"):
            self.hold(stored == f"resume-{run.stops:06d}.json", f"{entry.stored.name} takes the stop {run.stops} back")
            run.stopped, run.resumed = None, entry.serial
        elif stored.startswith("rest/"):
            part = f"{stored.removeprefix('rest/').partition('.')[0]}.jsonl.gz"
            rows = self._rows(run, part, entry)
            run.rests.append((part, Kept(rows, entry.serial, entry.by)))
        elif stored == "manifest.json":
            self._finished(run, entry)
        elif stored.startswith("tries/"):
            stem, _, ending = stored.removeprefix("tries/").partition(".")
            run.tries[f"{stem}.jsonl.gz"][ending.rpartition(".")[2]] += 1
        elif stored.startswith("sweeps/"):
            pass
        else:
            rows = self._rows(run, stored, entry)
            self.hold(list(rows) == run.grid[stored], f"{entry.stored.name} has not exactly its rows: {list(rows)}")
            past_the_end = run.finished is not None and stored not in (run.end() or [])
            self.hold(run.finished is None or past_the_end, f"{entry.stored.name} comes after the manifest")
            run.parts[stored] = Kept(rows, entry.serial, entry.by)

    def _rows(self, run: StoredRun, part: str, entry: Entry) -> Rows:
        """Read rows: ascending, each number once, of that part, as the upstream said."""
        name = entry.stored.name
        self.hold(part in run.grid, f"{name} is no part of the grid")
        rows = read_rows(entry.data)
        numbers = [row["song_num"] for row in rows]
        self.hold(numbers == sorted(set(numbers)), f"{name} has not each number once, ascending: {numbers}")
        self.hold(set(numbers) <= set(run.grid[part]), f"{name} has rows of another part: {numbers}")
        for row in rows:
            said = self._said[row["song_num"]]
            true = (row["status"], str(row["info"] or row.get("error"))) in said
            given_up = row.get("error") == POISON and run.deaths(part) >= MOST_DEATHS
            self.hold(true or given_up or (row["status"], "") in said, f"{name} says what nobody said: {row}")
        return {row["song_num"]: (row["status"], row["info"], row.get("error")) for row in rows}

    def _finished(self, run: StoredRun, entry: Entry) -> None:
        """Hold a manifest against the rows: nothing is missing, and it counts right."""
        name = entry.stored.name
        manifest = msgspec.json.decode(entry.data)
        names = run.end()
        if names is None:
            self.fail(f"{name} is there before the range's end is known")
        lacking = [part for part in names if part not in run.parts]
        self.hold(not lacking, f"{name} is there before {lacking}")
        rows = run.rows()
        self.hold([part["name"] for part in manifest["parts"]] == names, f"{name} lists other parts")
        self.hold(expand(manifest["songs"]) == list(rows), f"{name} is of other numbers than its rows")
        for status in ("found", "missing", "failed"):
            numbers = [number for number, row in rows.items() if row[0] == status]
            self.hold(manifest[status] == len(numbers), f"{name} counts {status} wrong")
            listed = manifest.get(f"{status}_songs")
            self.hold(listed is None or expand(listed) == numbers, f"{name} lists {status} wrong")
        run.manifest, run.finished, run.finished_at = manifest, entry.serial, entry.stored.created_at

    # What was answered

    def chose(self, call: CrawlCall, spec: RunSpec) -> None:
        """Hold the run that a call chose against the others."""
        stored = self.runs[spec.run]
        self.hold(stored.spec == msgspec.json.decode(spec.encode()), f"{call.name} has another idea of {spec.run}")
        self.choices.chose(call, stored)

    def said(self, visit: Visit, answer: RunSummary) -> None:
        """Hold an answer against the rows: it adds up, and counts what is there."""
        run = self.runs[answer.run]
        done = answer.found + answer.missing + answer.failed
        who = f"{visit.name} answers of {answer.run}"
        if answer.state == "complete":
            self.hold(run.finished is not None, f"{who}: complete, and there is no manifest")
            assert run.manifest
            said = (answer.found, answer.missing, answer.failed, answer.remaining, answer.songs)
            manifest = run.manifest
            right = (manifest["found"], manifest["missing"], manifest["failed"], 0, manifest["songs"])
            self.hold(said == right, f"{who}: {said}, and right is {right}")
            return
        numbers = None
        if answer.remaining is not None:
            asked = expand(answer.songs)
            numbers = set(asked)
            self.hold(answer.remaining >= 0, f"{who}: {answer.remaining} remaining")
            self.hold(done + answer.remaining == len(asked), f"{who}: {done} + {answer.remaining} of {len(asked)}")
            self.hold(run.open or asked == run.numbers, f"{who}: songs is {answer.songs}")
        self._hold_counts(visit, answer, run, numbers)

    def _hold_counts(self, visit: Visit, answer: RunSummary, run: StoredRun, numbers: set[int] | None) -> None:
        """Hold the counts of an unfinished run between what was there at its last listing, and what is there now."""
        before = run.rows_at(visit.listing.get(f"runs/{answer.run}/songs-", 0), numbers)
        now = run.rows_at(self._world.bucket.serial, numbers)
        for status in ("found", "missing", "failed"):
            least = sum(said == {status} and number in before for number, said in now.items())
            most = sum(status in said for said in now.values())
            count = getattr(answer, status)
            self.hold(least <= count <= most, f"{visit.name} counts {count} {status}; right is {least} to {most}")
        done = answer.found + answer.missing + answer.failed
        self.hold(len(before) <= done <= len(now), f"{visit.name} counts {done} of {len(before)} to {len(now)} rows")

    # What is left

    def ended(self, visit: Visit) -> None:
        """Hold what a call settled against what it left behind: an answer means that nothing was lost."""
        if not isinstance(visit, CrawlCall):
            return
        if isinstance(visit.error, BadRequest):
            self.choices.refused(visit, visit.error)
        if not visit.spec or not visit.settled:
            return
        run = self.runs[visit.spec.run]
        kept = set(run.rows_at(self._world.bucket.serial))
        lost = sorted(visit.settled - kept)
        masked = visit.failed_creates and visit.reason is not Reason.DEADLINE
        allowed = OPEN_PARTS * run.spec["part_songs"] if masked or not visit.answers else 0
        self.hold(len(lost) <= allowed, f"{visit.name} loses {lost}; allowed are {allowed}")

    def at_the_end(self) -> None:
        """Hold every finished run against its own proof, by the engine's word and by ours."""
        run_index = self._world.calm_run_index()
        for name, run in self.runs.items():
            if run.finished is not None:
                proof = verify_run(run_index, name)
                self.hold(not proof.faults, f"verify says of {name}: {proof.faults}")
                counts = {status: getattr(proof, status) for status in ("found", "missing", "failed")}
                right: dict[str, Any] = {status: (run.manifest or {})[status] for status in counts}
                self.hold(counts == right, f"verify counts {counts} of {name}; right is {right}")
        self.choices.at_the_end(self._world.upstream)
