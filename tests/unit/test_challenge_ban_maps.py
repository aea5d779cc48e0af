"""Bans in the program's maps, while other processes read, are killed, or come after: who is challenged by then."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from synguard.addresses import parse_network
from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.ban_maps import BanMaps
from synguard.enforcer.challenge.layout import SLOTS, ProgramStep
from synguard.enforcer.challenge.lists import header_key, step_of
from synguard.enforcer.challenge.slots import Slots
from synguard.enforcer.limits import PORTS_AT_INTERFACE
from synguard.enforcer.plane import Delta
from synguard.errors import CapacityError
from synguard.model import Action, Ban, KernelBan
from synguard.syn_header import SynHeader
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


class Killed(BaseException):
    """A process ends between two calls."""


def killed_after(host: Host, writes: int, process: BanMaps, change: Delta) -> bool:
    """Let a process make so many writes of a change; return whether it was killed by then."""

    def called(name: str, wrote: bool) -> None:
        nonlocal writes
        writes -= wrote
        if writes < 0:
            raise Killed

    host.maps.called = called
    try:
        process.change(change)
    except Killed:
        return True
    finally:
        host.maps.called = lambda name, wrote: None
    return False


@pytest.mark.parametrize("mends", ["the agent", "the same process", "a new process"])
def test_a_change_that_is_cut_short_anywhere_is_mended_by_the_next_one_of_any_process(mends: str) -> None:
    """A verb was killed once it had noted how a new ban's chain goes on. The agent knew nothing of that, gave the place
    to a challenge of another network, and this network was dropped as the one was to which the chain went on."""
    sources = ("10.1.0.1", "10.2.0.1", "10.9.0.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "2001:db9::1")
    killed, writes = True, 0
    while killed:
        host = Host()
        agent = host.process()
        agent.change(
            Delta(
                add=(
                    host.ban("wide", "10.0.0.0/8", Action.DROP),
                    host.ban("old", "10.2.0.0/16", ports=(80,)),
                    host.ban("changes", "203.0.113.0/24", Action.DROP),
                    host.ban("everybody", "::/0", ports=(80,)),
                )
            )
        )
        verb = host.process()
        coming = (
            host.ban("narrow", "10.1.0.0/16"),
            host.ban("changes", "203.0.113.0/24", ports=(443,)),
            host.ban("six", "2001:db8::/32", Action.DROP),
        )
        killed = killed_after(host, writes, verb, replace(without(verb, "old", "everybody"), add=coming))
        process = {"the agent": agent, "the same process": verb, "a new process": host.process()}[mends]
        process.read()
        host.seconds += 3
        held = process.read()
        process.change(
            Delta(
                add=(host.ban("next", "198.51.100.0/24"),),
                remove=tuple(one for one in held.values() if one.ban_id in ("narrow", "six")),
                frame=process.cut_short,
            )
        )
        assert not process.cut_short
        held = process.read()
        assert host.process().read() == held, writes
        for source in sources:
            for port in (80, 443, 25):
                assert host.step(source, port) == wanted_step(held.values(), source, port), (writes, source)
        writes += 1
    assert writes > 20


def wanted_step(bans: Iterable[KernelBan], source: str, port: int) -> int:
    """Return the hardest step of the bans of a source, or else of everybody."""
    steps = {True: 0, False: 0}
    for one in bans:
        if parse_network(source).overlaps(one.target) and (not one.ports or port in one.ports):  # type: ignore[arg-type]
            everybody = one.target.prefixlen == 0
            steps[everybody] = max(steps[everybody], step_of(one))
    return steps[False] or steps[True]


def test_a_change_that_was_cut_short_is_mended_though_nothing_else_is_to_change(host: Host) -> None:
    """What the agent read of such a change was what it wanted, so it wrote nothing; no SYN met the ban."""
    agent, verb = host.process(), host.process()
    writes = 1
    while killed_after(host, writes, verb, Delta(add=(host.ban("new", "192.0.2.0/24"),))):
        writes += 1
        held = agent.read()
        assert not agent.cut_short, "it may be under way"
        host.seconds += 3
        assert agent.read() == held
        assert agent.cut_short
        agent.change(Delta(frame=True))
        assert not agent.cut_short
        assert host.step("192.0.2.1") == (CHALLENGE if "new" in held else NOTHING)
        agent.change(without(agent, *held))
    assert writes > 5


def on_own_ports(host: Host, name: str, first: int, number: int = PORTS_AT_INTERFACE) -> tuple[Ban, ...]:
    """Return so many challenges, each of a network of its own, and on a port of its own."""
    return tuple(
        host.ban(f"{name}-{port}", f"10.{first % 200}.{port - first}.0/24", ports=(port,))
        for port in range(first, first + number)
    )


def test_bans_that_have_expired_keep_no_port_from_those_that_come(host: Host) -> None:
    """Of 128 challenges on a port each that had expired the ports were told apart for ever; with 128 others there were
    no more to give, for as long as the program ran."""
    agent = host.process()
    for first in (1000, 2000, 3000):
        coming = on_own_ports(host, "b", first)
        agent.change(Delta(add=coming))
        agent = host.process()
        assert agent.read().keys() == {one.id for one in coming}
        host.seconds += 61
        assert agent.read() == {}


def test_a_port_that_only_an_expired_ban_names_may_be_watched_no_more(host: Host) -> None:
    host.process().change(Delta(add=on_own_ports(host, "b", 1000)))
    Slots(host.maps.maps, host.now_ns).watch({443: 20})
    assert len(Slots(host.maps.maps).of_port) == PORTS_AT_INTERFACE + 1
    host.seconds += 61
    Slots(host.maps.maps, host.now_ns).watch({443: 20})
    assert Slots(host.maps.maps).of_port.keys() == {443}


def test_a_ban_that_comes_again_after_it_has_expired_begins_to_count_anew(host: Host) -> None:
    agent = host.process()
    again = host.ban("again", "192.0.2.0/24", ports=(80,))
    agent.change(Delta(add=(again, host.ban("stays", "198.51.100.0/24", lasts_s=600))))
    host.maps.ban_counts.values["answered"][:] = 7
    host.seconds += 61
    agent.change(Delta(add=(replace(again, expires_at=host.ban("", "::").expires_at),)))
    assert {name: one.hits.packets for name, one in agent.read().items()} == {"again": 0, "stays": 7}
    assert host.step("192.0.2.1") == CHALLENGE


def test_bans_that_come_take_the_ports_of_those_that_leave_with_them(host: Host) -> None:
    """As many ports as there are, exchanged for as many others: refused each time, as those that leave named theirs."""
    agent = host.process()
    before = on_own_ports(host, "b", 1000, SLOTS - 1)
    agent.change(Delta(add=before))
    host.maps.ban_counts.values["answered"][:] = 7
    stays, changes, *leaves = before
    changed = replace(changes, ports=(5000,))
    coming = on_own_ports(host, "c", 2000, SLOTS - 3)
    agent.change(replace(without(agent, changes.id, *(one.id for one in leaves)), add=(changed, stays, *coming)))
    held = agent.read()
    assert {name: one.ports for name, one in held.items()} == {one.id: one.ports for one in (stays, changed, *coming)}
    assert held[stays.id].hits.packets == 7, "one that stays as it is keeps its counts"
    assert host.step("10.0.1.1", 5000) == host.step("10.0.5.1", 2005) == CHALLENGE
    assert host.step("10.0.1.1", 1001) == host.step("10.0.5.1", 1005) == NOTHING
    assert host.process().read() == held


def test_bans_that_come_take_the_places_of_those_that_leave_with_them(host: Host) -> None:
    agent = host.process()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "BANS", 5)
        for name in "abc":
            coming = tuple(host.ban(f"{name}-{number}", f"192.0.2.{number}") for number in range(4))
            agent.change(replace(without(agent, *agent.read()), add=coming))
            assert agent.read().keys() == {one.id for one in coming}


def test_a_change_that_there_is_no_room_for_changes_nothing(host: Host) -> None:
    agent = host.process()
    before = on_own_ports(host, "b", 1000, SLOTS - 1)
    agent.change(Delta(add=before))
    held, written = agent.read(), list[str]()
    host.maps.called = lambda name, wrote: written.append(name) if wrote else None
    with pytest.raises(CapacityError, match="tells 255 ports apart, and more are named"):
        agent.change(replace(without(agent, before[0].id), add=on_own_ports(host, "c", 2000, 2)))
    assert written == []
    assert agent.read() == host.process().read() == held


HEADERS = [
    SynHeader(ttl=(50, 64), window=window, mss=1460, options=7, length=60) for window in (1024, 64240)
]  # that of one tool, and that of clients


@pytest.mark.parametrize("seed", range(20))
def test_no_write_of_a_change_lets_a_syn_meet_what_it_meets_neither_before_nor_after(seed: int) -> None:
    """A ban that changed led to others of its target the way round, and past wider ones; one that was given another
    target stopped the old one by its new step; one that was added beside an exception stopped that for a moment."""
    chance = random.Random(seed)
    host = Host()
    agent = host.process()
    sources = ("10.1.2.3", "10.1.2.9", "10.1.9.1", "10.9.9.9", "20.0.0.1")
    targets = ("10.1.2.3/32", "10.1.2.0/24", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0")
    names = [f"b{number}" for number in range(14)]

    def some() -> tuple[Ban, ...]:
        made = []
        for name in chance.sample(names, 7):
            action = chance.choice([Action.CHALLENGE, Action.LIMIT, Action.DROP, Action.REJECT])
            one = host.ban(name, chance.choice(targets), action, chance.choice([(), (80,), (80, 443)]), 60)
            if action is Action.DROP and chance.random() < 0.3:
                one = replace(one, header=HEADERS[0])
            made.append(
                one if chance.random() < 0.8 else replace(one, expires_at=one.created_at + timedelta(seconds=5))
            )
        return tuple(made)

    def steps() -> list[int]:
        keys = [None, *(header_key(header, layout.Family.V4) for header in HEADERS)]
        return [host.maps.step(s, port, host.now_ns(), key) for s in sources for port in (80, 443, 25) for key in keys]

    for _ in range(4):
        held = agent.read()
        allowed, protected = frozenset(map(parse_network, chance.sample(targets[:4], 2))), agent.protected
        change = Delta(
            add=some(),
            remove=tuple(held[name] for name in chance.sample(sorted(held), len(held) // 3)),
            allow_add=allowed - protected if chance.random() < 0.4 else frozenset(),
            allow_remove=protected - allowed if chance.random() < 0.6 else frozenset(),
        )
        at_any_time = [before := steps()]
        host.maps.called = lambda name, wrote, seen=at_any_time: seen.append(steps()) if wrote else None
        agent.change(change)
        host.maps.called = lambda name, wrote: None
        after = steps()
        assert len(at_any_time) > 10
        for number, now in enumerate(at_any_time):
            assert all(min(ends) <= step <= max(ends) for step, *ends in zip(now, before, after, strict=True)), number
        host.seconds += chance.choice([0, 10])


def test_places_of_expired_bans_that_chains_lead_to_are_given_away_once_none_does(host: Host) -> None:
    """A chain led on to the place of a ban that had expired: the next one there, of another network, stopped it."""
    agent = host.process()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "BANS", 4)
        agent.change(Delta(add=(host.ban("stays", "10.1.0.0/16", lasts_s=600), host.ban("ends", "10.0.0.0/8"))))
        host.seconds += 61
        seen: list[int] = []
        host.maps.called = lambda name, wrote: seen.append(host.step("10.1.0.1")) if wrote else None
        agent.change(Delta(add=tuple(host.ban(name, f"{name}.0.0.0/8", Action.DROP) for name in ("20", "30"))))
    assert set(seen) == {CHALLENGE}


def test_a_ban_that_changes_keeps_its_counts(host: Host) -> None:
    agent = host.process()
    before = host.ban("grows", "192.0.2.0/24", ports=(80,))
    agent.change(Delta(add=(before,)))
    host.maps.ban_counts.values["answered"][:] = 7
    agent.change(Delta(add=(replace(before, ports=(80, 443)),)))
    assert agent.read()["grows"].hits.answered == 7


def test_what_another_process_left_is_taken_over_as_it_was_wanted(host: Host) -> None:
    """Targets inside a protected network came back as protected networks themselves."""
    protected = parse_network("10.0.0.0/8")
    inside, around = host.ban("inside", "10.1.0.0/16"), host.ban("around", "0.0.0.0/0")
    host.process().change(Delta(add=(inside, around), allow_add=frozenset({protected})))
    later = host.process()
    assert later.protected == {protected}
    assert host.step("10.1.0.1") == NOTHING
    later.change(Delta(allow_remove=frozenset({protected})))
    assert host.process().protected == set()
    assert host.step("10.1.0.1") == CHALLENGE


def test_settings_that_the_agent_writes_meanwhile_undo_no_ban(host: Host) -> None:
    """It wrote back the whole record as it had read it a moment before: with no bans, so that none was looked up."""
    agent, verb = host.process(), host.process()
    before = host.maps.settings[0]

    def called(name: str, wrote: bool) -> None:
        host.maps.settings.values[0] = before

    host.maps.called = called
    verb.change(Delta(add=(host.ban("new", "192.0.2.0/24"),)))
    host.maps.called = lambda name, wrote: None
    host.maps.settings[0] = before
    assert host.step("192.0.2.1") == CHALLENGE
    assert agent.read().keys() == {"new"}
