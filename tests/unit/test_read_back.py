"""A look in pieces: what others did is found, what we did meanwhile is no drift, and a failure begins anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.columns import TextColumn
from synguard.enforcer.plane import Desired
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.enforcer.reconcile.outcome import Outcome
from synguard.enforcer.reconcile.reconciler import READ_EVERY, Reconciler
from synguard.errors import PlaneError
from synguard.packed_bans import PackedBans
from tests.support.bans import ban, wanted
from tests.support.fake_plane import PatientFake
from tests.support.manual_clock import START, ManualClock

ONE, TWO, THREE = (
    ban(name, f"192.0.2.{n}", start=START, seconds=7200) for n, name in enumerate(("one", "two", "three"))
)
GOAL = wanted(ONE, TWO, allow=("127.0.0.1",), proven=("192.0.2.9",))
PASSES = PatientFake.PIECES + 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def plane(clock: ManualClock) -> PatientFake:
    return PatientFake(clock.utcnow)


@pytest.fixture
def reconciler(plane: PatientFake, clock: ManualClock, tmp_path: Path) -> Reconciler:
    """One that has brought the plane to the goal, and whose next look is due."""
    made = Reconciler(plane, tmp_path / "apply.lock", patient_from=0)
    made.reconcile(GOAL, clock.utcnow())
    clock.advance(READ_EVERY.total_seconds())
    plane.calls.clear()
    return made


def passes(reconciler: Reconciler, clock: ManualClock, goal: Desired, times: int = PASSES) -> list[Outcome]:
    outcomes = []
    for _ in range(times):
        outcomes.append(reconciler.reconcile(goal, clock.utcnow()))
        clock.advance(0.2)
    return outcomes


def test_a_look_takes_a_piece_a_pass_and_reads_once(
    reconciler: Reconciler, plane: PatientFake, clock: ManualClock
) -> None:
    outcomes = passes(reconciler, clock, GOAL)
    assert plane.calls == ["read"]
    assert [one.read_at == outcomes[-1].read_at for one in outcomes] == [False] * PatientFake.PIECES + [True]
    assert not reconciler.looking
    passes(reconciler, clock, GOAL)
    assert plane.calls == ["read"]


def test_a_look_at_many_that_are_wanted_but_not_known_to_be_there_takes_a_piece_a_pass(
    plane: PatientFake, clock: ManualClock, tmp_path: Path
) -> None:
    """Another process may have put them there."""
    reconciler = Reconciler(plane, tmp_path / "apply.lock", patient_from=2)
    reconciler.reconcile(wanted(ONE), clock.utcnow())
    clock.advance(READ_EVERY.total_seconds())
    outcomes = passes(reconciler, clock, wanted(ONE, TWO, THREE))
    assert [one.read_at == outcomes[-1].read_at for one in outcomes] == [False] * PatientFake.PIECES + [True]


def test_what_others_took_is_put_back_at_its_end(
    reconciler: Reconciler, plane: PatientFake, clock: ManualClock
) -> None:
    plane.lose("one")
    plane.damage("the jump from INPUT")
    outcomes = passes(reconciler, clock, GOAL)
    assert [bool(one.drift) for one in outcomes] == [False] * PatientFake.PIECES + [True]
    assert "1 ban gone from the kernel" in outcomes[-1].drift[1]
    assert set(plane.actual.bans) == {"one", "two"}
    assert plane.actual.intact


def test_what_we_change_meanwhile_is_no_drift_and_stays(
    reconciler: Reconciler, plane: PatientFake, clock: ManualClock
) -> None:
    passes(reconciler, clock, GOAL, 1)
    changed = wanted(TWO, THREE, allow=("127.0.0.1", "192.0.2.77"), proven=("192.0.2.8",))
    outcomes = passes(reconciler, clock, changed)
    assert [drift for one in outcomes for drift in one.drift] == []
    assert set(plane.actual.bans) == {"two", "three"}
    assert (plane.actual.allow, plane.actual.proven) == (changed.allow, changed.proven)
    assert plane.calls == ["read", "apply"]


def test_a_ban_made_longer_meanwhile_keeps_its_new_end(
    reconciler: Reconciler, plane: PatientFake, clock: ManualClock
) -> None:
    passes(reconciler, clock, GOAL, 1)
    longer = ban("one", str(ONE.target), start=START, seconds=9000)
    outcomes = passes(reconciler, clock, wanted(longer, TWO, allow=("127.0.0.1",), proven=("192.0.2.9",)))
    assert [drift for one in outcomes for drift in one.drift] == []
    assert plane.actual.bans["one"].expires_at == longer.expires_at


def test_counts_are_those_of_the_look(reconciler: Reconciler, plane: PatientFake, clock: ManualClock) -> None:
    plane.count("one", 7)
    outcomes = passes(reconciler, clock, GOAL)
    assert outcomes[-2].held["one"].hits.packets == 0
    assert outcomes[-1].held["one"].hits.packets == 7


def test_a_look_that_fails_is_told_and_begun_anew(
    reconciler: Reconciler, plane: PatientFake, clock: ManualClock
) -> None:
    plane.lose("one")
    plane.fail_next("read", PlaneError("reading our ipsets", "Cannot allocate memory"))
    with pytest.raises(PlaneError, match="Cannot allocate memory"):
        passes(reconciler, clock, GOAL, 1)
    outcomes = passes(reconciler, clock, GOAL)
    assert outcomes[-1].drift
    assert set(plane.actual.bans) == {"one", "two"}


def test_a_change_that_fails_meanwhile_is_followed_by_a_whole_look(
    reconciler: Reconciler, plane: PatientFake, clock: ManualClock
) -> None:
    """Sets that others destroyed: there is no time for pieces then."""
    passes(reconciler, clock, GOAL, 1)
    plane.wipe()
    outcome = reconciler.reconcile(wanted(ONE, TWO, THREE, allow=("127.0.0.1",)), clock.utcnow())
    assert outcome.drift
    assert set(plane.actual.bans) == {"one", "two", "three"}


def test_it_is_known_to_be_under_way_so_that_the_agent_does_not_rest(
    reconciler: Reconciler, clock: ManualClock
) -> None:
    passes(reconciler, clock, GOAL, 1)
    assert reconciler.looking


def test_a_flush_ends_it(reconciler: Reconciler, plane: PatientFake, clock: ManualClock) -> None:
    passes(reconciler, clock, GOAL, 1)
    reconciler.flush()
    assert plane.actual.bans == {}
    assert passes(reconciler, clock, GOAL, 1)[0].change.frame
    assert set(plane.actual.bans) == {"one", "two"}


def test_the_next_piece_waits_for_bans_that_were_decided_just_now_but_not_for_ever(
    plane: PatientFake, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood that begins while all is read back was answered as much later as a piece takes, tick after tick."""
    monkeypatch.setattr("synguard.enforcer.reconcile.reconciler.MOST_PUT_OFF", 5)
    state = DesiredState()
    state.put(PackedBans([ONE]))
    reconciler = Reconciler(plane, tmp_path / "apply.lock", patient_from=0)
    reconciler.reconcile(state.desired((), ()), clock.utcnow())
    clock.advance(READ_EVERY.total_seconds())
    plane.calls.clear()
    for number in range(5):
        state.put(PackedBans([ban(f"new{number}", f"198.51.100.{number}", start=START, seconds=7200)]))
        passes(reconciler, clock, state.desired((), ()), 1)
    assert plane.calls == ["apply"] * 5
    state.put(PackedBans([TWO]))
    passes(reconciler, clock, state.desired((), ()), 1)
    assert plane.calls[5:] == ["read", "apply"]
    assert reconciler.looking
    passes(reconciler, clock, state.desired((), ()))
    assert not reconciler.looking


def test_bans_that_wait_for_later_passes_are_no_objects_yet(
    plane: PatientFake, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ids of their own, a hundred thousand left holes of six megabytes in memory."""
    state, asked, real = DesiredState(), list[int](), TextColumn.__getitem__
    state.put(PackedBans(ban(f"b{n}", f"10.0.{n >> 8}.{n & 255}", start=START, seconds=7200) for n in range(3_000)))
    reconciler = Reconciler(plane, tmp_path / "apply.lock", patient_from=0)
    monkeypatch.setattr(TextColumn, "__getitem__", lambda self, row: asked.append(row) or real(self, row))
    reconciler.reconcile(state.desired((), ()), clock.utcnow(), at_most=10)
    assert (len(plane.actual.bans), reconciler.left) == (10, 2_990)
    assert len(asked) < 100
