"""The lab itself: what later tests take for granted about it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeLab
from tests.support.lab.client_plan import ClientPlan, behind_nat, flash_crowd, persistent, steady
from tests.support.lab.connection_plan import ConnectionPlan, attacker_sources
from tests.support.lab.flood_plan import FloodPlan, SourceGroup, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.namespaces import REPOSITORY, Namespace, lab_namespaces, sweep_stale
from tests.support.lab.programs import Program, wait_for
from tests.support.lab.topology import ATTACK_PORT, Victim, client4

pytestmark = pytest.mark.kernel

SMALL = Victim(syncookies=0, backlog=128)
"""A host without SYN cookies and with a short queue: the one a SYN flood was invented for."""


def came_in(namespace: Namespace, interface: str) -> int:
    return int(namespace.run(["cat", f"/sys/class/net/{interface}/statistics/rx_packets"]))


def counter(namespace: Namespace, name: str) -> int:
    return int(namespace.run(["nstat", "-asz", name]).split()[2])


def half_open_sources(namespace: Namespace) -> set[str]:
    lines = namespace.run(["ss", "-Htn", "state", "syn-recv"]).splitlines()
    return {line.split()[3].rpartition(":")[0].strip("[]") for line in lines}


@pytest.mark.parametrize(
    ("group", "pps"), [(anywhere(4), 10_000), (anywhere(6), 10_000), (prefix("198.18.0.0/16"), 50_000)]
)
def test_the_generator_sends_as_many_as_asked_and_all_arrive(lab: Lab, group: SourceGroup, pps: int) -> None:
    before = came_in(lab.router, ATTACK_PORT)
    report = lab.start_flood(FloodPlan(groups=(group,), pps=pps, duration_s=1.5)).report()
    print(f"\nasked {pps}/s, sent {report['sent'] / (report['last_at'] - report['first_at']):.0f}/s, {report}")
    assert report["sent"] == pytest.approx(pps * 1.5, rel=0.03)
    assert came_in(lab.router, ATTACK_PORT) - before == pytest.approx(report["sent"], abs=10)
    assert counter(lab.victim, "TcpInSegs") == report["sent"]
    assert counter(lab.victim, "TcpInCsumErrors") == 0


@pytest.mark.parametrize(
    "group",
    [
        hosts("203.0.113.5"),
        hosts("198.18.3.1", "198.18.200.9", "198.18.77.7"),
        prefix("198.18.5.0/24", distinct=128),
        prefix("2001:db8:bad:1::/64", distinct=100),
    ],
    ids=["one", "list", "128 of a /24", "100 of a /64"],
)
def test_the_victim_sees_exactly_the_sources_asked_for(make_lab: MakeLab, group: SourceGroup) -> None:
    lab = make_lab(Victim(backlog=2048))
    lab.serve()
    lab.start_flood(FloodPlan(groups=(group,), pps=2000, duration_s=1, count=600)).report()
    wanted = len(group.addresses) or group.distinct
    wait_for(lambda: len(half_open_sources(lab.victim)) == wanted, f"{wanted} sources to be half-open", timeout=5)


def test_heavy_sources_can_hide_in_a_random_flood(make_lab: MakeLab) -> None:
    lab = make_lab(Victim(backlog=4096))
    lab.serve()
    heavy = [f"198.18.{number}.1" for number in range(10)]
    groups = (anywhere(4, weight=0.8), hosts(*heavy, weight=0.2))
    lab.start_flood(FloodPlan(groups=groups, pps=3000, duration_s=1, count=1000, seed=1)).report()
    rows = lab.victim.run(["ss", "-Htn", "state", "syn-recv"])
    share = sum(rows.count(f" {address}:") for address in heavy) / len(rows.splitlines())
    assert set(heavy) <= half_open_sources(lab.victim)
    assert share == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize(
    "plan",
    [
        steady(duration_s=1.5),
        steady(duration_s=1.5, version=6),
        flash_crowd(clients=400, within_s=1.0),
        behind_nat(duration_s=1.5),
        persistent(duration_s=1.5),
    ],
    ids=["ipv4", "ipv6", "flash crowd", "nat", "persistent"],
)
def test_all_clients_are_served_while_calm(make_lab: MakeLab, plan: ClientPlan) -> None:
    lab = make_lab(SMALL)
    lab.serve()
    clients = lab.start_clients(plan)
    clients.wait(timeout=30)
    attempts = clients.attempts()
    print(f"\n{len(attempts)} attempts, connect {attempts.connect_ms(50):.2f} ms, p99 {attempts.connect_ms(99):.2f} ms")
    assert attempts.outcomes().keys() == {"ok"}
    assert set(attempts.by_source()) == set(plan.sources)


@pytest.mark.parametrize(
    ("victim", "served"),
    [(SMALL, lambda share: share < 0.2), (Victim(syncookies=1, backlog=128), lambda share: share > 0.98)],
    ids=["without cookies hardly anyone is served", "with cookies everyone is"],
)
def test_baseline_of_a_random_flood_without_the_agent(
    make_lab: MakeLab, victim: Victim, served: Callable[[float], bool]
) -> None:
    """The figure that the agent is measured against: 10,000 SYN/s of forged sources."""
    lab = make_lab(victim)
    lab.serve()
    kept = lab.start_clients(persistent(duration_s=4, interval_s=0.2), "kept")
    wait_for(lambda: len(kept.attempts().by_source()) == 10, "every kept connection to be there before the flood")
    flood = lab.start_flood(FloodPlan(groups=(anywhere(4),), pps=10_000, duration_s=8))
    wait_for(lambda: counter(lab.victim, "TcpInSegs") > 3000, "the queue to be full")
    clients = lab.start_clients(steady(duration_s=3))
    clients.wait(timeout=20)
    kept.wait(timeout=20)
    flood.stop()
    attempts = clients.attempts()
    print(f"\ncookies={victim.syncookies}: {attempts.share:.1%} of {len(attempts)} served, {attempts.outcomes()}")
    assert served(attempts.share)
    assert kept.attempts().share == 1.0
    assert counter(lab.victim, "IcmpInMsgs") == 0


@pytest.mark.parametrize(("dual_stack", "turned_away"), [(True, True), (False, False)], ids=["one listener", "two"])
def test_an_ipv6_flood_turns_ipv4_clients_away_only_where_they_share_a_listener(
    make_lab: MakeLab, dual_stack: bool, turned_away: bool
) -> None:
    lab = make_lab(Victim(syncookies=0, backlog=128, dual_stack=dual_stack))
    lab.serve()
    flood = lab.start_flood(FloodPlan(groups=(prefix("2001:db8:bad:1::/64"),), pps=10_000, duration_s=8))
    wait_for(lambda: counter(lab.victim, "TcpInSegs") > 3000, "the queue to be full")
    clients = lab.start_clients(steady(duration_s=1, timeout_s=2))
    clients.wait(timeout=20)
    flood.stop()
    assert (clients.attempts().share < 0.2) == turned_away


def test_forged_sources_need_no_neighbours(make_lab: MakeLab) -> None:
    lab = make_lab(SMALL)
    lab.serve()
    lab.start_flood(FloodPlan(groups=(anywhere(4), anywhere(6)), pps=20_000, duration_s=1)).report()
    assert {line.split()[-1] for line in lab.victim.run(["ip", "neigh"]).splitlines()} == {"PERMANENT"}


@pytest.mark.parametrize(("firewall", "left"), [(True, 8), (False, 0)], ids=["silent", "answers with RST"])
def test_a_client_behind_a_firewall_does_not_reset_what_was_forged_in_its_name(
    make_lab: MakeLab, firewall: bool, left: int
) -> None:
    lab = make_lab(Victim(backlog=1024), client_firewall=firewall)
    lab.serve()
    forged = hosts(*(client4(number) for number in range(8)))
    lab.start_flood(FloodPlan(groups=(forged,), pps=1000, duration_s=1, count=80)).report()
    wait_for(lambda: counter(lab.victim, "TcpInSegs") >= (80 if firewall else 160), "every RST to arrive")
    assert len(half_open_sources(lab.victim)) == left


@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_flood_holds_real_connections_until_it_is_cut_off(lab: Lab, version: int) -> None:
    lab.serve()
    sources = attacker_sources(3, version)  # type: ignore[arg-type]
    flood = lab.start_connections(ConnectionPlan(sources=sources, each=50, trickle_s=0.2, duration_s=30))
    wait_for(lambda: flood.held() == 150, "150 connections to stand")
    wait_for(lambda: flood.answered() == dict.fromkeys(sources, True), "every source to be answered")
    peers = lab.victim.run(["ss", "-Htn", "state", "established"])
    assert peers.count(sources[1]) == 51  # one more is the probe
    tool = "ip6tables-legacy" if version == 6 else "iptables-legacy"
    lab.victim.run([tool, "-t", "raw", "-A", "PREROUTING", "-s", sources[1], "-j", "DROP"])
    wait_for(lambda: not flood.answered()[sources[1]], "the cut-off source to go unanswered")
    assert flood.answered()[sources[0]]


def test_the_meter_sees_relief_when_the_firewall_begins_to_drop(make_lab: MakeLab) -> None:
    lab = make_lab(SMALL)
    lab.serve()
    lab.start_clients(steady(duration_s=20))
    meter = lab.start_meter()
    flood = lab.start_flood(FloodPlan(groups=(prefix("198.18.0.0/24", 128),), pps=10_000, duration_s=20))
    wait_for(lambda: counter(lab.victim, "TcpInSegs") > 5000, "the flood to be under way")
    assert meter.reach().relief_s(flood.first_at) is None
    lab.victim.run(["iptables-legacy", "-t", "raw", "-A", "PREROUTING", "-s", "198.18.0.0/24", "-j", "DROP"])
    relief = wait_for(lambda: meter.reach().relief_s(flood.first_at), "relief", timeout=5)
    flood.stop()
    reach, cut = meter.reach(), flood.first_at + relief
    print(f"\nrelief after {relief:.3f} s; {reach.share(flood.first_at, cut - 0.05):.1%} reached TCP before")
    assert reach.share(flood.first_at + 0.05, cut - 0.05) > 0.95
    assert reach.share(cut + 0.05, cut + 0.1) < 0.02


@pytest.mark.parametrize("ending", [AssertionError, KeyboardInterrupt])
def test_nothing_is_left_after_a_lab_that_failed(ending: type[BaseException]) -> None:
    lab = Lab()

    def fail_half_way() -> None:
        with lab:
            lab.serve()
            running.append(lab.start_clients(steady(duration_s=60)))
            running.append(lab.start_flood(FloodPlan(groups=(anywhere(4),), pps=1000, duration_s=60)))
            raise ending

    running: list[Program] = []
    with pytest.raises(ending):
        fail_half_way()
    assert [program.running for program in running] == [False, False]
    assert not [namespace for namespace in lab.topology.namespaces if namespace.path.exists()]
    assert not lab.workdir.exists()


def test_what_a_killed_run_left_is_swept_away() -> None:
    script = (
        "from tests.support.lab.lab import Lab\n"
        "lab = Lab().__enter__()\n"
        "lab.serve()\n"
        "print(lab.victim.name, lab.workdir, flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", script]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert run.stdout is not None
    name, workdir = run.stdout.readline().split()
    prefix_left = name.removesuffix("victim")
    assert len(lab_namespaces(prefix_left)) == 4
    run.send_signal(signal.SIGKILL)
    run.communicate()
    run.wait()
    sweep_stale()
    assert lab_namespaces(prefix_left) == []
    assert not Path(workdir).exists()
