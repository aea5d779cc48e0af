"""What every plane promises, of a firewall's plane with the challenge program beside it, both in the kernel.

Not all of the suite: the kernel checks the program anew for each test, which takes the better part of a second.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pytest

from synguard.enforcer.challenge.plane import ChallengePlane
from synguard.enforcer.limits import PORTS_AT_INTERFACE
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Delta, Plane
from synguard.enforcer.split_plane import split_plane
from synguard.model import Action
from tests.contract.test_plane_contract import (
    bring,
    challenges,
    delta,
    everything,
    now,
    test_a_ban_ends_by_itself_at_its_deadline,
    test_a_reconciled_plane_has_no_difference_and_no_drift_left,
    test_another_process_finds_what_is_held_with_its_deadlines,
    test_applying_twice_leaves_it_as_once,
    test_at_first_it_holds_nothing_and_its_frame_is_missing,
    test_flush_leaves_nothing_and_may_be_repeated,
    test_what_is_removed_is_gone_and_the_rest_stays,
)
from tests.support.bans import ban, wanted
from tests.support.network_thread import NetworkThread, PlaneThere

pytestmark = pytest.mark.kernel

__all__: Final = (
    "test_a_ban_ends_by_itself_at_its_deadline",
    "test_a_reconciled_plane_has_no_difference_and_no_drift_left",
    "test_another_process_finds_what_is_held_with_its_deadlines",
    "test_applying_twice_leaves_it_as_once",
    "test_at_first_it_holds_nothing_and_its_frame_is_missing",
    "test_flush_leaves_nothing_and_may_be_repeated",
    "test_what_is_removed_is_gone_and_the_rest_stays",
)


@pytest.fixture
def plane() -> Iterator[Plane]:
    thread = NetworkThread()
    thread.sh("ip link add uplink type veth peer name other && ip link set uplink up")
    uplink = thread.call(socket.if_nametoindex, "uplink")
    yield PlaneThere(thread, lambda: split_plane(NftablesPlane(now), ChallengePlane(now, lambda: {uplink})))
    thread.close()


def test_every_shape_of_ban_is_held_and_a_ban_that_changes_is_held_as_it_is_now(plane: Plane) -> None:
    assert challenges(plane)
    bring(plane, everything(plane))
    assert not delta(everything(plane), plane.read(), now())
    for later in (
        ban("challenge-4", "192.0.2.0/24", action=Action.CHALLENGE, ports=(80,)),
        ban("challenge-4", "192.0.2.0/24", action=Action.LIMIT, seconds=1200),
        ban("challenge-4", "192.0.2.0/24", action=Action.DROP, ports=(80, 443)),
        ban("challenge-4", "192.0.2.0/24", action=Action.REJECT, ports=(80, 443)),
        ban("challenge-4", "198.51.100.0/24", action=Action.CHALLENGE, seconds=None),
        ban("another", "198.51.100.0/24", action=Action.CHALLENGE),
    ):
        bring(plane, wanted(later, allow=("127.0.0.1",)))
        assert not delta(wanted(later, allow=("127.0.0.1",)), plane.read(), now()), later


def test_a_ban_whose_deadline_passed_since_it_was_read_is_removed_or_renewed_like_any_other() -> None:
    later: list[int] = [0]
    with closing(NetworkThread()) as thread:
        plane = PlaneThere(
            thread, lambda: ChallengePlane(now, lambda: (), monotonic_ns=lambda: time.monotonic_ns() + later[0])
        )
        gone, renewed, fresh = (
            ban(name, f"192.0.2.{host}", action=Action.CHALLENGE)
            for host, name in enumerate(("gone", "renewed", "fresh"))
        )
        bring(plane, wanted(gone, renewed))
        there = plane.read().bans
        later[0] = 7201 * 10**9
        plane.apply(Delta(add=(renewed, fresh), remove=(there["gone"], there["renewed"])))
        later[0] = 0
        assert plane.read().bans.keys() == {"renewed", "fresh"}


def test_a_target_with_a_challenge_for_each_of_many_ports_is_held_and_changed_like_any_other(plane: Plane) -> None:
    """The program looked at four bans of one source, and at none of the others."""
    many = [ban(f"port-{port}", "192.0.2.0/24", action=Action.CHALLENGE, ports=(port,)) for port in range(1, 31)]
    around = ban("around", "192.0.0.0/16", action=Action.LIMIT, ports=(40,))
    inside = [ban(f"inside-{host}", f"192.0.2.{host}", action=Action.DROP, ports=(50,)) for host in range(3)]
    for goal in (many, [*many, around], [*many[::2], *inside, around], [*many, *inside], inside, many[:1]):
        bring(plane, wanted(*goal, allow=("127.0.0.1",)))
        assert plane.read().bans.keys() == {one.id for one in goal}
        assert not delta(wanted(*goal, allow=("127.0.0.1",)), plane.read(), now())


def test_attacks_on_more_ports_than_there_are_slots_are_held_though_all_slots_are_watched() -> None:
    with closing(NetworkThread()) as thread:
        program = thread.call(lambda: ChallengePlane(now, lambda: ()))
        plane = PlaneThere(thread, lambda: split_plane(NftablesPlane(now), program))
        bring(plane, wanted())
        assert program.program is not None
        thread.call(program.program.watch, dict.fromkeys(range(1, 256), 20))
        drops = [ban(f"d{i}", f"192.0.2.{i}", ports=tuple(range(1000 + 15 * i, 1015 + 15 * i))) for i in range(20)]
        own = ban(
            "own", "198.51.100.0/24", action=Action.CHALLENGE, ports=tuple(range(2000, 2000 + PORTS_AT_INTERFACE))
        )
        goal = wanted(*drops, own)
        bring(plane, goal)
        assert not delta(goal, plane.read(), now())
        assert plane.read().bans["own"].ports == own.ports
        thread.call(program.program.watch, dict.fromkeys(range(1, 256), 20))
        assert not delta(goal, plane.read(), now())
