"""Check the limits of a call: the settings' own, lowered by what the call says."""

from __future__ import annotations

import pytest

from crawler.core.limits import Limits
from crawler.core.settings import Settings

ENVIRON = {"MAX_ATTEMPTS": "3", "REQUEST_TIMEOUT_SECONDS": "7", "MAX_PER_SECOND": "20", "MAX_AT_ONCE": "50"}


@pytest.mark.parametrize(
    ("max_per_second", "max_at_once", "lowered"),
    [
        pytest.param(None, None, (20.0, 50), id="as they are"),
        pytest.param(2.5, None, (2.5, 50), id="slower"),
        pytest.param(None, 4, (20.0, 4), id="fewer at once"),
        pytest.param(2.5, 4, (2.5, 4), id="both"),
    ],
)
def test_a_call_lowers_what_it_names(
    max_per_second: float | None, max_at_once: int | None, lowered: tuple[float, int]
) -> None:
    """Keep the settings' limits but for those that the call names."""
    limits = Settings.from_environ(ENVIRON).limits

    assert limits.lowered(max_per_second, max_at_once) == Limits(3, 7.0, *lowered)
