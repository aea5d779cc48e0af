"""Long lists and ceilings in the kernel: in by one command, out by one, and never more than there is room for."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from synguard.cli.context import working_plane
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.model import Scope
from synguard.policy.load import load_config
from tests.support.bans import ban, wanted
from tests.support.firewall_net import FirewallNet, source
from tests.support.lab.warm import run_verb
from tests.support.network_thread import NetworkThread, PlaneThere

pytestmark = pytest.mark.kernel

KEYS = {
    "iptables-sets": 'plane = "iptables"',
    "nftables": 'plane = "nftables"',
}
Synguard = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=sorted(KEYS))
def synguard(
    request: pytest.FixtureRequest, net: FirewallNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Synguard]:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    config = tmp_path / "synguard.toml"
    config.write_text(
        f'state_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n{KEYS[request.param]}\n'
        "[ceilings]\nmembers = 300\n"
        '[containers]\nwatch = "off"\n'  # the peer behind the veth pair is another host, no container of this one
    )

    def call(*words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return net.host.call(run_verb, "--config", str(config), *words, stdin=given)

    yield call
    call("flush", "--yes")


def shown(synguard: Synguard) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(synguard("bans", "--json").stdout)
    return listed


def test_a_list_is_banned_and_lifted_whole_and_a_ceiling_refuses_before_anything_is_written(
    net: FirewallNet, synguard: Synguard, tmp_path: Path
) -> None:
    lines = [str(IPv4Address(0x64000000 + n)) for n in range(250)]
    lines += [str(IPv6Network((0x2600 << 112 | n << 64, 64))) for n in range(250)]
    lines += [f"{source(4, 3)}  # the noisy one", source(6, 3)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    done = synguard("ban", "--file", str(tmp_path / "list.txt"), "--for", "10m")
    assert done.returncode == 0, done.stderr
    assert "banned 502 targets (all, drop)" in done.stdout
    assert all(net.stopped(family, 3) and net.reaches(family, 2) for family in (4, 6))
    rows = shown(synguard)
    assert len(rows) == 502
    assert all(row["in_kernel"] for row in rows)
    assert {row["reason"] for row in rows if row["target"] == source(4, 3)} == {"the noisy one"}

    more = "\n".join(str(IPv4Address(0x65000000 + n)) for n in range(100))
    full = synguard("ban", "-", given=more)
    assert (full.returncode, "its ceiling of 300" in full.stderr) == (1, True), full.stderr
    assert len(shown(synguard)) == 502

    again = synguard("ban", "--file", str(tmp_path / "list.txt"), "--for", "20m", "--json")
    assert json.loads(again.stdout)["counts"]["renewed"] == 502
    assert len(shown(synguard)) == 502
    lifted = synguard("unban", "-", given="\n".join(lines))
    assert lifted.returncode == 0, lifted.stderr
    assert shown(synguard) == []
    assert all(net.reaches(family, 3) for family in (4, 6))


def test_a_long_list_goes_through_ledger_and_kernel_as_columns(
    net: FirewallNet, synguard: Synguard, tmp_path: Path
) -> None:
    """More than a thousand: added, given another end, added to, and taken out; each as the kernel shows it."""
    config = tmp_path / "synguard.toml"
    config.write_text(config.read_text().replace("members = 300", "members = 3000"))
    lines = [str(IPv4Address(0x64000000 + n)) for n in range(1_100)]
    lines += [*(f"10.{n}.0.0/16" for n in range(100, 120)), *(f"2001:db8:{n:x}::/48" for n in range(9)), source(4, 3)]

    def comes_to(said: subprocess.CompletedProcess[str], count: int, ends_in_s: tuple[float, float]) -> None:
        assert said.returncode == 0, said.stderr
        rows = shown(synguard)
        assert (len(rows), all(row["in_kernel"] for row in rows)) == (count, True)
        assert {ends_in_s[0] < row["left_s"] <= ends_in_s[1] for row in rows} == {True}
        held = net.host.call(lambda: working_plane(load_config(config)).read().bans)
        assert {one.ban_id: one.expires_at for one in held.values()} == {
            row["id"]: datetime.fromisoformat(row["expires_at"]) for row in rows
        }
        saved = net.host.sh("ipset save synguard-all-drop-4", check=False)  # nothing where nftables holds them
        seconds = {int(found) for found in re.findall(r"^add \S+ \S+ timeout (\d+)", saved, re.MULTILINE)}
        assert all(ends_in_s[0] < one <= ends_in_s[1] for one in seconds)
        assert net.stopped(4, 3)

    comes_to(synguard("ban", "-", "--for", "10m", given="\n".join(lines)), 1_130, (500, 601))
    again = synguard("ban", "-", "--for", "20m", given="\n".join([*lines, "192.0.2.99"]))
    comes_to(again, 1_131, (1_100, 1_201))
    assert "1,130 of them were active already" in again.stdout
    comes_to(synguard("ban", "-", "--for", "8m", given="\n".join([*lines, "192.0.2.99"])), 1_131, (400, 481))
    assert synguard("unban", "-", given="\n".join(lines)).returncode == 0
    assert [row["target"] for row in shown(synguard)] == ["192.0.2.99"]
    assert net.reaches(4, 3)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("make", [IptablesSetsPlane, NftablesPlane])
def test_sets_made_for_fewer_members_are_exchanged_full_and_larger_ones_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Plane]
) -> None:
    """An operator who raised the ceiling: the sets of the agent before hold no more than they were made for."""
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    thread = NetworkThread()
    try:
        few = wanted(*(ban(f"b{n}", f"198.51.100.{n}", Scope.ALL) for n in range(64)))
        Reconciler(PlaneThere(thread, lambda: make(now, 64)), tmp_path / "lock").reconcile(few, now())
        many = wanted(*few.bans.values(), *(ban(f"c{n}", f"203.0.113.{n}", Scope.ALL) for n in range(64)))
        larger = PlaneThere(thread, lambda: make(now, 1000))
        assert not larger.read().intact
        Reconciler(larger, tmp_path / "lock").reconcile(many, now())
        assert set(larger.read().bans) == set(many.bans)
        smaller = PlaneThere(thread, lambda: make(now, 500))
        assert smaller.read().intact
        assert set(smaller.read().bans) == set(many.bans)
        assert "synguard-spare" not in thread.sh("ipset list -n")
    finally:
        thread.close()
