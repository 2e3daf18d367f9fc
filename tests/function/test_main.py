"""Check what the function's entry point keeps from call to call."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

import main
from crawler.app.composition import deployment_from
from crawler.app.deployment import Deployment
from crawler.core.errors import BadSetting

CALLERS = 4


@pytest.fixture(autouse=True)
def _cold() -> Iterator[None]:
    """Be an instance that no call has reached yet."""
    main._built.cache_clear()
    yield
    main._built.cache_clear()


def test_calls_at_once_on_a_cold_instance_share_one_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build it once, however many first calls there are: its ceilings are theirs together."""
    others, unpatched = threading.Event(), deployment_from
    built: list[Mapping[str, str]] = []

    def build(environ: Mapping[str, str]) -> Deployment:
        built.append(environ)
        others.wait(0.2)  # for a second call to build another meanwhile, if it may
        return unpatched({"SONG_URL": "https://songs.example/{song_num}"})

    monkeypatch.setattr(main, "deployment_from", build)
    start = threading.Barrier(CALLERS)

    def call(_: int) -> Deployment:
        start.wait()
        return main._deployment()

    with ThreadPoolExecutor(CALLERS) as callers:
        deployments = list(callers.map(call, range(CALLERS)))

    assert len(built) == 1
    assert all(deployment is deployments[0] for deployment in deployments)


def test_a_bad_setting_is_said_until_it_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep no failure: the next call reads the settings anew."""
    monkeypatch.setenv("MAX_AT_ONCE", "none")
    for _ in range(2):
        with pytest.raises(BadSetting, match="MAX_AT_ONCE"):
            main._deployment()
    monkeypatch.setenv("MAX_AT_ONCE", "7")
    monkeypatch.setenv("SONG_URL", "https://songs.example/{song_num}")

    assert main._deployment().settings.max_at_once == 7
