"""Bans that the kernel has no room for wait, and a sentence says why."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.enforcer.challenge.layout import BANS, SLOTS
from synguard.enforcer.dry_run import DryRunPlane
from synguard.enforcer.limits import BANS_AT_INTERFACE, PORTS_AT_INTERFACE
from synguard.enforcer.reconcile.admission import Admission
from synguard.enforcer.reconcile.capacity import ensure_capacity
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.enforcer.split_plane import COPIES, PORTS_OF_COPIES, SplitPlane, split_plane
from synguard.errors import CapacityError
from synguard.model import Action, Ban
from synguard.packed_bans import PackedBans
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def plane() -> SplitPlane:
    return split_plane(FakePlane(now), DryRunPlane(now))


def challenge(number: int, *ports: int) -> Ban:
    return ban(f"c{number}", f"192.0.{number // 256}.{number % 256}", action=Action.CHALLENGE, ports=ports)


def test_the_program_has_places_and_ports_for_its_own_bans_and_for_copies() -> None:
    assert COPIES + BANS_AT_INTERFACE == BANS - 1, "place 0 is none"
    assert PORTS_OF_COPIES + PORTS_AT_INTERFACE == SLOTS - 1, "slot 0 is every other port"


def test_challenges_that_name_more_ports_than_the_program_tells_apart_wait_until_others_are_gone(
    plane: SplitPlane,
) -> None:
    """An attack on more than 255 ports ended the agent: the program refused a port, and the tick with it."""
    admission = Admission(plane, desired := DesiredState())
    for number in range(10):
        admission.put(PackedBans([challenge(number, *range(15 * number + 1, 15 * number + 16))]))
    everywhere, drop = challenge(99), ban("drop", "198.51.100.1", ports=tuple(range(9000, 9015)))
    admission.put(PackedBans([everywhere, drop]))
    assert set(desired) == {*(f"c{number}" for number in range(8)), "c99", "drop"}
    assert admission.problem.startswith("2 bans are not in the kernel: the challenge program tells 128 ports apart;")
    admission.drop("c0")
    admission.expire(now(), 100)
    assert "c8" in desired
    assert "c9" not in desired
    with pytest.raises(CapacityError, match=r"150 ports apart, and tells at most 128; .* nothing was banned"):
        ensure_capacity(plane, [*desired.values(), challenge(8, *range(121, 136))], [challenge(10, *range(500, 530))])
    ensure_capacity(plane, desired.values(), [drop])


def test_where_too_many_ports_are_named_a_challenge_of_those_or_of_all_is_still_taken(plane: SplitPlane) -> None:
    """The refusal advised to ban on all ports, and refused that, too."""
    there = [challenge(number, number + 1) for number in range(PORTS_AT_INTERFACE + 2)]
    ensure_capacity(plane, there, [challenge(500), challenge(501, 5, 6)])
    with pytest.raises(CapacityError, match="131 ports apart, and tells at most 128"):
        ensure_capacity(plane, there, [challenge(500), challenge(501, 5, 1000)])


def test_more_challenges_than_the_program_carries_out_wait(plane: SplitPlane) -> None:
    admission = Admission(plane, desired := DesiredState())
    admission.put(PackedBans(challenge(number) for number in range(BANS_AT_INTERFACE + 1)))
    assert len(desired) == BANS_AT_INTERFACE
    assert admission.problem.startswith("1 ban is not in the kernel: the challenge program carries out at most 4,095")
    with pytest.raises(
        CapacityError, match=r"to carry out 4,096 bans, and carries out at most 4,095; .*nothing was banned"
    ):
        ensure_capacity(plane, desired.values(), [challenge(BANS_AT_INTERFACE + 1)])


def test_where_there_is_not_room_for_all_the_oldest_bans_come_first_whatever_their_ports() -> None:
    """After a restart at a full set, older bans of more ports were taken out of the kernel in favour of newer ones."""
    admission = Admission(FakePlane(now, max_elements=10), desired := DesiredState())
    oldest = [ban("a", "198.51.100.0"), *(ban(f"b{n}", f"198.51.100.{n}", ports=(22, 80, 443)) for n in (1, 2, 3))]
    newer = [ban(f"c{n}", f"198.51.100.{n}") for n in range(4, 24)]
    admission.put(PackedBans([*oldest, *newer]))
    assert list(desired) == ["a", "b1", "b2", "b3"]
    assert list(admission.waiting) == [f"c{n}" for n in range(4, 24)]
    admission.drop("b2")
    admission.expire(now(), 100)
    assert list(desired) == ["a", "b1", "b3", "c4", "c5", "c6"]


WANTED = st.tuples(
    st.sampled_from([Action.DROP, Action.CHALLENGE]),
    st.sampled_from([(), (1,), (1, 2), (2, 3, 4), (5, 6)]),
)
BATCHES = st.lists(
    st.tuples(st.lists(WANTED, min_size=6, max_size=12), st.sets(st.integers(0, 20), max_size=4)),
    min_size=1,
    max_size=3,
)


@given(BATCHES, st.integers(0, 12), st.integers(0, 12), st.integers(0, 6))
def test_many_that_want_room_at_once_get_it_as_if_they_came_one_by_one(
    batches: list[tuple[list[tuple[Action, tuple[int, ...]]], set[int]]], ceiling: int, program: int, apart: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synguard.enforcer.reconcile.admission.BANS_AT_INTERFACE", program)
        patch.setattr("synguard.enforcer.reconcile.admission.PORTS_AT_INTERFACE", apart)
        states = DesiredState(), DesiredState()
        planes = [split_plane(FakePlane(now, max_elements=ceiling), DryRunPlane(now)) for _ in states]
        together, singly = map(Admission, planes, states)
        number = 0
        for wanted, dropped in batches:
            bans = [
                ban(f"w{n}", f"198.51.100.{n}", action=action, ports=ports)
                for n, (action, ports) in enumerate(wanted, number)
            ]
            number += len(bans)
            together.put(PackedBans(bans))
            for one in bans:
                singly.put(PackedBans([one]))
            for admission in (together, singly):
                for n in dropped:
                    admission.drop(f"w{n}")
                admission.expire(now(), 100)
            assert list(states[0]) == list(states[1])
            assert list(together.waiting) == list(singly.waiting)
            assert getattr(together.level, "used", 0) == getattr(singly.level, "used", 0)
