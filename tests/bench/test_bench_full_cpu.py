"""A flood that keeps a CPU busy with receiving alone: the agent sees it, drops the flood's one header, clients get in.

A network card sends without the help of a CPU. A generator does not, so here the router multiplies each packet that it
receives, in soft interrupts as the victim's own work: of that CPU's time nearly all is receiving. What takes a real
agent ten minutes of calm, to learn which headers served clients send, takes this one seconds; the rest is as shipped.
"""

from __future__ import annotations

import sys
import time

import pytest

from tests.support.lab.client_plan import steady
from tests.support.lab.flood_plan import FASTEST_PPS, FloodPlan, Look, anywhere
from tests.support.lab.lab import Lab, SynFlood
from tests.support.lab.programs import wait_for
from tests.support.lab.topology import UPLINK, Victim
from tests.support.lab.warm import Job

pytestmark = [pytest.mark.kernel, pytest.mark.bench]

QUICK_TO_LEARN = """
import runpy, sys
from synguard.agent import header_looks
from synguard.decision import syn_headers
header_looks.EVERY_S, header_looks.LOOK_S = 0.5, 0.3
syn_headers.LOOKS, syn_headers.CLIENTS, syn_headers.SETTLED_S = 3, 10, 2.0
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TOOL = Look(ttl=(64, 64), windows=(512,), options="none")
"""As hping writes it."""
COPIES = 90
CALM_S, LATEST_S, AFTER_S = 12.0, 15.0, 3.0


def multiply(lab: Lab) -> str:
    """Have the router send each packet of the attackers to the victim many times; return the victim's MAC."""
    copy = ["action", "mirred", "egress", "mirror", "dev", "victim0"]
    lab.router.run(["tc", "qdisc", "add", "dev", "attack0", "clsact"])
    where = ["tc", "filter", "add", "dev", "attack0", "ingress", "protocol", "ip"]
    for pref in range(1, COPIES // 30 + 1):
        each = [*copy, "pipe"] * 29 + [*copy, "continue"]
        lab.router.run([*where, "pref", str(pref), "bpf", "bytecode", "1,6 0 0 4294967295", *each])
    return lab.victim.run(["cat", f"/sys/class/net/{UPLINK}/address"]).strip()


def test_where_receiving_fills_a_cpu_the_flood_s_header_is_dropped_and_clients_get_in_again() -> None:
    with Lab(Victim(backlog=128)) as lab:
        lab.serve()
        mac = multiply(lab)
        agent = lab.agent()
        agent.start("--enforce", wrapper=("taskset", "-c", "0", sys.executable, "-c", QUICK_TO_LEARN))
        clients = lab.start_clients(steady(rate=20.0, duration_s=60.0))
        time.sleep(CALM_S)
        plan = FloodPlan(groups=(anywhere(4, look=TOOL),), pps=FASTEST_PPS, duration_s=30.0, cpu=1)
        command = Job("tests.bench.syn_torrent:main", ("syn_torrent", plan.model_dump_json(), mac))
        flood = lab.keep(SynFlood(lab.attackers, command, lab.workdir, "torrent"))
        flood.wait_line("started")
        began = time.monotonic()
        wait_for(lambda: (agent.status().challenges.headers or 0) > 0, "a header to be dropped", LATEST_S)
        dropped_at = time.monotonic()
        time.sleep(AFTER_S)
        until = time.monotonic()
        flood.stop()
        clients.stop()
        sent = flood.report()
        attempts = clients.attempts()
        calm = attempts.between(began - CALM_S, began)
        challenged = attempts.between(began, dropped_at)
        after = attempts.between(dropped_at + 0.5, until)
        (drop,) = [one for one in agent.ask("bans") if one["action"] == "drop" and one["target"] == "0.0.0.0/0"]
        rate = COPIES * sent["sent"] / sent["seconds"]
        print(f"\n{rate:,.0f} SYN/s; {dropped_at - began:.1f} s later: {drop['reason']}")
        shares = {"calm": calm, "challenged": challenged, "header dropped": after}
        print({when: f"{some.share:.1%} of {len(some)}" for when, some in shares.items()})
        assert after.share >= challenged.share
        assert after.share >= 0.99, after.outcomes()
