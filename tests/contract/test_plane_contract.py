"""What every plane does alike: the fake, the dry-run, and every way of holding bans in the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from synguard.addresses import parse_network
from synguard.enforcer.challenge.plane import ChallengePlane
from synguard.enforcer.dry_run import DryRunPlane
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Actual, Delta, Desired, PatientPlane, Plane, Stopped
from synguard.enforcer.reconcile.delta import delta
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.enforcer.split_plane import SplitPlane, split_plane
from synguard.enforcer.verb_plane import stopped_by
from synguard.errors import PlaneError
from synguard.memory import at_once
from synguard.model import ON_HANDSHAKES, Action, Ban, Scope
from synguard.syn_header import SynHeader
from tests.support.bans import ban, wanted
from tests.support.fake_plane import FakePlane, FaultyFake
from tests.support.lab.programs import wait_for
from tests.support.network_thread import NetworkThread, PlaneThere

IN_KERNEL: dict[str, Callable[[], Plane]] = {
    "iptables-sets": lambda: IptablesSetsPlane(now),
    "nftables": lambda: NftablesPlane(now),
}
FAULTY = ("faulty read", "faulty apply", "faulty flush")
"""Fakes of which the named step fails at every first try."""


AHEAD: Final = {"by": timedelta()}
"""By how much the time of planes in memory is ahead of the kernel's, which cannot be made to pass."""


def now() -> datetime:
    return datetime.now(UTC) + AHEAD["by"]


def challenges(plane: Plane) -> bool:
    """Return whether a plane holds what happens at the interface."""
    return isinstance(plane, DryRunPlane | SplitPlane) or isinstance(getattr(plane, "program", None), ChallengePlane)


@pytest.fixture(
    params=[
        "fake",
        *FAULTY,
        "dry-run",
        "split",
        *(pytest.param(name, marks=(pytest.mark.kernel, pytest.mark.smoke)) for name in sorted(IN_KERNEL)),
    ]
)
def plane(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plane]:
    if request.param == "fake":
        yield FakePlane(now)
    elif request.param in FAULTY:
        yield FaultyFake(now, request.param.split()[-1])
    elif request.param == "dry-run":
        yield DryRunPlane(now)
    elif request.param == "split":
        yield split_plane(FakePlane(now), DryRunPlane(now))
    else:
        monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
        thread = NetworkThread()
        yield PlaneThere(thread, IN_KERNEL[request.param])
        thread.close()


EVERY_SHAPE = (
    ban("new-4", "192.0.2.0/24"),
    ban("new-6", "2001:db8:1::/64"),
    ban("ports-4", "198.51.100.7", ports=(80, 443)),
    ban("ports-6", "2001:db8:2::/56", ports=(443,)),
    ban("many-ports", "198.51.100.8", ports=tuple(range(8000, 8032))),
    ban("all-4", "203.0.113.9", Scope.ALL),
    ban("all-6", "2001:db8:3::9", Scope.ALL),
    ban("reject-new", "192.0.2.77", action=Action.REJECT),
    ban("reject-port", "2001:db8:4::/64", action=Action.REJECT, ports=(25,)),
    replace(ban("holds-4", "198.51.100.9", ports=(80, 443)), evidence=ON_HANDSHAKES),
    replace(ban("holds-6", "2001:db8:2::/56", action=Action.REJECT, ports=(443,)), evidence=ON_HANDSHAKES),
    ban("reject-all", "203.0.113.0/28", Scope.ALL, Action.REJECT),
    ban("forever", "203.0.113.128/25", Scope.ALL, seconds=None),
    ban("months", "203.0.113.64/26", Scope.ALL, seconds=90 * 86400),
    ban("b" * 32, "2001:db8:ffff:ffff:ffff:ffff:ffff:fff0/124", ports=tuple(range(65000, 65015))),
)
AT_INTERFACE = (
    ban("challenge-4", "192.0.2.0/24", action=Action.CHALLENGE, ports=(80, 443)),
    ban("challenge-6", "2001:db8:1::/64", action=Action.CHALLENGE),
    ban("limit-4", "198.51.100.7", action=Action.LIMIT, ports=(80,), seconds=None),
    ban("everybody-4", "0.0.0.0/0", action=Action.CHALLENGE, ports=(80,)),
    ban("everybody-6", "::/0", action=Action.LIMIT, ports=(443,)),
    replace(ban("header-4", "0.0.0.0/0", ports=(80,)), header=SynHeader((1, 64), 512, 1460, 7, 60)),
)
LET_THROUGH = {"allow": ("127.0.0.1", "::1", "10.0.0.0/8"), "proven": ("192.0.2.5", "2001:db8:1::5")}
EVERYTHING = wanted(*EVERY_SHAPE, **LET_THROUGH)


def everything(plane: Plane) -> Desired:
    """Return bans of every shape that the plane holds."""
    return wanted(*EVERY_SHAPE, *AT_INTERFACE, **LET_THROUGH) if challenges(plane) else EVERYTHING


def bring(plane: Plane, goal: Desired) -> None:
    plane.apply(delta(goal, plane.read(), now()))


def test_it_says_that_it_works_here(plane: Plane) -> None:
    plane.check()


def test_at_first_it_holds_nothing_and_its_frame_is_missing(plane: Plane) -> None:
    actual = plane.read()
    assert (actual.bans, actual.allow, actual.proven, actual.intact) == ({}, frozenset(), frozenset(), False)
    assert actual.missing


def test_every_shape_of_ban_reads_back_as_it_was_applied(plane: Plane) -> None:
    bring(plane, everything(plane))
    actual = plane.read()
    assert delta(everything(plane), actual, now()) == Delta()
    assert set(actual.bans) == set(everything(plane).bans)
    assert {one.ban_id for one in actual.bans.values() if one.refuses_proven} == {"holds-4", "holds-6"}
    assert actual.intact
    assert not actual.missing
    assert not actual.foreign


def test_another_process_finds_what_is_held_with_its_deadlines(plane: Plane) -> None:
    if not isinstance(plane, PlaneThere):
        return  # no one else sees it
    bring(plane, everything(plane))
    another = plane.of_another_process()
    assert delta(everything(plane), another.read(), now()) == Delta()
    fewer = wanted(*EVERY_SHAPE[:4], *(AT_INTERFACE[:1] if challenges(plane) else ()), **LET_THROUGH)
    bring(another, fewer)
    assert delta(fewer, another.read(), now()) == Delta()
    another.flush()
    assert not plane.of_another_process().read().bans


def test_a_ban_ends_by_itself_at_its_deadline(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ban("kept", "192.0.2.77", seconds=600)
    bring(plane, wanted(kept))
    short = [ban("short", "192.0.2.0/24", seconds=2), ban("all", "203.0.113.9", Scope.ALL, seconds=2)]
    if challenges(plane):
        short.append(ban("challenge", "198.51.100.0/24", action=Action.CHALLENGE, seconds=2))
    bring(plane, wanted(*short, kept))
    assert set(plane.read().bans) == {"kept", *(one.id for one in short)}
    if not isinstance(plane, PlaneThere):
        monkeypatch.setitem(AHEAD, "by", timedelta(seconds=2))
    wait_for(lambda: in_force(plane) == {"kept"}, "the end of the others", 5.0)


def in_force(plane: Plane) -> set[str]:
    """Return the ids of what is held and acts; a rule whose time is over stays until it is removed."""
    return {ban_id for ban_id, held in plane.read().bans.items() if held.active(now())}


def test_applying_twice_leaves_it_as_once(plane: Plane) -> None:
    change = delta(everything(plane), plane.read(), now())
    plane.apply(change)
    once = plane.read()
    plane.apply(change)
    assert plane.read() == once


def test_an_empty_change_builds_nothing(plane: Plane) -> None:
    plane.apply(Delta())
    assert not plane.read().intact


def test_what_is_removed_is_gone_and_the_rest_stays(plane: Plane) -> None:
    bring(plane, everything(plane))
    fewer = wanted(*EVERY_SHAPE[:4], allow=("::1",), proven=("192.0.2.5",))
    bring(plane, fewer)
    assert delta(fewer, plane.read(), now()) == Delta()


def test_removing_what_is_not_there_is_no_error(plane: Plane) -> None:
    bring(plane, everything(plane))
    removal = delta(Desired(), plane.read(), now())
    plane.apply(removal)
    plane.apply(removal)
    actual = plane.read()
    assert (actual.bans, actual.allow, actual.proven) == ({}, frozenset(), frozenset())
    assert actual.intact


@pytest.mark.parametrize(
    "later",
    [
        ban("x", "192.0.2.0/24", seconds=1200, ports=(80, 443)),
        ban("x", "192.0.2.0/24", seconds=300, ports=(80, 443)),
        ban("x", "192.0.2.0/24", ports=(80,)),
        ban("x", "192.0.2.0/24", ports=tuple(range(80, 120))),
        ban("x", "192.0.2.0/24"),
        ban("x", "192.0.2.0/24", action=Action.REJECT, ports=(80, 443)),
        ban("x", "192.0.2.0/24", Scope.ALL),
        ban("x", "2001:db8::/64", ports=(80, 443)),
        ban("another", "192.0.2.0/24", ports=(80, 443)),
    ],
    ids=["longer", "shorter", "fewer ports", "more ports", "all ports", "action", "scope", "target", "another id"],
)
def test_a_ban_that_changes_is_held_as_it_is_now(plane: Plane, later: Ban) -> None:
    bring(plane, wanted(ban("x", "192.0.2.0/24", ports=(80, 443)), allow=("127.0.0.1",)))
    bring(plane, wanted(later, allow=("127.0.0.1",)))
    assert delta(wanted(later, allow=("127.0.0.1",)), plane.read(), now()) == Delta()


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0"])
def test_a_network_of_everybody_is_refused_and_nothing_is_changed(plane: Plane, everybody: str) -> None:
    bring(plane, everything(plane))
    before = plane.read()
    with pytest.raises(PlaneError, match="length 0"):
        plane.apply(Delta(add=(ban("fine", "192.0.2.200"), ban("wide", everybody, Scope.ALL))))
    with pytest.raises(PlaneError, match="length 0"):
        plane.apply(Delta(allow_add=frozenset({parse_network(everybody)})))
    assert plane.read() == before


@pytest.mark.parametrize("ban_id", ["", "x" * 33, 'a" timeout 0', "a\nflush", "Ä"])
def test_an_id_that_does_not_fit_a_comment_is_refused(plane: Plane, ban_id: str) -> None:
    with pytest.raises(PlaneError, match="its id"):
        plane.apply(Delta(add=(ban(ban_id, "192.0.2.1"),), frame=True))
    assert not plane.read().bans


def test_a_ban_that_has_expired_is_not_put_in(plane: Plane) -> None:
    bring(plane, Desired())
    plane.apply(Delta(add=(ban("late", "192.0.2.1", seconds=-0.001),)))
    assert not plane.read().bans


def test_flush_leaves_nothing_and_may_be_repeated(plane: Plane) -> None:
    bring(plane, everything(plane))
    plane.flush()
    plane.flush()
    actual = plane.read()
    assert (actual.bans, actual.allow, actual.proven, actual.intact) == ({}, frozenset(), frozenset(), False)


def test_flush_with_nothing_there_is_no_error(plane: Plane) -> None:
    plane.flush()


def test_a_reconciled_plane_has_no_difference_and_no_drift_left(plane: Plane, tmp_path: Path) -> None:
    reconciler = Reconciler(plane, tmp_path / "lock")
    first = reconciler.reconcile(everything(plane), now())
    again = reconciler.reconcile(everything(plane), now(), full=True)
    assert set(first.held) == set(everything(plane).bans)
    assert not again.change
    assert again.drift == ()
    assert set(reconciler.hits()) == set(everything(plane).bans)


def test_two_bans_that_want_the_same_member_do_not_take_it_from_each_other(plane: Plane, tmp_path: Path) -> None:
    both = wanted(
        ban("short", "192.0.2.0/24", ports=(80, 443), seconds=300),
        ban("long", "192.0.2.0/24", ports=(443, 8080), seconds=600),
        ban("inner", "192.0.2.0/24", ports=(443,), seconds=100),
    )
    reconciler = Reconciler(plane, tmp_path / "lock")
    first = reconciler.reconcile(both, now())
    assert first.held["short"].ports == (80,)
    assert first.covered == {"inner": "long"}
    assert not reconciler.reconcile(both, now(), full=True).change
    rest = wanted(both.bans["short"], both.bans["inner"])
    reconciler.reconcile(rest, now())
    assert set(plane.read().bans["short"].ports) == {80, 443}


def test_what_is_told_in_brief_is_what_is_read_back(plane: Plane) -> None:
    """Of 100,000 bans nobody waits for an object each, or, for a page of them, for more than the page."""

    def brief(of: Sequence[Ban] | None = None) -> Stopped:
        return (
            plane.thread.call(stopped_by, plane._plane, of) if isinstance(plane, PlaneThere) else stopped_by(plane, of)
        )

    bring(plane, everything(plane))
    assert brief() == Stopped.of(plane.read())
    absent = ban("absent", "192.0.2.0/25"), ban("other-port", "198.51.100.77", ports=(81,))
    alone = brief([*EVERY_SHAPE[:3], *absent]).targets
    assert "192.0.2.0/24" in alone
    assert "2001:db8:1::/64" in alone
    assert "198.51.100.7" in alone
    assert "192.0.2.0/25" not in alone
    assert "198.51.100.77" not in alone
    if not isinstance(plane, FaultyFake):
        plane.flush()
        assert not brief().targets
        assert brief(EVERY_SHAPE).missing


def test_what_is_read_in_pieces_is_what_is_read_at_once(plane: Plane) -> None:
    """And in columns, so that very many bans are no objects."""
    there = plane._plane if isinstance(plane, PlaneThere) else plane
    if not isinstance(there, PatientPlane):
        return
    bring(plane, everything(plane))
    known = plane.read()

    def again() -> Actual:
        return at_once(there.read_in_pieces())

    seen = plane.thread.call(again) if isinstance(plane, PlaneThere) else again()
    assert seen == known
    assert isinstance(seen.bans, HeldBans)
