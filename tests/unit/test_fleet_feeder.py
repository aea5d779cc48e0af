"""The process that holds routes: what a kill at any moment leaves is known to the next, and bounds outlive it."""

from __future__ import annotations

import json
import time
from ipaddress import ip_network
from pathlib import Path

import pytest

from synguard.fleet import feeder as feeder_module
from synguard.fleet.announcer import PER_MINUTE, Announcer
from synguard.fleet.feeder import AT_ONCE, Feeder
from synguard.fleet.routes import Route
from synguard.jsonable import jsonable

HERE = ip_network("192.0.2.2/32")


class Killed(BaseException):
    """``SIGKILL``: nothing of the process is carried out any more."""


class Upstream:
    """What a speaker's peers hold; it outlives every feeder."""

    def __init__(self) -> None:
        self.held: set[Route] = set()
        self.announced = 0
        self.die_after = -1

    def say(self, route: Route, *, announce: bool) -> None:
        (self.held.add if announce else self.held.discard)(route)
        self.announced += announce
        self.die_after -= 1
        if self.die_after == 0:
            raise Killed

    def close(self) -> None:
        """Hold nothing."""


def routes(count: int) -> list[Route]:
    return [Route(ip_network(f"203.0.{n >> 8}.{n & 255}/32"), HERE) for n in range(count)]


def started(upstream: Upstream, memory: Path) -> Feeder:
    return Feeder(upstream, Announcer(1000, refresh_s=300), memory, lambda _: None)


def want(feeder: Feeder, wanted: list[Route]) -> None:
    feeder.take(json.dumps({"routes": [[jsonable(route), 1e12] for route in wanted]}))


def work(feeder: Feeder, times: int) -> None:
    for _ in range(times):
        feeder.work(time.monotonic())


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "upstream.json"


@pytest.mark.parametrize("die_after", [1, 2, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1])
def test_what_a_feeder_announced_before_it_was_killed_is_withdrawn_by_the_next(memory: Path, die_after: int) -> None:
    """It wrote down what it had announced a hundred routes later: those stayed upstream for good."""
    upstream = Upstream()
    upstream.die_after = die_after
    first = started(upstream, memory)
    want(first, routes(150))
    with pytest.raises(Killed):
        work(first, 3)
    assert upstream.held
    second = started(upstream, memory)
    want(second, [])
    work(second, 3)
    assert not upstream.held


def test_feeders_that_are_killed_again_and_again_announce_no_more_than_one_would(memory: Path) -> None:
    upstream = Upstream()
    for round_ in range(8):
        upstream.die_after = 190 + round_
        feeder = started(upstream, memory)
        want(feeder, routes(1000))
        try:
            work(feeder, 3)
        except Killed:
            continue
    assert upstream.announced <= PER_MINUTE


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"routes": 7}', '{"routes": [{}], "spent": []}', '{"routes": [], "spent": ["x"]}', "\x00"]
)
def test_a_memory_that_cannot_be_read_is_as_good_as_none(memory: Path, text: str) -> None:
    memory.write_text(text)
    upstream = Upstream()
    feeder = started(upstream, memory)
    want(feeder, routes(2))
    feeder.work(time.monotonic())
    assert upstream.held == set(routes(2))


def test_announcements_of_before_a_reboot_do_not_count(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.write_text(json.dumps({"routes": [], "spent": [time.monotonic() + 1e6] * PER_MINUTE}))
    upstream = Upstream()
    feeder = started(upstream, memory)
    want(feeder, routes(2))
    feeder.work(time.monotonic())
    assert upstream.announced == 2


def test_a_feeder_leaves_nothing_upstream_when_its_input_ends(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeder_module, "LEAVING_S", 2.0)
    upstream = Upstream()
    feeder = started(upstream, memory)
    want(feeder, routes(250))
    work(feeder, 4)
    assert len(upstream.held) == 250
    feeder.leave()
    assert not upstream.held
    assert json.loads(memory.read_text())["routes"] == []
