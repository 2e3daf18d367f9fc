"""Check when connections are used again: not where requests are lost by it, and tried again now and then."""

from __future__ import annotations

from crawler.adapters.connection_reuse import FIRST_TRIALS, LEAST_PAUSE, ConnectionReuse


def test_few_are_on_used_connections_until_one_is_answered() -> None:
    """Have all but the first few open new connections, until one on a used connection was answered."""
    reuse = ConnectionReuse()
    wanted = [reuse.wants_new() for _ in range(10)]
    reuse.count_trial(kept=False)
    still = reuse.careful
    reuse.count_trial(kept=True)

    assert wanted == [False] * FIRST_TRIALS + [True] * (10 - FIRST_TRIALS)
    assert still
    assert not reuse.careful


def test_lost_requests_end_the_use_of_connections_for_a_while() -> None:
    """Open new connections after more than a few losses, try one again later, and trust after one that is kept."""
    reuse = ConnectionReuse()
    reuse.count_trial(kept=True)
    reuse.count(50)
    reuse.count_lost(2)
    trusted = not reuse.careful
    reuse.count_lost(1)

    assert trusted
    assert reuse.careful
    assert [reuse.wants_new() for _ in range(LEAST_PAUSE + 2)] == [True] * LEAST_PAUSE + [False, True]
    reuse.count_trial(kept=True)
    assert not reuse.careful


def test_pause_doubles_with_each_trial_that_is_lost() -> None:
    """Wait twice as long for the next trial: a server that always loses it costs next to nothing."""
    reuse = ConnectionReuse()
    lost = 0
    for _ in range(10_000):
        reuse.count(1)
        if not reuse.wants_new():
            reuse.count_trial(kept=False)
            reuse.count_lost()
            lost += 1

    assert lost < 20


def test_rare_losses_are_taken() -> None:
    """Go on using connections where one request in a hundred is lost: a new connection for each would cost more."""
    reuse = ConnectionReuse()
    reuse.count_trial(kept=True)
    for _ in range(50):
        reuse.count(100)
        reuse.count_lost()

    assert not reuse.careful
