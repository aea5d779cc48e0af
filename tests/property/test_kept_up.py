"""What is kept up change by change equals what would be made anew from all of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.addresses import Network
from synguard.decision.bans import ActiveBans
from synguard.detector.ban_filter import BanFilter
from synguard.enforcer import locks
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.plane import Actual, Delta, Desired
from synguard.enforcer.reconcile.delta import (
    after,
    as_kernel_bans,
    delta,
    desired_members,
    member_delta,
    without,
    without_expired,
)
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.enforcer.reconcile.drift import drift
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.errors import PlaneError
from synguard.model import NO_HITS, Ban, Origin, Scope
from synguard.packed_bans import PackedBans
from tests.property.test_reconciler import NETWORKS, one_ban, wishes
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane
from tests.support.manual_clock import START, ManualClock

BANS = st.lists(one_ban(), max_size=5).map(lambda bans: {one.id: one for one in bans})
STEPS = st.lists(st.tuples(BANS, st.sampled_from([-20.0, 0.0, 0.3, 1.0, 30.0, 700.0])), max_size=6)


def follow(state: DesiredState, bans: dict[str, Ban], now: datetime) -> dict[str, None]:
    """Let the state want these bans; return the ids whose members may have changed."""
    state.expire(now)
    for ban_id in set(state) - bans.keys():
        state.drop(ban_id)
    for one in bans.values():
        if state.get(one.id) != one:
            state.drop(one.id)
            if one.active(now):
                state.put(PackedBans([one]))
    return state.take_changes()


@given(STEPS)
def test_members_that_are_kept_up_are_those_of_all_wanted_bans(steps: list[tuple[dict[str, Ban], float]]) -> None:
    state, now = DesiredState(), START
    for wanted, seconds in steps:
        now += timedelta(seconds=seconds)
        follow(state, wanted, now)
        assert state.members == desired_members(wanted, now)


@given(STEPS, st.integers(1, 3))
def test_changed_bans_alone_give_the_difference_of_all(steps: list[tuple[dict[str, Ban], float]], at_most: int) -> None:
    """In pieces it is the same in the end, whatever the size of the pieces."""
    state, now, held, later = DesiredState(), START, replace(Actual(), intact=True), list[str]()
    for bans, seconds in steps:
        now += timedelta(seconds=abs(seconds))
        wanted = Desired(bans)
        changed = {**dict.fromkeys(later), **follow(state, bans, now)}
        whole, _, none = member_delta(wanted, held, now, state.members, changed)
        reference = delta(wanted, without_expired(held, now), now)
        assert {one.id for one in whole.add} == {one.id for one in reference.add}
        assert {one.ban_id for one in whole.remove} == {one.ban_id for one in reference.remove}
        assert not none
        differing, _, _ = member_delta(wanted, held, now, state.members, state.differing(HeldBans(held.bans)))
        assert (set(differing.add), set(differing.remove)) == (set(whole.add), set(whole.remove))
        part, expired, later = member_delta(wanted, held, now, state.members, changed, at_most)
        assert len({one.id for one in part.add} | {one.ban_id for one in part.remove}) <= at_most
        held = after(without(held, expired), part)
        columns = replace(held, bans=HeldBans(held.bans))
        assert after(columns, Delta()) == held
    while later:
        part, expired, later = member_delta(wanted, held, now, state.members, later, at_most)
        columns = after(without(replace(held, bans=HeldBans(held.bans)), expired), part)
        held = after(without(held, expired), part)
        assert columns == held
    assert not steps or delta(wanted, held, now) == Delta()


@given(BANS, BANS, BANS, st.integers(0, 2))
def test_what_others_did_is_told_in_full_though_it_is_mended_in_pieces(
    bans: dict[str, Ban], before: dict[str, Ban], there: dict[str, Ban], at_most: int
) -> None:
    """What a wanted ban is to hold by itself counts: another of its target may hold some of its ports."""
    state = DesiredState()
    state.put(PackedBans(one for one in bans.values() if one.active(START)))
    wanted, plain = state.desired((), ()), Desired(bans)
    state.take_changes()
    own = desired_members(bans, START).bans
    known, actual = (
        Actual(HeldBans({one.id: as_kernel_bans(own.get(one.id, one), NO_HITS) for one in some.values()}), intact=True)
        for some in (before, there)
    )
    whole = drift(plain, delta(plain, actual, START), known, actual, START)
    changed = dict.fromkeys((*bans, *there))
    piece = member_delta(wanted, actual, START, state.members, changed, at_most, seen=True)[0]
    told = drift(wanted, piece, known, actual, START)
    assert [sorted(text.replace(",", "").split()) for text in told] == [
        sorted(text.replace(",", "").split()) for text in whole
    ]


@given(STEPS, NETWORKS, NETWORKS)
def test_a_state_wants_what_its_bans_want(
    steps: list[tuple[dict[str, Ban], float]], protected: frozenset[Network], proven: frozenset[Network]
) -> None:
    desired_state, now, there = DesiredState(), START, dict[str, Ban]()
    for bans, seconds in steps:
        now += timedelta(seconds=abs(seconds))
        for ban_id in there.keys() - bans.keys():
            desired_state.drop(ban_id)
        for one in bans.values():
            forced = one.action.value == "reject" and one.origin is Origin.MANUAL
            desired_state.put(PackedBans([replace(one, forced=forced)]))
        there = bans
        assert all(not one.active(now) for one in desired_state.expire(now))
        assert not desired_state.has_ended(now)
        wanted = desired_state.desired(protected, proven)
        assert wanted == Desired.of(wanted.bans.values(), protected, proven, now)
        assert wanted.bans.keys() == {one.id for one in bans.values() if one.active(now)}
        desired_state.take_changes()
        assert desired_state.members == desired_members(wanted.bans, now)


@given(st.lists(st.floats(0, 5), max_size=20), st.lists(st.floats(0, 6), max_size=6), st.integers(1, 4))
def test_what_ends_is_told_once_and_not_before_its_time(moments: list[float], asked: list[float], at_most: int) -> None:
    state, told = DesiredState(), list[str]()
    for number, seconds in enumerate(moments):
        one = ban(str(number), f"192.0.2.{number}", start=START)
        state.put(PackedBans([replace(one, expires_at=START + timedelta(seconds=seconds))]))
    for seconds in [*sorted(asked), *[6.0] * 20]:
        now = START + timedelta(seconds=seconds)
        due = state.expire(now, at_most)
        assert len(due) <= at_most
        assert not any(one.active(now) for one in due)
        assert state.has_ended(now) == (
            len(told) + len(due) < sum(START + timedelta(seconds=one) <= now for one in moments)
        )
        told += [one.id for one in due]
    assert sorted(told) == sorted(map(str, range(len(moments))))


def as_sets(held: BanFilter) -> list[set[tuple[object, ...]]]:
    """The banned networks, without order and without what stands twice."""
    return [
        {
            (*width, *row)
            for width, columns in networks.items()
            for row in zip(*map(np.ndarray.tolist, columns), strict=True)
        }
        for networks in (held.whole, held.new)
    ]


@given(STEPS)
def test_standing_bans_that_came_and_went_are_those_made_anew(steps: list[tuple[dict[str, Ban], float]]) -> None:
    """Two bans of one target, scope and ports do not stand together in the ledger, nor here."""
    active_bans, now, there = ActiveBans(), START, dict[str, Ban]()
    for drawn, seconds in steps:
        now += timedelta(seconds=abs(seconds))
        bans = {(one.target, one.scope, one.ports): one for one in drawn.values()}
        by_id = {one.id: one for one in bans.values()}
        departed = [one for ban_id, one in there.items() if by_id.get(ban_id) != one]
        arrived = [one for ban_id, one in by_id.items() if there.get(ban_id) != one]
        active_bans.follow(PackedBans(arrived), departed, now)
        there = by_id
        anew = ActiveBans()
        for one in by_id.values():
            anew.add(one)
        assert active_bans.automatic == anew.automatic
        assert as_sets(active_bans.ban_filter(now)) == as_sets(anew.ban_filter(now))
        assert as_sets(BanFilter(new=active_bans.closed_prefixes(now))) == as_sets(
            BanFilter(new=anew.closed_prefixes(now))
        )
        for one in by_id.values():
            assert active_bans.covering(one.target, one.scope, one.ports, now) == anew.covering(
                one.target, one.scope, one.ports, now
            )


def test_many_bans_cost_one_insert_a_column_however_many_ports_they_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """30,000 bans over 12 ports took 10 s: a source chooses which ports it touches, and each set of them cost its own.

    A hundred cost none until they are asked for.
    """
    inserts = list[int]()
    real = np.insert
    monkeypatch.setattr(np, "insert", lambda *args: inserts.append(len(args[2])) or real(*args))
    ports = range(8000, 8006)
    sets = [some for size in (1, 2, 3, 4, 5, 6) for some in combinations(ports, size)]

    def touching(first: int, number: int) -> PackedBans:
        there = range(first, first + number)
        return PackedBans(
            ban(f"b{n}", f"198.18.{n >> 8}.{n & 255}", start=START, ports=sets[n % len(sets)]) for n in there
        )

    active_bans = ActiveBans()
    active_bans.add_many(touching(0, 2_500))
    active_bans.ban_filter(START)
    columns = 4  # key, high, low, until
    assert len(inserts) == columns
    assert sum(inserts) == columns * sum(len(sets[n % len(sets)]) for n in range(2_500))
    for first in range(2_500, 2_600, 10):
        active_bans.follow(touching(first, 10), [], START)
    assert len(inserts) == columns
    active_bans.ban_filter(START)
    assert len(inserts) == 2 * columns
    anew = ActiveBans()
    for one in touching(0, 2_600).values():
        anew.add(one)
    assert as_sets(active_bans.ban_filter(START)) == as_sets(anew.ban_filter(START))


def test_columns_that_many_come_into_hold_what_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synguard.decision.banned_networks._MANY", 4)
    bans = [ban(f"b{n}", f"198.51.100.{n}", start=START) for n in range(40)]
    active_bans, at = ActiveBans(), 0
    for number in (1, 3, 2, 1, 1, 7, 3, 3, 5):
        active_bans.add_many(PackedBans(bans[at : at + number]))
        at += number
    anew = ActiveBans()
    for one in bans[:at]:
        anew.add(one)
    assert as_sets(active_bans.ban_filter(START)) == as_sets(anew.ban_filter(START))


def test_one_of_two_bans_that_share_a_port_leaves_the_other_its_row() -> None:
    one = ban("one", "192.0.2.2", start=START, ports=(22,))
    both = ban("both", "192.0.2.2", start=START, ports=(22, 80))
    active_bans = ActiveBans([one, both])
    active_bans.follow(PackedBans(), [one], START)
    assert as_sets(active_bans.ban_filter(START)) == as_sets(ActiveBans([both]).ban_filter(START))


def test_many_bans_lifted_at_once_are_as_gone_as_a_few() -> None:
    bans = [ban(f"b{n}", f"198.51.{n // 256}.{n % 256}", Scope.ALL, start=START) for n in range(300)]
    active_bans = ActiveBans(bans)
    active_bans.ban_filter(START)
    active_bans.follow(PackedBans(), bans[:200], START)
    assert as_sets(active_bans.ban_filter(START)) == as_sets(ActiveBans(bans[200:]).ban_filter(START))
    active_bans.follow(PackedBans(), bans[200:210], START)
    assert as_sets(active_bans.ban_filter(START)) == as_sets(ActiveBans(bans[210:]).ban_filter(START))


@settings(max_examples=40)
@given(st.lists(st.tuples(wishes(), st.booleans(), st.floats(0, 30)), max_size=6), wishes(), st.integers(1, 2))
def test_a_plane_brought_there_in_pieces_gets_there(
    steps: list[tuple[Desired, bool, float]], last: Desired, at_most: int
) -> None:
    clock = ManualClock()
    plane = FakePlane(clock.utcnow)
    with TemporaryDirectory() as directory:
        reconciler = Reconciler(plane, Path(directory) / "lock")
        for goal, fails, seconds in [*steps, *[(last, False, 0.0)] * 8]:
            clock.advance(seconds)
            if fails:
                plane.fail_next("apply", *[PlaneError("filling sets", "no luck")] * 2)
            try:
                reconciler.reconcile(goal, clock.utcnow(), at_most=at_most)
            except PlaneError:
                assert fails
            plane.failures.clear()
        assert delta(last, plane.read(), clock.utcnow()) == Delta()


def test_a_lock_that_was_not_had_loses_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claims had been followed already: without a note of what was left, the ban never came into the kernel."""
    monkeypatch.setattr("synguard.enforcer.reconcile.reconciler.APPLY_WAIT_S", 0.0)
    plane = FakePlane(ManualClock().utcnow)
    reconciler = Reconciler(plane, tmp_path / "lock")
    reconciler.reconcile(Desired(), START)
    goal = Desired({"one": ban("one", "192.0.2.1", start=START)})
    with locks.exclusive(tmp_path / "lock", 0.0, "the test"), pytest.raises(PlaneError, match="has held it"):
        reconciler.reconcile(goal, START)
    reconciler.reconcile(goal, START)
    assert set(plane.actual.bans) == {"one"}
