"""Check that a quota that is announced is spent and waited for, and that what is untrue is not believed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import format_datetime

import pytest
from support.virtual import VirtualUpstream, send

from crawler.core.quota import Quota
from crawler.core.verdict import MISSING, Verdict, announcing, found, throttled
from crawler.rate_control.announced_quota import AnnouncedQuota
from crawler.rate_control.controller import RateController
from crawler.upstream.rate_headers import RateHeaders

NOW = 1000.0
EPOCH = 1_800_000_000.25
READ = RateHeaders().read


def _utc(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, timezone.utc)


# How an upstream tells what is left and in how many seconds it begins anew, at an instant.
FORMS: dict[str, Callable[[int, float, float], dict[str, str]]] = {
    "draft 11": lambda left, wait, _: {
        "ratelimit": f'"default";r={left};t={math.ceil(wait)}',
        "ratelimit-policy": '"default";q=100;w=5',
    },
    "draft 11, rounded down": lambda left, wait, _: {"ratelimit": f'"default";r={left};t={int(wait)}'},
    "draft 7": lambda left, wait, _: {"ratelimit": f"limit=100, remaining={left}, reset={math.ceil(wait)}"},
    "trio": lambda left, wait, _: {
        "ratelimit-limit": "100",
        "ratelimit-remaining": str(left),
        "ratelimit-reset": str(math.ceil(wait)),
    },
    "epoch s": lambda left, wait, now: {
        "x-ratelimit-remaining": str(left),
        "x-ratelimit-reset": str(int(EPOCH + now + wait)),
    },
    "epoch ms": lambda left, wait, now: {
        "x-ratelimit-remaining": str(left),
        "x-ratelimit-reset": str(int((EPOCH + now + wait) * 1000)),
    },
    "float": lambda left, wait, _: {"x-ratelimit-remaining": str(left), "x-ratelimit-reset": f"{wait:.3f}"},
    "ISO 8601": lambda left, wait, now: {
        "x-ratelimit-remaining": str(left),
        "x-ratelimit-reset": _utc(EPOCH + now + wait).strftime("%Y-%m-%dT%H:%M:%SZ"),
    },
    "HTTP date": lambda left, wait, now: {
        "ratelimit-remaining": str(left),
        "ratelimit-resettime": format_datetime(_utc(EPOCH + now + wait), usegmt=True),
    },
    "limit and interval": lambda _left, _wait, _now: {"x-rate-limit-limit": "100", "x-rate-limit-interval": "5s"},
    "window": lambda left, _wait, _now: {
        "x-hubspot-ratelimit-max": "100",
        "x-hubspot-ratelimit-remaining": str(left),
        "x-hubspot-ratelimit-interval-milliseconds": "5000",
    },
}


class Announcing(VirtualUpstream):
    """Serve 100 requests in each window of 5 s, from the first request or by the clock, and tell so."""

    tell = staticmethod(FORMS["draft 11"])
    aligned = False
    begins = -math.inf
    served = 0

    def ask(self, now: float) -> tuple[Verdict, float]:
        """Give the answer to a request that comes now, and when it comes."""
        if now >= self.begins + 5.0:
            self.begins, self.served = (now // 5.0 * 5.0 if self.aligned else now), 0
        self.served += 1
        verdict = found(1) if self.served <= 100 else throttled("http_429")
        headers = self.tell(max(0, 100 - self.served), self.begins + 5.0 - now, now)
        comes = now + self.latency * (1 + self.jitter * (self.chance.random() - 0.5))
        return announcing(verdict, READ(headers, EPOCH + comes)), comes


@pytest.mark.parametrize("aligned", [False, True], ids=["from the first request", "by the clock"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("latency", [0.002, 0.05])
def test_announced_quota_is_spent_and_waited_for(form: str, aligned: bool, latency: float) -> None:
    """Find 300 songs behind 100 each 5 s, in 1.25 of the ideal time, with no request refused."""
    upstream = Announcing(random.Random(1), latency)
    upstream.tell, upstream.aligned = FORMS[form], aligned
    if form in ("limit and interval", "window") and aligned:
        pytest.skip("a window that is told by its length alone is taken to begin with our first request")
    sent = send(upstream, 60, 300, RateController(100, 100, upstream.chance.random))

    assert len(sent.found) == 300
    assert not sent.rejected
    assert sent.found[-1] <= 15


def announce(controller: RateController, now: float, quota: Quota, verdict: Verdict = MISSING, count: int = 1) -> None:
    """Have requests go out and be answered with a quota, a millisecond later."""
    controller.send(now, count)
    for _ in range(count):
        controller.observe(now, now + 0.001, verdict)
        controller.observe_quota(now, now + 0.001, quota, served=verdict is MISSING)


def test_zero_that_is_untrue_is_not_believed() -> None:
    """Ask once where the first answers say that nothing is left, and go on as before if that is served."""
    controller = RateController()
    empty = Quota(60.0, 0.0, 3600.0)
    announce(controller, NOW, empty)
    assert controller.ready(NOW + 0.1)[0] == 1
    announce(controller, NOW + 0.1, empty)

    assert controller.ready(NOW + 1)[0] > 1


def test_zero_that_is_true_is_waited_for() -> None:
    """Wait till the reset where the one request that asks is refused, and end a call that has no time for it."""
    controller = RateController()
    empty = Quota(60.0, 0.0, 3600.0)
    announce(controller, NOW, empty)
    announce(controller, NOW + 0.1, empty, throttled("http_429"))
    count, until = controller.ready(NOW + 5)
    reason = controller.hopeless(NOW + 5, NOW + 60)

    assert count == 0
    assert until == pytest.approx(NOW + 3601, abs=1)
    assert reason
    assert reason.retry_after == pytest.approx(3597, abs=2)
    assert controller.ready(NOW + 9)[0] == 1


def test_noise_is_not_believed() -> None:
    """Pay no heed to what is left where it goes up and down without a reset, as one server for all clients tells."""
    controller = RateController()
    for place, left in enumerate((567.0, 724.0, 0.0, 415.0)):
        announce(controller, NOW + place, Quota(1200.0, left, 3000.0))

    assert controller.ready(NOW + 9)[0] > 1


def test_quota_without_an_end_is_not_waited_for() -> None:
    """Pay no heed to a zero of which nothing tells when it ends."""
    controller = RateController()
    announce(controller, NOW, Quota(3.0, 0.0))

    assert controller.ready(NOW + 1)[0] >= 1


def test_what_is_in_flight_is_spent_already() -> None:
    """Send no more than is left after all requests on their way."""
    quota = AnnouncedQuota()
    quota.send(NOW, 5)
    quota.observe(NOW, NOW + 1, Quota(10.0, 9.0, 60.0), 4, served=True)

    assert quota.ready(NOW + 1, 4) == (5, NOW + 1)
    quota.send(NOW + 1, 5)
    assert quota.ready(NOW + 1, 9) == (0, NOW + 62)


def test_lost_answer_of_a_new_window_is_asked_for_again() -> None:
    """Let another request out where the one that began a window came to nothing."""
    quota = AnnouncedQuota()
    quota.send(NOW, 1)
    quota.observe(NOW, NOW + 1, Quota(10.0, 0.0, 5.0), 0, served=True)
    quota.send(NOW + 1, 1)

    assert quota.ready(NOW + 2, 1) == (0, NOW + 7)
    assert quota.ready(NOW + 7, 0) == (1, NOW + 7)
    quota.send(NOW + 7, 1)
    assert quota.ready(NOW + 8, 1)[0] == 0
    assert quota.ready(NOW + 8, 0)[0] == 1
