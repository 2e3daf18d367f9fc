"""Check what a run costs, against sums done by hand from the list prices."""

from __future__ import annotations

import pytest

from crawler.runs.cost import cost_usd


@pytest.mark.parametrize(
    ("seconds", "parts", "vcpus", "gib", "usd"),
    [
        pytest.param(0, 0, 1.0, 0.5, 0.0000004, id="a call that does nothing"),
        pytest.param(1, 0, 1.0, 0.5, 0.00002565, id="a second of the instance that deploy.sh asks for"),
        pytest.param(0, 1000, 1.0, 0.5, 0.0054004, id="a thousand parts"),
        # 1,000,000 songs at 100 a second in parts of 1000.
        pytest.param(10_000, 1000, 1.0, 0.5, 0.2579004, id="a million songs"),
        pytest.param(1_000_000, 0, 1.0, 1.0, 26.5000004, id="a million songs at one a second, 1 GiB"),
    ],
)
def test_prices_add_up(seconds: float, parts: int, vcpus: float, gib: float, usd: float) -> None:
    """Price seconds of an instance, objects created and looked up, and the call itself."""
    assert cost_usd(seconds, parts, vcpus, gib) == pytest.approx(usd, rel=1e-9)


def test_the_instance_of_deploy_sh_is_the_default() -> None:
    """Price 1 vCPU and 512 MiB unless told otherwise."""
    assert cost_usd(100, 10) == cost_usd(100, 10, vcpus=1.0, gib=0.5)
