"""SIGKILL at every step from the ledger to the kernel: nobody innocent is stopped, and the next start mends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Delta, Desired, Plane
from synguard.enforcer.reconcile.delta import delta
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.ledger import Ledger
from tests.support import crossing
from tests.support.firewall_net import FirewallNet
from tests.support.network_thread import PlaneThere
from tests.support.tool_steps import Steps

pytestmark = pytest.mark.kernel


def now() -> datetime:
    return datetime.now(UTC)


class Doomed:
    """An agent's way from the ledger to the kernel, in a process that is killed before its ``at``th change."""

    def __init__(self, make: Callable[[], Plane], steps: Steps, directory: Path) -> None:
        self.make, self.steps, self.directory = make, steps, directory

    @property
    def ledger(self) -> Path:
        """The database."""
        return self.directory / "ledger.db"

    def bring(self, goal: Desired) -> None:
        """Write the ledger, then bring the plane to it."""
        with Ledger.open(self.ledger) as ledger:
            standing = ledger.active_bans(now())
            ledger.end_bans(standing.keys() - goal.bans.keys(), now(), "unbanned")
            ledger.add_bans([ban for id_, ban in goal.bans.items() if id_ not in standing])
        if self.steps.hook is not None:
            self.steps.hook(-1, "write ledger", True)
        Reconciler(self.make(), self.directory / "apply.lock").reconcile(goal, now())

    def killed_at(self, goal: Desired, at: int) -> bool:
        """Return whether it was killed there; False where it came to its end with fewer changes."""
        child = os.fork()
        if child == 0:
            code = 99
            try:
                left = at

                def die(number: int, name: str, done: bool) -> None:
                    nonlocal left
                    if name.startswith("write") and done is (number < 0):
                        if left == 0:
                            os.kill(os.getpid(), signal.SIGKILL)
                        left -= 1

                self.steps.begin(die)
                self.bring(goal)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed by itself"
        return os.WIFSIGNALED(status)


@pytest.mark.parametrize("wiped", [False, True], ids=["changing", "mending"])
@pytest.mark.parametrize("kind", [IptablesSetsPlane, NftablesPlane], ids=lambda kind: kind.name)
def test_an_agent_killed_before_any_change_stops_nobody_innocent_and_the_next_one_makes_good(
    net: FirewallNet,
    kind: Callable[[Callable[[], datetime]], Plane],
    wiped: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    doomed = Doomed(lambda: kind(now), Steps(monkeypatch), tmp_path)
    plane = PlaneThere(net.host, doomed.make)
    killed, at = True, 0
    try:
        while killed:
            crossing.forget(plane, tmp_path)
            net.drain()
            doomed.steps.begin()
            net.host.call(doomed.bring, crossing.before())
            if wiped:
                net.host.sh("iptables-legacy -t raw -F; ip6tables-legacy -F; ip6tables-legacy -X; nft flush ruleset")
            goal = crossing.after()
            killed = net.host.call(doomed.killed_at, goal, at)
            where = f"killed before change {at}"
            assert crossing.blocks_without_an_end(net) == [], where
            crossing.assert_nobody_innocent_is_stopped(net)
            with Ledger.open(doomed.ledger) as ledger:
                ledger.check()
                left = ledger.active_bans(now())
            assert left == goal.bans
            wanted = Desired(left, goal.allow)
            reconciler = Reconciler(plane, tmp_path / "apply.lock")  # the next agent; no lock may be left held
            reconciler.reconcile(wanted, now())
            assert delta(wanted, plane.read(), now()) == Delta(), where
            assert reconciler.reconcile(wanted, now(), full=True).drift == ()
            at += 1
        crossing.assert_afterwards(net)
    finally:
        plane.flush()
    assert at >= 3, "killed after the ledger and ahead of one change at least, and once not at all"
