"""The clock of the host is set by an hour while bans stand: who is stopped then, in every way of holding bans.

The clock of the machine that tests is left alone. A plane that is told another time of day than the kernel has leaves
what one leaves whose clock is set afterwards.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Delta, Desired
from synguard.enforcer.reconcile.delta import delta
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.model import Scope
from tests.support.bans import ban, wanted
from tests.support.firewall_net import FirewallNet, source
from tests.support.network_thread import PlaneThere

pytestmark = pytest.mark.kernel

HOUR = timedelta(hours=1)
KINDS = (IptablesSetsPlane, NftablesPlane)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
def test_a_ban_of_minutes_ends_no_later_whichever_way_the_clock_is_set(
    net: FirewallNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type, jump: timedelta
) -> None:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))

    def once() -> datetime:
        """The time of day as it was before the clock was set."""
        return datetime.now(UTC) - jump

    goal = wanted(*(ban(f"b{f}", source(f), Scope.ALL, seconds=600, start=once()) for f in (4, 6)))
    plane = PlaneThere(net.host, lambda: kind(once))
    try:
        Reconciler(plane, tmp_path / "lock").reconcile(goal, once())
        for family in (4, 6):
            assert net.stopped(family)
            assert net.reaches(family, 3)
        now = datetime.now(UTC)
        plane = PlaneThere(net.host, lambda: kind(lambda: datetime.now(UTC)))
        meant = Desired.of(goal.bans.values(), (), (), now)
        if jump < timedelta(0):  # what `agent.clock_set` makes of them
            meant = wanted(*(ban(f"b{f}", source(f), Scope.ALL, seconds=600, start=now) for f in (4, 6)))
        reconciler = Reconciler(plane, tmp_path / "lock")
        reconciler.reconcile(meant, now)
        for family in (4, 6):
            assert net.reaches(family) if jump > timedelta(0) else net.stopped(family)
        assert delta(meant, plane.read(), now) == Delta()
        assert all(
            one.expires_at and one.expires_at - now <= timedelta(minutes=10) for one in plane.read().bans.values()
        )
    finally:
        plane.flush()
