"""Check the states of the circuit breaker: what opens it, what it lets out then, and what closes it."""

from __future__ import annotations

import math

from crawler.rate_control.circuit_breaker import OPEN_AFTER, OPEN_AFTER_AMBIGUOUS, BreakerState, CircuitBreaker

NOW = 1000.0


def fail(breaker: CircuitBreaker, times: int, word: str, now: float = NOW, *, has_canary: bool = False) -> list[bool]:
    """Have requests fail that were sent at the same instant; returns which failures counted."""
    return [breaker.observe_failure(now, now, word, 0.5, has_canary=has_canary, last=False) for _ in range(times)]


def test_outage_opens_it_and_a_probe_closes_it() -> None:
    """Let all out, then nothing, then one probe, and all again once that is answered."""
    breaker = CircuitBreaker()
    states = [breaker.state]
    counted = fail(breaker, OPEN_AFTER, "http_503")
    states.append(breaker.state)
    waits, due = breaker.ready(NOW)
    breaker.send()
    states.append(breaker.state)
    on_its_way = breaker.ready(NOW + 100)
    ended = breaker.observe_success(NOW + 30, NOW + 31)
    states.append(breaker.state)

    assert states == [BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]
    assert counted == [True] * (OPEN_AFTER - 1) + [False]
    assert waits == 0
    assert due > NOW
    assert on_its_way == (0, math.inf)
    assert ended
    assert not breaker.false_alarm


def test_probe_that_fails_opens_it_again() -> None:
    """Wait three times as long for the next probe, and count no failure."""
    breaker = CircuitBreaker()
    fail(breaker, OPEN_AFTER, "http_503")
    first = breaker.ready(NOW)[1] - NOW
    breaker.send()
    counted = fail(breaker, 1, "http_503", NOW + 1)

    assert breaker.state is BreakerState.OPEN
    assert counted == [False]
    assert breaker.ready(NOW + 1)[1] - (NOW + 1) > 2.9 * first


def test_probe_that_is_cut_off_may_be_sent_again() -> None:
    """Go back to where a probe is due, at once."""
    breaker = CircuitBreaker()
    fail(breaker, OPEN_AFTER, "http_503")
    breaker.send()
    breaker.release()

    assert breaker.state is BreakerState.OPEN
    assert breaker.ready(NOW + 1) == (1, NOW + 1)


def test_what_was_sent_before_it_opened_changes_nothing() -> None:
    """Stay half-open, whatever comes back late, until the probe itself does."""
    breaker = CircuitBreaker()
    fail(breaker, OPEN_AFTER, "http_503")
    breaker.send()
    fail(breaker, 1, "http_503")
    after_failure = breaker.state
    ended = breaker.observe_success(NOW - 1, NOW + 1)

    assert (after_failure, breaker.state) == (BreakerState.HALF_OPEN, BreakerState.HALF_OPEN)
    assert not ended


def test_failures_that_may_be_the_songs_own_need_a_canary() -> None:
    """Ask for a canary as long as it is not closed, and call it a false alarm if that is answered."""
    breaker = CircuitBreaker()
    fail(breaker, OPEN_AFTER_AMBIGUOUS, "http_500", has_canary=True)
    needed = [breaker.needs_canary]
    breaker.send()
    needed.append(breaker.needs_canary)
    ended = breaker.observe_success(NOW + 0.1, NOW + 0.2)

    assert needed == [True, True]
    assert not breaker.needs_canary
    assert not ended
    assert breaker.false_alarm


def test_outage_needs_no_canary() -> None:
    """Probe with whatever song is next where nobody speaks for the upstream."""
    breaker = CircuitBreaker()
    fail(breaker, OPEN_AFTER, "http_503")

    assert breaker.state is BreakerState.OPEN
    assert not breaker.needs_canary


def test_a_new_call_asks_at_once_where_waiting_was_hopeless() -> None:
    """Let one request out for a call after one that gave up, and say why again only once that has failed too."""
    breaker = CircuitBreaker()
    for now in (0.0, 0.1, 0.2):
        breaker.observe_failure(now, now, "connection", 0.5, has_canary=False, last=False)
    breaker.send()
    breaker.observe_failure(15.0, 15.1, "connection", 0.5, has_canary=False, last=False)
    assert breaker.ready(15.5)[0] == 0
    assert breaker.hopeless(15.5)

    breaker.renew(15.5)

    assert breaker.ready(15.5) == (1, 15.5)
    assert breaker.hopeless(15.5) is None
    breaker.send()
    breaker.observe_failure(15.5, 15.6, "connection", 0.5, has_canary=False, last=False)
    assert breaker.hopeless(15.6)


def test_a_new_call_waits_where_waiting_has_hope() -> None:
    """Let nothing out earlier as long as the circuit breaker has not been open for long."""
    breaker = CircuitBreaker()
    for now in (0.0, 0.1, 0.2):
        breaker.observe_failure(now, now, "connection", 0.5, has_canary=False, last=False)
    due = breaker.ready(0.3)

    breaker.renew(0.3)

    assert breaker.ready(0.3) == due
