"""A long list of decisions: noted, brought to the kernel beside the agent, then settled; killed in between as well."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.addresses import Network, compact_network, format_network, overlaps
from synguard.agent.enforcement import AT_ONCE, LEFT_LYING, Enforcement
from synguard.clock import SystemClock
from synguard.enforcer import filling
from synguard.enforcer.iptables import set_filling
from synguard.enforcer.iptables.set_members import LONGEST_TIMEOUT_S
from synguard.enforcer.names import member_comment
from synguard.enforcer.plane import Delta
from synguard.enforcer.reconcile.reconciler import READ_UNUSED_EVERY, Reconciler
from synguard.errors import LedgerError, PlaneError
from synguard.fleet.filler import PlaneFiller
from synguard.fleet.follower import LONG, DecisionFollower, HostView
from synguard.fleet.peer import PeerRecord
from synguard.fleet.plan import protected_targets
from synguard.ledger import Ledger, LedgerReader
from synguard.ledger.arrivals import PIECE, Arrival, Arrivals
from synguard.ledger.rows import last_address
from synguard.model import Action, Ban, Origin, Scope
from synguard.netlink import NESTED, attribute
from synguard.network_words import packed_of_word, word_of_network
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane
from tests.unit.test_fleet_hostile import Given, item

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
LATER = round(NOW.timestamp()) + 3600
MANY = LONG + PIECE + 500
IPSETS = "iptables-sets"


def arrivals(count: int = MANY, *, dry_run: bool = False) -> Arrivals:
    bans = [Arrival(f"c{n:x}", f"203.{n >> 8}.{n & 255}.7", LATER, "a b (CrowdSec, origin c)") for n in range(count)]
    bans[1:1] = [Arrival("six", "2001:db8::/64", LATER, "r"), Arrival("wide", "198.51.100.0/24", LATER, "r")]
    return Arrivals(Origin.CROWDSEC, "crowdsec", NOW, bans, dry_run)


def as_ban(one: Arrival, *, dry_run: bool = False) -> Ban:
    return Ban(
        id=one.id,
        target=ip_network(one.target),
        scope=Scope.ALL,
        action=Action.DROP,
        origin=Origin.CROWDSEC,
        policy="crowdsec",
        reason=one.reason,
        created_at=NOW,
        expires_at=datetime.fromtimestamp(one.expires_at, UTC),
        dry_run=dry_run,
    )


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_list_that_was_noted_is_what_it_would_be_written_at_once(dry_run: bool, tmp_path: Path) -> None:
    given = arrivals(dry_run=dry_run)
    wanted = {one.id: as_ban(one, dry_run=dry_run) for one in given.bans}
    with Ledger.open(tmp_path / "l.db") as noted, Ledger.open(tmp_path / "m.db") as written:
        noted.note_list(given)
        assert noted.arriving() == 3
        assert noted.active_bans(NOW, dry_run) == wanted
        assert not noted.arriving()
        written.add_list(given)
        assert written.active_bans(NOW, dry_run) == wanted


def test_a_list_that_is_longer_than_the_table_leaves_its_indexes_as_they_were(tmp_path: Path) -> None:
    def layout(ledger: Ledger) -> list[tuple[str, str]]:
        with ledger._database.read() as db:
            return db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()

    with Ledger.open(tmp_path / "l.db") as ledger, Ledger.open(tmp_path / "l.db") as other:
        before = layout(ledger)
        assert not other.active_rows(NOW)
        ledger.add_list(arrivals())
        assert layout(ledger) == layout(other) == before
        assert len(other.active_rows(NOW)) == MANY + 2
        with pytest.raises(LedgerError):
            ledger.add_list(arrivals(MANY + 10))  # ids that are taken
        assert layout(ledger) == before
        assert len(ledger.active_rows(NOW)) == MANY + 2
        ledger.check()


def test_a_ban_of_a_list_takes_the_place_of_one_of_the_same_target(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.db") as ledger:
        ledger.add_bans([ban("a1", "203.0.0.7", Scope.ALL, start=NOW), ban("a2", "203.0.0.7", start=NOW)])
        ledger.note_list(arrivals(1))
        assert {"c0", "a2"} <= ledger.active_bans(NOW).keys()
        assert "a1" not in ledger.active_bans(NOW)


def test_a_piece_that_cannot_be_written_stays_noted(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.db") as ledger:
        ledger.add_bans([ban("c5", "192.0.2.1", start=NOW)])  # an id that is taken
        ledger.note_list(arrivals(10))
        with pytest.raises(LedgerError):
            ledger.settle()
        assert ledger.arriving() == 1
        assert [one.id for one in ledger.active_rows(NOW)] == ["c5"]


def test_who_only_reads_waits_a_moment_for_a_list_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synguard.ledger.reader._SETTLES_S", 0.05)
    with Ledger.open(tmp_path / "l.db") as ledger:
        ledger.note_list(arrivals(1))
        with LedgerReader.open(tmp_path / "l.db") as reader:
            assert not reader.active_bans(NOW)
        ledger.settle()
        with LedgerReader.open(tmp_path / "l.db") as reader:
            assert len(reader.active_bans(NOW)) == 3


HOSTS = st.integers(0, 2**32 - 1).map(lambda n: ip_network(n))
NETWORKS = st.tuples(st.integers(0, 2**32 - 1), st.integers(8, 32)).map(
    lambda one: ip_network(f"{ip_network(one[0]).network_address}/{one[1]}", strict=False)
)
SIXES = st.sampled_from(list(map(ip_network, ("2001:db8::7/128", "2001:db8::/64", "64:ff9b::c000:207/128", "::/0"))))


@given(st.lists(HOSTS | NETWORKS | SIXES, max_size=8), st.lists(NETWORKS | SIXES, max_size=8))
def test_who_is_protected_is_found_as_one_by_one(targets: list[object], protected: list[object]) -> None:
    networks = [ip_network(str(one)) for one in targets]
    parties = [ip_network(str(one)) for one in protected] + networks[:1]
    found = protected_targets(map(format_network, networks), parties)
    for one in networks:
        if any(overlaps(one, party) for party in parties):
            assert format_network(one) in found
        elif one.version == 4:
            assert format_network(one) not in found


@given(HOSTS | NETWORKS | SIXES)
def test_a_word_says_what_the_network_does(one: Network) -> None:
    network = compact_network(one.version, int(one.network_address), one.prefixlen)
    word = word_of_network(network)
    assert word == format_network(one)
    version, first, length = packed_of_word(word)
    assert (version, length, first) == (one.version, one.prefixlen, one.network_address.packed)
    assert last_address(first, length) == one.broadcast_address.packed


IDS = st.text("abcdef0123456789-", min_size=1, max_size=32)


@given(st.lists(st.tuples(IDS, HOSTS.map(format_network), st.integers(1, 2**32)), max_size=8))
def test_members_of_addresses_say_what_others_are_read_back_by(bans: list[tuple[str, str, int]]) -> None:
    members = set_filling.members_of([(one, target, LATER + rest) for one, target, rest in bans], NOW)
    assert len(members[4]) == len(bans)
    for member, (one, target, rest) in zip(members[4], bans, strict=True):
        timeout = min(3600 + rest, LONGEST_TIMEOUT_S)
        comment = member_comment(one, datetime.fromtimestamp(LATER + rest, UTC)).encode() + b"\0"
        inner = attribute(1 | NESTED, attribute(1 | 0x4000, ip_address(target).packed))
        inner += attribute(6 | 0x4000, timeout.to_bytes(4, "big")) + attribute(26, comment)
        assert member == attribute(7 | NESTED, inner)


class Recorded:
    """Stands for the kernel: what is brought, and what others do meanwhile."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.targets: list[str] = []
        self._meanwhile = meanwhile

    def put(self, targets: list[str]) -> None:
        self.targets += targets
        self._meanwhile()


def targets_of(bans: Iterable[tuple[str, str, int]], _now: datetime) -> list[str]:
    return [target for _, target, _ in bans]


class Fleet:
    """A follower with a filler whose kernel is recorded."""

    def __init__(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        self.kernel = Recorded(meanwhile)
        monkeypatch.setattr(set_filling, "members_of", targets_of)
        monkeypatch.setattr(set_filling, "put", self.kernel.put)
        monkeypatch.setattr(filling, "AT_ONCE", 1_000)
        self.view = HostView(dry_run=False, protected=[ip_network("203.1.0.0/16")], plane=IPSETS)
        self.ceiling, self._home = 131_072, home
        self.record = PeerRecord("crowdsec decisions", "lapi")

    def polls(self, count: int = MANY, *more: str) -> None:
        values = [*(f"203.{n >> 8}.{n & 255}.7" for n in range(count)), *more]
        follower = DecisionFollower(
            Given({"new": [item(value) for value in values]}),
            lambda: self.view,
            SystemClock(),
            self.record,
            kinds=frozenset({"ban"}),
            at_most=65_536,
            poll_s=10.0,
            filler=PlaneFiller(self._home / "apply.lock", self.ceiling, lambda: datetime.now(UTC)),
        )
        with Ledger.open(self._home / "l.db") as ledger:
            follower.poll(ledger)


def active(home: Path) -> set[str]:
    with Ledger.open(home / "l.db") as ledger:
        return {format_network(one.target) for one in ledger.active_bans(datetime.now(UTC)).values()}


def test_a_long_list_is_in_the_ledger_before_the_kernel_holds_any_of_it_and_no_protected_party_in_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path, monkeypatch, lambda: known.append(len(active(tmp_path))))
    known: list[int] = []
    fleet.polls()
    assert known[0] == MANY - 256
    assert set(fleet.kernel.targets) <= active(tmp_path)
    assert not [one for one in active(tmp_path) if one.startswith("203.1.")]
    assert fleet.record.state.counts["protected"] == 256


def test_all_of_a_long_list_is_brought_and_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(tmp_path, monkeypatch)
    fleet.polls(MANY, "2001:db8::7")
    assert set(fleet.kernel.targets) == active(tmp_path)
    assert len(fleet.kernel.targets) == MANY - 255
    fleet.polls(MANY, "2001:db8::7")
    assert len(fleet.kernel.targets) == MANY - 255, "what stands is not brought again"


def test_an_unban_meanwhile_is_not_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It settles what was noted: the rest is left to the agent, which goes by the ledger."""

    def unban() -> None:
        with Ledger.open(tmp_path / "l.db") as other:
            last = list(other.active_bans(datetime.now(UTC)).values())[-1]
            other.end_bans([last.id], datetime.now(UTC), "by hand")

    fleet = Fleet(tmp_path, monkeypatch, unban)
    fleet.polls()
    assert len(fleet.kernel.targets) == 1_000
    assert len(active(tmp_path)) == MANY - 256 - 1


@pytest.mark.parametrize(
    "changes", [{"dry_run": True}, {"plane": ""}, {"plane": "dry-run"}, {"suspended": True}], ids=str
)
def test_where_no_plane_is_to_be_touched_none_is(
    changes: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path, monkeypatch)
    fleet.view = replace(fleet.view, **changes)  # type: ignore[arg-type]
    fleet.polls()
    assert not fleet.kernel.targets


def test_a_list_that_does_not_fit_and_a_short_one_are_left_to_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path, monkeypatch)
    fleet.ceiling = MANY - 257
    fleet.polls(LONG)
    fleet.polls()
    assert not fleet.kernel.targets
    assert len(active(tmp_path)) == MANY - 256


def test_each_family_has_a_room_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(tmp_path, monkeypatch)
    fleet.ceiling = MANY - 256
    fleet.polls(MANY, "2001:db8::7")
    assert len(fleet.kernel.targets) == MANY - 255


def test_what_the_kernel_does_not_take_is_left_to_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PlaneError("filling ipsets", "the set does not exist")

    fleet = Fleet(tmp_path, monkeypatch, refuse)
    fleet.polls()
    assert len(active(tmp_path)) == MANY - 256


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_a_list_of_a_process_that_was_killed_is_adopted_by_the_next_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill() -> None:
        raise Killed

    fleet = Fleet(tmp_path, monkeypatch, kill)
    with pytest.raises(Killed):
        fleet.polls()
    in_kernel = set(fleet.kernel.targets)
    with Ledger.open(tmp_path / "l.db") as ledger:
        agent = agent_on(ledger, tmp_path)
        agent.adopt(datetime.now(UTC))
        assert in_kernel <= {format_network(one.target) for one in agent.bans.values()}
        assert len(agent.bans) == MANY - 256


def agent_on(ledger: Ledger, home: Path) -> Enforcement:
    plane = FakePlane()
    return Enforcement(ledger, plane, Reconciler(plane, home / "apply.lock"), dry_run=False)


def test_an_agent_waits_for_a_list_and_settles_one_that_was_left_lying_a_piece_a_tick(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.db") as ledger, Ledger.open(tmp_path / "l.db") as other:
        agent = agent_on(ledger, tmp_path)
        agent.adopt(NOW)
        other.note_list(arrivals())
        agent.follow_ledger(NOW)
        agent.follow_ledger(NOW + LEFT_LYING / 2)
        assert agent.busy
        assert other.arriving() == 3
        for ticks in range(1, 4):
            agent.follow_ledger(NOW + LEFT_LYING + timedelta(seconds=ticks))
            assert other.arriving() == 3 - ticks
        for _ in range(MANY // AT_ONCE + 3):
            agent.follow_ledger(NOW + 2 * LEFT_LYING)
        assert len(agent.bans) == len(arrivals().bans)
        assert not agent.busy


@pytest.mark.parametrize("noted", [True, False])
def test_a_list_that_comes_just_before_a_look_puts_the_look_off(noted: bool, tmp_path: Path) -> None:
    """It was settled and taken over in that one tick, all of it, with the apply lock held: seconds for 50,000."""
    plane = FakePlane(lambda: NOW)
    with Ledger.open(tmp_path / "l.db") as ledger, Ledger.open(tmp_path / "l.db") as other:
        agent = Enforcement(ledger, plane, Reconciler(plane, tmp_path / "apply.lock"), dry_run=False)
        agent.adopt(NOW)
        agent.bring((), frozenset(), 0.0, NOW)
        (other.note_list if noted else other.add_list)(arrivals())
        plane.apply(Delta(add=tuple(map(as_ban, arrivals().bans))))
        plane.calls.clear()
        later = NOW + READ_UNUSED_EVERY
        agent.bring((), frozenset(), 1.0, later)
        assert len(agent.bans) <= AT_ONCE
        assert other.arriving() == (3 if noted else 0)
        assert "read" not in plane.calls
        while other.settle():
            pass
        for _ in range(MANY // AT_ONCE + 4):
            agent.follow_ledger(later)
            agent.bring((), frozenset(), 2.0, later)
        assert len(agent.bans) == len(plane.actual.bans) == len(arrivals().bans)
        assert plane.calls[-1] == "read"
        assert not agent.repairs


@pytest.mark.parametrize("noted", [True, False])
def test_a_list_that_waits_while_the_ledger_fails_holds_up_no_ban(
    noted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look was put off at each tick, and with it what an attack had decided: until the disk had room again."""

    def fail(*_: object) -> None:
        raise LedgerError("database or disk is full")

    plane = FakePlane(lambda: NOW)
    with Ledger.open(tmp_path / "l.db") as ledger, Ledger.open(tmp_path / "l.db") as other:
        agent = Enforcement(ledger, plane, Reconciler(plane, tmp_path / "apply.lock"), dry_run=False)
        agent.adopt(NOW)
        agent.bring((), frozenset(), 0.0, NOW)
        (other.note_list if noted else other.add_list)(arrivals())
        for name in ("settle", "add_bans", "record_action"):
            monkeypatch.setattr(ledger, name, fail)
        later = NOW + READ_UNUSED_EVERY
        agent.add([ban("own", "192.0.2.1", start=NOW)])
        agent.follow_ledger(later)
        agent.bring((), frozenset(), 1.0, later)
        assert agent.writer.problem
        assert "own" in plane.actual.bans
        agent.add([ban("next", "192.0.2.2", start=NOW)])
        agent.bring((), frozenset(), 2.0, later)
        assert "next" in plane.actual.bans


def test_a_persons_unban_is_remembered_beyond_any_number_of_decisions_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended decisions were counted among what a person ended: 10,000 of them brought her first unban back."""
    monkeypatch.setattr("synguard.ledger.bans.MOST_ENDED", 5)
    fleet = Fleet(tmp_path, monkeypatch)
    fleet.polls(20)
    with Ledger.open(tmp_path / "l.db") as ledger:
        first = next(iter(ledger.active_bans(datetime.now(UTC)).values()))
        ledger.end_bans([first.id], datetime.now(UTC), "by hand")
    fleet.polls(1)
    fleet.polls(20)
    assert format_network(first.target) not in active(tmp_path)
