"""The firewall and the challenge program as one plane: who holds what, and that a drop outranks a challenge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synguard.enforcer.dry_run import DryRunPlane
from synguard.enforcer.plane import Delta, PatientPlane
from synguard.enforcer.reconcile.delta import delta
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.enforcer.split_plane import AT_A_TIME, COPIES_OF_ALL, PORTS_OF_COPIES, SplitPlane, split_plane
from synguard.enforcer.verb_plane import held_at
from synguard.errors import PlaneError
from synguard.model import ON_HANDSHAKES, Action, Origin, Scope
from synguard.syn_header import SynHeader
from tests.support.bans import ban, wanted
from tests.support.fake_plane import FakePlane

DROP = ban("drop", "192.0.2.7")
CHALLENGE = ban("challenge", "192.0.2.0/24", action=Action.CHALLENGE, ports=(80,))
EVERYBODY = ban("everybody", "0.0.0.0/0", action=Action.CHALLENGE, ports=(443,))
HEADER = replace(ban("header", "0.0.0.0/0", ports=(443,)), header=SynHeader((1, 255), 512, 0, 0, 40))
ALL = wanted(DROP, CHALLENGE, EVERYBODY, HEADER, allow=("127.0.0.1",))


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def plane() -> SplitPlane:
    return split_plane(FakePlane(now), DryRunPlane(now))


def test_the_firewall_holds_drops_and_the_program_challenges_and_the_drops_as_well(
    plane: SplitPlane, tmp_path: Path
) -> None:
    outcome = Reconciler(plane, tmp_path / "lock").reconcile(ALL, now())
    assert outcome.held.keys() == {"drop", "challenge", "everybody", "header"}
    assert plane.firewall.read().bans.keys() == {"drop"}
    assert plane.program.read().bans.keys() == {"drop", "challenge", "everybody", "header"}
    assert delta(ALL, plane.read(), now()) == Delta()


def test_the_command_that_shows_a_ban_is_that_of_what_holds_it(plane: SplitPlane) -> None:
    """`why` named the firewall's for a challenge, and its rules hold none."""
    assert held_at(plane, DROP) == f"the set, see {plane.firewall.show_command}"
    assert held_at(plane, CHALLENGE).endswith(f", see {plane.program.show_command}")


def test_a_drop_that_the_program_does_not_know_is_put_back(plane: SplitPlane, tmp_path: Path) -> None:
    """A program that was loaded anew would answer SYNs of a banned source, and the source would connect."""
    reconciler = Reconciler(plane, tmp_path / "lock")
    reconciler.reconcile(ALL, now())
    plane.program.flush()
    reconciler.reconcile(ALL, now(), full=True)
    assert plane.program.read().bans.keys() == {"drop", "challenge", "everybody", "header"}


def test_another_step_against_a_target_leaves_nothing_of_the_one_before(plane: SplitPlane, tmp_path: Path) -> None:
    reconciler = Reconciler(plane, tmp_path / "lock")
    reconciler.reconcile(wanted(CHALLENGE), now())
    graver = ban("graver", "192.0.2.0/24", ports=(80,))
    reconciler.reconcile(wanted(graver), now())
    assert plane.firewall.read().bans.keys() == plane.program.read().bans.keys() == {"graver"}


def test_a_firewall_alone_refuses_a_challenge() -> None:
    with pytest.raises(PlaneError, match="needs the challenge program"):
        FakePlane(now).apply(Delta(add=(CHALLENGE,)))


def test_it_is_read_back_in_pieces_only_where_the_firewall_is() -> None:
    assert not isinstance(split_plane(FakePlane(now), DryRunPlane(now)), PatientPlane)


def test_flush_empties_both_even_where_the_program_cannot_be_emptied(plane: SplitPlane, tmp_path: Path) -> None:
    stuck = FakePlane(now)
    stuck.failures["flush"] = [PlaneError("removing the program", "device busy")]
    both = split_plane(plane.firewall, stuck)
    plane.firewall.apply(Delta(add=(DROP,), frame=True))
    with pytest.raises(PlaneError, match="device busy"):
        both.flush()
    assert not plane.firewall.read().bans


def test_remains_of_a_ban_are_removed_without_its_copy(plane: SplitPlane, tmp_path: Path) -> None:
    """The program let go of its copy of the ban with them, and would have answered SYNs of its source."""
    Reconciler(plane, tmp_path / "lock").reconcile(ALL, now())
    plane.apply(Delta(remove=(replace(plane.firewall.read().bans["drop"], ports=(80,), remains=2),)))
    assert "drop" in plane.program.read().bans


def test_a_list_of_drops_of_everything_is_copied_by_and_by_and_leaves_room(plane: SplitPlane, tmp_path: Path) -> None:
    """A tick that took over 512 of 50,000 decisions gave the program 512 copies, which took a tenth of a second; they
    took all of its room, and bans of SYNs that came later had none."""
    reconciler = Reconciler(plane, tmp_path / "lock")
    reconciler.reconcile(wanted(), now())
    decided = [
        replace(ban(f"l{n}", f"198.18.{n >> 8}.{n & 255}", Scope.ALL), origin=Origin.CROWDSEC)
        for n in range(COPIES_OF_ALL + 500)
    ]
    reconciler.reconcile(wanted(*decided), now())
    assert len(plane.program.read().bans) == AT_A_TIME
    outcome = reconciler.reconcile(wanted(*decided, DROP), now(), full=True)
    assert outcome.drift == ()
    assert "drop" in plane.program.read().bans
    plane.program.flush()
    reconciler.reconcile(wanted(*decided, DROP), now(), full=True)
    assert len(plane.program.read().bans) == COPIES_OF_ALL
    assert "drop" in plane.program.read().bans


def test_a_drop_that_another_process_put_in_without_a_copy_is_removed_like_any_other(
    plane: SplitPlane, tmp_path: Path
) -> None:
    """Bans without a copy once counted as not held: `unban` left them in the firewall."""
    plane.firewall.apply(Delta(add=(DROP,), frame=True))
    Reconciler(plane, tmp_path / "lock").reconcile(wanted(), now())
    assert not plane.firewall.read().bans


def test_where_no_program_runs_the_firewall_is_read_as_it_is(plane: SplitPlane) -> None:
    alone = split_plane(plane.firewall, DryRunPlane(now), 0)
    plane.firewall.apply(Delta(add=(DROP,), frame=True))
    assert alone.read() == plane.firewall.read()


def test_copies_name_no_more_ports_than_the_program_tells_apart_and_nothing_is_missing_then(
    plane: SplitPlane, tmp_path: Path
) -> None:
    """Twenty bans of fifteen ports each: the program refused them all, and with them whatever came with them."""
    bans = [ban(f"b{i}", f"192.0.2.{i}", ports=tuple(range(100 + 15 * i, 115 + 15 * i))) for i in range(20)]
    reconciler = Reconciler(plane, tmp_path / "lock")
    for wanted_now in (bans, bans[10:]):
        reconciler.reconcile(wanted(*wanted_now), now(), full=True)
        copies = plane.program.read().bans.values()
        assert len({port for one in copies for port in one.ports}) <= PORTS_OF_COPIES
        assert plane.firewall.read().bans.keys() == {one.id for one in wanted_now}
        reconciler.reconcile(wanted(*wanted_now), now(), full=True)
        assert delta(wanted(*wanted_now), plane.read(), now()) == Delta()
    assert len(plane.program.read().bans) == PORTS_OF_COPIES // 15


def test_a_copy_that_is_put_back_refuses_proven_peers_where_the_ban_does(plane: SplitPlane, tmp_path: Path) -> None:
    goal = wanted(replace(ban("holds", "192.0.2.7", ports=(80,)), evidence=ON_HANDSHAKES), ban("on-syns", "192.0.2.8"))
    reconciler = Reconciler(plane, tmp_path / "lock")
    for _ in range(2):
        reconciler.reconcile(goal, now(), full=True)
        copies = plane.program.read().bans
        assert {name: one.refuses_proven for name, one in copies.items()} == {"holds": True, "on-syns": False}
        plane.program.flush()


def test_bans_that_are_not_copied_keep_no_port_from_those_that_are(plane: SplitPlane, tmp_path: Path) -> None:
    """Of 127 drops on a port each two had room as copies, and the ports of all were noted: once these two were gone,
    a drop on another port was not copied."""
    few = split_plane(plane.firewall, plane.program, most_copies=2)
    drops = [ban(f"b{n}", f"192.0.2.{n}", ports=(1000 + n,)) for n in range(PORTS_OF_COPIES)]
    reconciler = Reconciler(few, tmp_path / "lock")
    for full in (False, True):
        reconciler.reconcile(wanted(), now())
        reconciler.reconcile(wanted(*drops), now(), full=full)
        copied = few.program.read().bans.keys()
        assert len(copied) == 2
        rest = [one for one in drops if one.id not in copied]
        reconciler.reconcile(wanted(*rest), now())
        reconciler.reconcile(wanted(*rest, ban("late", "198.51.100.1", ports=(443,))), now())
        assert few.program.read().bans.keys() == {"late"}
