"""Bans in the program's maps, while other processes read, are killed, or come after: who is challenged by then."""

from __future__ import annotations

from datetime import timedelta

import pytest

from synguard.enforcer.challenge.ban_maps import BanMaps
from synguard.enforcer.challenge.layout import ProgramStep
from synguard.enforcer.plane import Delta
from synguard.model import Action, Ban
from tests.support.bans import ban
from tests.support.fake_maps import FakeMaps
from tests.support.manual_clock import START

CHALLENGE, DROP, NOTHING = ProgramStep.CHALLENGE, ProgramStep.DROP, 0


class Host:
    """One program, and the processes that look at its maps."""

    def __init__(self) -> None:
        self.maps = FakeMaps()
        self.seconds = 0

    def process(self) -> BanMaps:
        return BanMaps(self.maps.maps, lambda: START + timedelta(seconds=self.seconds), self.now_ns, 100.0)

    def now_ns(self) -> int:
        return (1 + self.seconds) * 10**9

    def step(self, source: str, port: int = 80) -> int:
        return self.maps.step(source, port, self.now_ns())

    def ban(
        self, name: str, target: str, action: Action = Action.CHALLENGE, ports: tuple[int, ...] = (), lasts_s: int = 60
    ) -> Ban:
        return ban(
            name, target, action=action, ports=ports, seconds=lasts_s, start=START + timedelta(seconds=self.seconds)
        )


def without(process: BanMaps, *names: str) -> Delta:
    held = process.read()
    return Delta(remove=tuple(held[name] for name in names))


@pytest.fixture
def host() -> Host:
    return Host()


def test_who_reads_while_another_process_changes_bans_writes_nothing(host: Host) -> None:
    """`synguard bans` wrote what it had read: in the middle of an unban the target came back, and led to whatever ban
    was given that place next."""
    agent = host.process()
    agent.change(Delta(add=(host.ban("leaves", "192.0.2.7"), host.ban("stays", "198.51.100.0/24"))))
    written: list[str] = []

    def called(name: str, wrote: bool) -> None:
        if name == "networks4" and wrote:
            host.maps.called = lambda name, wrote: written.append(name) if wrote else None
            host.process().read()
            host.maps.called = called

    host.maps.called = called
    agent.change(without(agent, "leaves"))
    agent.change(Delta(add=(host.ban("next", "203.0.113.0/24", Action.DROP),)))
    assert written == []
    assert host.step("192.0.2.7") == NOTHING
    assert host.step("203.0.113.1") == DROP
    assert host.process().read().keys() == agent.read().keys() == {"stays", "next"}


def test_who_has_read_before_a_ban_of_another_process_does_not_undo_it(host: Host) -> None:
    agent = host.process()

    def called(name: str, wrote: bool) -> None:
        if name == "bans":
            host.maps.called = lambda name, wrote: None
            agent.change(Delta(add=(host.ban("new", "198.51.100.0/24"),)))

    host.maps.called = called
    late = host.process()
    assert host.step("198.51.100.5") == CHALLENGE
    assert late.read().keys() == {"new"}
    late.change(Delta(add=(host.ban("another", "192.0.2.0/24"),)))
    assert host.step("198.51.100.5") == host.step("192.0.2.1") == CHALLENGE
