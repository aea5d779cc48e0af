"""Bans that the kernel has no room for wait, and a sentence says why."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

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


def test_more_challenges_than_the_program_carries_out_wait(plane: SplitPlane) -> None:
    admission = Admission(plane, desired := DesiredState())
    admission.put(PackedBans(challenge(number) for number in range(BANS_AT_INTERFACE + 1)))
    assert len(desired) == BANS_AT_INTERFACE
    assert admission.problem.startswith("1 ban is not in the kernel: the challenge program carries out at most 4,095")
