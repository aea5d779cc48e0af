"""Programs that rewrite the firewall for their own ends: a container runtime, a firewall service, one in a loop."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from synguard.enforcer.glance import glance
from synguard.enforcer.iptables.chains import ATTEMPTS
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Delta, Plane
from synguard.enforcer.reconcile.delta import delta
from synguard.enforcer.reconcile.reconciler import PATIENCE, Reconciler
from synguard.enforcer.reconcile.rule_changes import GLANCE_EVERY_S
from synguard.model import Action, Scope
from tests.support.bans import ban, wanted
from tests.support.firewall_net import BEHIND, FirewallNet, source
from tests.support.network_thread import PlaneThere
from tests.support.tool_steps import Steps

pytestmark = pytest.mark.kernel

Make = Callable[[Callable[[], datetime]], Plane]
KINDS = (IptablesSetsPlane, NftablesPlane)
GOAL = (
    *(ban(f"drop-{f}", source(f), Scope.ALL) for f in (4, 6)),
    *(ban(f"reject-{f}", source(f, 3), Scope.ALL, Action.REJECT) for f in (4, 6)),
)

RUNTIME_STARTS = """
iptables-legacy -t nat -N DOCKER; iptables-legacy -N DOCKER; iptables-legacy -N DOCKER-USER
iptables-legacy -A DOCKER-USER -j RETURN
iptables-legacy -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables-legacy -t nat -A POSTROUTING -s 10.8.0.0/24 ! -o right -j MASQUERADE
iptables-legacy -A FORWARD -o right -j DOCKER
"""
RUNTIME_RELOADS = """
iptables-legacy -F DOCKER; iptables-legacy -A DOCKER -d 10.8.0.2 -p tcp --dport 80 -j ACCEPT
iptables-legacy -D FORWARD -o right -j DOCKER; iptables-legacy -I FORWARD -o right -j DOCKER
iptables-legacy -D FORWARD -j DOCKER-USER 2>/dev/null; iptables-legacy -I FORWARD -j DOCKER-USER
"""
"""As dockerd does it: its own chains flushed and filled again, its jumps put at the head, ahead of ours."""

SERVICE_TABLES = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:service_input - [0:0]
-A INPUT -j service_input
-A service_input -p udp -m udp --dport 53 -j ACCEPT
COMMIT
"""
SERVICE_RULESET = """flush ruleset
table inet service {
    chain input { type filter hook input priority 0; policy accept; udp dport 53 accept; }
}
"""
RELOADS = {
    "legacy": "for t in iptables ip6tables; do echo '" + SERVICE_TABLES + "' | $t-legacy-restore; done",
    "nft": "echo '" + SERVICE_RULESET + "' | nft -f -",
}
"""As a firewall service does it: everything replaced by what it knows (iptables-restore without --noflush)."""
IN_A_LOOP = """
export XTABLES_LOCKFILE=$1
while [ ! -e "$2" ]; do
    for t in iptables ip6tables; do for o in -I -D; do
        $t-legacy -t raw $o OUTPUT -p udp -j ACCEPT; $t-legacy $o OUTPUT -p udp -j ACCEPT
    done; done
done
"""


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FirewallNet]:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    hosts = FirewallNet()
    yield hosts
    hosts.close()


def foreign(net: FirewallNet) -> list[str]:
    """Return the rules of others, in order, without counters."""
    saved = net.host.sh("iptables-legacy-save; ip6tables-legacy-save; nft -s list ruleset")
    lines = [line.split(" [")[0] for line in saved.partition("table inet synguard")[0].splitlines()]
    return [line for line in lines if "synguard" not in line.lower() and line[:1] != "#"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_container_runtime_that_rewrites_its_rules_opens_no_way_to_a_container_for_who_is_dropped(
    net: FirewallNet, tmp_path: Path, kind: Make
) -> None:
    """Its ACCEPT ahead of our jump in FORWARD is told of: it lets those through who are rejected, not those dropped."""
    net.host.sh(RUNTIME_STARTS)
    plane = PlaneThere(net.host, lambda: kind(now))
    reconciler = Reconciler(plane, tmp_path / "lock")
    reconciler.reconcile(wanted(*GOAL), now())
    for _ in range(3):
        net.host.sh(RUNTIME_RELOADS)
        theirs = foreign(net)
        assert net.stopped(4, 2, to=BEHIND)
        assert net.reaches(4, 5, to=BEHIND)
        outcome = reconciler.reconcile(wanted(*GOAL), now(), full=True)
        assert (bool(outcome.change), outcome.drift) == (False, ()), "there was nothing to repair, and nothing to fight"
        assert foreign(net) == theirs


@pytest.mark.parametrize("reload", RELOADS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_firewall_service_that_reloads_is_followed_by_one_repair_that_leaves_its_rules_alone(
    net: FirewallNet, tmp_path: Path, kind: Make, reload: str
) -> None:
    plane = PlaneThere(net.host, lambda: kind(now))
    reconciler = Reconciler(plane, tmp_path / "lock", glance=lambda name: net.host.call(glance, name))
    reconciler.reconcile(wanted(*GOAL), now())
    net.host.sh(RELOADS[reload])
    theirs = foreign(net)
    for family in (4, 6):
        assert net.reaches(family, 5)
    outcome = reconciler.reconcile(wanted(*GOAL), now() + timedelta(seconds=GLANCE_EVERY_S))
    assert bool(outcome.drift) is ((kind is NftablesPlane) == (reload == "nft"))
    assert foreign(net) == theirs
    for family in (4, 6):
        assert net.stopped(family)
        assert net.attempt(family, 3) != "open"
        assert net.reaches(family, 5)
    assert not reconciler.reconcile(wanted(*GOAL), now(), full=True).change


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_program_that_wipes_everything_whenever_it_sees_us_is_answered_ever_more_patiently(
    net: FirewallNet, tmp_path: Path, kind: Make
) -> None:
    """The clock is turned by hand: in an hour there are some twenty repairs, not one every five seconds."""
    plane = PlaneThere(net.host, lambda: kind(now))
    reconciler = Reconciler(plane, tmp_path / "lock")
    began = now()
    goal = wanted(*(ban(f"b{f}", source(f), Scope.ALL, seconds=86_400, start=began) for f in (4, 6)))
    repairs, disputed = 0, ""
    for second in range(0, 3600, 5):
        outcome = reconciler.reconcile(goal, began + timedelta(seconds=second))
        if outcome.change:
            repairs += 1
            net.host.sh(f"{RELOADS['legacy']}; {RELOADS['nft']}")
        disputed = outcome.disputed or disputed
    assert PATIENCE < repairs <= 25
    assert "another program has undone our rules" in disputed
    later = began + timedelta(seconds=7200)
    reconciler.reconcile(goal, later)
    assert delta(goal, plane.read(), later) == Delta()


def test_a_table_that_others_change_under_each_of_our_commits_but_the_last_is_changed_all_the_same(
    net: FirewallNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing here is left to chance: between our read and our write somebody adds a rule, seven times of eight."""
    left = dict.fromkeys(("iptables raw", "iptables filter", "ip6tables raw", "ip6tables filter"), ATTEMPTS - 1)

    def interfere(_step: int, name: str, done: bool) -> None:
        tool, _, table = (of := name.removeprefix("write ")).partition(" ")
        if not done and left.get(of, 0):
            left[of] -= 1
            rude = f"XTABLES_LOCKFILE=/dev/null {tool}-legacy -t {table} -A OUTPUT -p udp -j ACCEPT"
            subprocess.run(["sh", "-c", rude], check=True, timeout=20)

    steps = Steps(monkeypatch)
    plane = PlaneThere(net.host, lambda: IptablesSetsPlane(now))
    steps.begin(interfere)
    Reconciler(plane, tmp_path / "lock").reconcile(wanted(*GOAL), now())
    assert set(left.values()) == {0}, "each table was changed under us as often as was meant"
    assert delta(wanted(*GOAL), plane.read(), now()) == Delta()
    assert sum(line == "-A OUTPUT -p udp -j ACCEPT" for line in foreign(net)) == 4 * (ATTEMPTS - 1)


def test_a_rule_added_between_our_table_and_its_counters_fails_no_change(
    net: FirewallNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libiptc writes a table in two calls; the second, for the counters, is then refused with EINVAL."""
    from iptc import ip4tc  # as late as the agent imports it

    written: list[str] = []
    commit = ip4tc.Table.commit

    def disturbed(table: Any) -> None:
        commit(table)
        written.append(table.name)
        rude = f"XTABLES_LOCKFILE=/dev/null iptables-legacy -t {table.name} -A OUTPUT -p udp -j ACCEPT"
        subprocess.run(["sh", "-c", rude], check=True, timeout=20)
        raise ip4tc.IPTCError(f"can't commit: {os.strerror(errno.EINVAL).encode()!r}")

    monkeypatch.setattr(ip4tc.Table, "commit", disturbed)
    plane = PlaneThere(net.host, lambda: IptablesSetsPlane(now))
    Reconciler(plane, tmp_path / "lock").reconcile(wanted(*GOAL), now())
    assert written == ["raw", "filter"] * 2, "each table was written once; what the second look found was right"
    assert delta(wanted(*GOAL), plane.read(), now()) == Delta()


def test_a_tool_in_a_tight_loop_that_takes_no_lock_delays_no_change_of_ours(
    net: FirewallNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch)
    plane = PlaneThere(net.host, lambda: IptablesSetsPlane(now))
    reconciler = Reconciler(plane, tmp_path / "lock")
    stop = tmp_path / "stop"
    command = ["sh", "-c", IN_A_LOOP, "loop", "/dev/null", str(stop)]
    loop = net.host.call(subprocess.Popen, command, stderr=subprocess.DEVNULL)
    collisions, turns = 0, 0
    try:
        until = time.monotonic() + 60
        while (collisions < 3 or turns < 10) and time.monotonic() < until:
            steps.begin()
            plane.flush()
            reconciler.reconcile(wanted(*GOAL), now(), full=True)  # raises where eight attempts were not enough
            writes = [name for name in steps.names if name.startswith("write ip")]
            collisions += len(writes) - len(set(writes)) - 4  # each table once by the flush, once by the change
            turns += 1
    finally:
        stop.touch()
        loop.wait(20)
    assert collisions >= 3, "the loop never came between our read and our write"
    assert delta(wanted(*GOAL), plane.read(), now()) == Delta()
