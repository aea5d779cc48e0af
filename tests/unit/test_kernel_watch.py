"""Whether the kernel holds what stands for real, asked while the agent is in dry-run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest

from synguard.agent.kernel_watch import LOOK_EVERY_S, KernelWatch
from synguard.enforcer.plane import Delta
from synguard.errors import NotPermittedError
from synguard.model import Action, Ban, Origin, Scope
from synguard.packed_bans import PackedBans
from tests.support.fake_plane import FakePlane, PatientFake
from tests.support.manual_clock import ManualClock


class Host:
    def __init__(self, plane: FakePlane, clock: ManualClock) -> None:
        self.plane, self.clock = plane, clock
        plane.utcnow = clock.utcnow
        now = clock.utcnow()
        self.ban = Ban(
            "m1", ip_network("203.0.113.0/24"), Scope.ALL, Action.DROP, Origin.MANUAL, "manual", "by hand", now,
            now + timedelta(hours=1),
        )  # fmt: skip
        self.active_bans = {"m1": self.ban}
        plane.apply(Delta(add=(self.ban,), frame=True))
        self.panic = False
        self.watch = KernelWatch(lambda: plane, lambda: PackedBans(self.active_bans.values()), lambda: self.panic)

    def lasts(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.watch.observe(None, self.clock.monotonic(), self.clock.utcnow())


@pytest.fixture(params=[FakePlane, PatientFake])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(request.param(), ManualClock())


def test_a_table_that_somebody_flushed_under_a_dry_run_agent_is_a_problem_until_the_bans_are_back(host: Host) -> None:
    """`bans`, `why` and `status` said banned and healthy, while the source connected."""
    host.lasts(20)
    assert host.watch.problem == ""
    host.plane.damage("raw: the jump to SYNGUARD")
    host.lasts(20)
    assert "NOT IN KERNEL" in host.watch.problem
    assert "203.0.113.0/24 (raw: the jump to SYNGUARD)" in host.watch.problem
    host.plane.apply(Delta(frame=True))
    host.lasts(20)
    assert host.watch.problem == ""
    host.plane.lose("m1")
    host.lasts(20)
    assert "203.0.113.0/24; see synguard doctor" in host.watch.problem


def test_in_a_panic_no_ban_is_missing(host: Host) -> None:
    """After one of 10,000 bans: active bans are NOT IN KERNEL; a moment later: the kernel holds every ban again."""
    host.panic = True
    host.plane.wipe()
    host.lasts(20)
    assert host.watch.problem == ""


def test_a_ban_that_is_on_its_way_or_has_ended_is_none_that_is_missing(host: Host) -> None:
    host.plane.wipe()
    host.active_bans["m1"] = replace(host.ban, created_at=host.clock.utcnow())
    host.lasts(4)
    assert host.watch.problem == ""
    host.active_bans["m1"] = replace(host.ban, expires_at=host.clock.utcnow())
    host.lasts(20)
    assert host.watch.problem == ""


def test_the_kernel_is_not_asked_while_nothing_stands_and_no_more_often_than_needed(host: Host) -> None:
    host.active_bans.clear()
    host.plane.calls.clear()
    host.lasts(20)
    assert host.plane.calls == []
    host.active_bans["m1"] = host.ban
    host.lasts(60)
    assert 0 < host.plane.calls.count("read") <= 60 / LOOK_EVERY_S


def test_a_kernel_that_may_not_be_asked_is_a_note_and_no_problem() -> None:
    def refused() -> FakePlane:
        raise NotPermittedError("needs CAP_NET_ADMIN")

    host = Host(FakePlane(), ManualClock())
    host.watch = KernelWatch(refused, lambda: PackedBans(host.active_bans.values()))
    host.lasts(20)
    assert host.watch.problem == ""
    assert host.watch.note.endswith("is not known: needs CAP_NET_ADMIN")
