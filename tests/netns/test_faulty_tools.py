"""Every call into the kernel fails once, at once or after its work: nobody innocent is stopped, the next pass mends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synguard import programs
from synguard.enforcer.choose import choose_plane
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Delta, Plane
from synguard.enforcer.reconcile.delta import delta
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.errors import PlaneError, PlaneUnavailableError
from synguard.policy.models import Config
from tests.support import crossing
from tests.support.firewall_net import FirewallNet
from tests.support.network_thread import PlaneThere
from tests.support.tool_steps import Steps, failing

pytestmark = pytest.mark.kernel

WIPE = "iptables-legacy -t raw -F; ip6tables-legacy -F; ip6tables-legacy -X; nft flush ruleset"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("wiped", [False, True], ids=["changing", "mending"])
@pytest.mark.parametrize("kind", [IptablesSetsPlane, NftablesPlane], ids=lambda kind: kind.name)
def test_a_tool_that_fails_at_any_step_stops_nobody_innocent_and_is_made_good_by_the_next_pass(
    net: FirewallNet,
    kind: Callable[[Callable[[], datetime]], Plane],
    wiped: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    steps = Steps(monkeypatch)
    plane = PlaneThere(net.host, lambda: kind(now))

    def start() -> Reconciler:
        steps.begin()
        plane.flush()
        net.drain()
        reconciler = Reconciler(plane, tmp_path / "apply.lock")
        reconciler.reconcile(crossing.before(), now())
        if wiped:
            net.host.sh(WIPE)
        return reconciler

    reconciler, goal = start(), crossing.after()
    steps.begin()
    reconciler.reconcile(goal, now(), full=True)
    crossing.assert_afterwards(net)
    names = list(steps.names)
    assert {name.split()[0] for name in names} == {"read", "write"}
    failed = 0
    for number, name in enumerate(names):
        for done in (False, True) if name.startswith("write") else (False,):
            where = f"{name} fails {'after its work' if done else 'at once'}"
            reconciler, goal = start(), crossing.after()
            steps.begin(failing(number, done=done))
            try:
                reconciler.reconcile(goal, now(), full=True)
            except PlaneError:
                failed += 1
            steps.begin()
            if name.startswith("write"):  # what reads leaves things as they were
                assert crossing.blocks_without_an_end(net) == [], where
                crossing.assert_nobody_innocent_is_stopped(net)
            reconciler.reconcile(goal, now())
            assert delta(goal, plane.read(), now()) == Delta(), where
            again = reconciler.reconcile(goal, now(), full=True)
            assert (bool(again.change), again.drift) == (False, ()), where
    assert failed >= len(names) - 5, "faults were swallowed that should have been told"
    plane.flush()


def test_a_tool_that_is_removed_while_we_run_is_told_with_its_package_and_made_good_when_it_is_back(
    net: FirewallNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    for kind, package in ((IptablesSetsPlane, "ipset"), (NftablesPlane, "nftables")):
        plane = PlaneThere(net.host, lambda kind=kind: kind(now))
        reconciler = Reconciler(plane, tmp_path / "apply.lock")
        reconciler.reconcile(crossing.before(), now())
        goal = crossing.after()
        with monkeypatch.context() as gone:
            gone.setattr(programs, "PLACES", str(tmp_path))
            for _ in range(2):
                with pytest.raises(PlaneError, match=f"not installed: install the package {package}"):
                    reconciler.reconcile(goal, now())
        assert crossing.blocks_without_an_end(net) == []
        crossing.assert_nobody_innocent_is_stopped(net)
        reconciler.reconcile(goal, now())
        assert delta(goal, plane.read(), now()) == Delta()
        plane.flush()


NO_SETS = """#!/bin/sh
echo 'ipset v7.17: Cannot open session to kernel.' >&2
exit 1
"""


def test_a_kernel_without_sets_is_given_nftables_unless_iptables_was_asked_for(
    net: FirewallNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool is there and the module is refused: blacklisted, not built, or locked down."""
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    tool = tmp_path / "ipset"
    tool.write_text(NO_SETS)
    tool.chmod(0o755)
    monkeypatch.setattr(programs, "PLACES", f"{tmp_path}:{programs.PLACES}")
    assert net.host.call(choose_plane, Config()).name == "nftables"
    with pytest.raises(PlaneUnavailableError, match=r"Cannot open session to kernel.*set plane = nftables") as refused:
        net.host.call(choose_plane, Config(plane="iptables"))
    assert refused.value.exit_code == 5
