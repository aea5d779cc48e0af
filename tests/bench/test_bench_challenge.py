"""What one attack packet costs with the challenge program, beside the bare host; prints figures, asserts no times.

The generator's CPU time is the price of the whole path. The price of bringing a packet to the victim's ingress, where a
filter drops it at once, is taken off all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from synguard.model import SynHeader
from tests.support.challenge import COOKIES, Challenge, challenge, header_drop, limit
from tests.support.lab.flood_plan import FASTEST_PPS, FloodPlan, SourceGroup, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.topology import UPLINK, Victim

pytestmark = [pytest.mark.kernel, pytest.mark.bench]

SECONDS = 1.5
DROP_ALL = ["protocol", "ip", "pref", "7", "bpf", "da", "bytecode", "1,6 0 0 2"]


def cost_ns(lab: Lab, group: SourceGroup) -> float:
    plan = FloodPlan(groups=(group,), pps=FASTEST_PPS, duration_s=SECONDS, cpu=1)
    report = lab.start_flood(plan).report()
    return float(report["cpu_s"]) / float(report["sent"]) * 1e9


def bare(lab: Lab) -> None:
    lab.victim.sysctl(COOKIES)


def dropped_at_ingress(lab: Lab) -> None:
    lab.victim.run(["tc", "qdisc", "add", "dev", UPLINK, "clsact"])
    lab.victim.run(["tc", "filter", "add", "dev", UPLINK, "ingress", *DROP_ALL])


def challenged(lab: Lab) -> None:
    Challenge(lab).hold(challenge("all", "0.0.0.0/0", 80))


def limited(target: str) -> Callable[[Lab], None]:
    return lambda lab: Challenge(lab).hold(limit("target", target, 80))


def by_header(lab: Lab) -> None:
    header = SynHeader(ttl=(1, 255), window=64240, mss=1460, options=linux_options(), length=60)
    Challenge(lab).hold(header_drop("tool", "0.0.0.0/0", header, 80))


def linux_options() -> int:
    """Return the number for MSS 1460, SACK, timestamps, padding and window scale 7."""
    number = 2_166_136_261
    for item in (2 | 0x05 << 8 | 0xB4 << 16, 4, 8, 1, 3 | 7 << 8):
        number = (number ^ item) * 16_777_619 & 0xFFFF_FFFF
    return number


def test_cost_of_an_attack_packet_beside_the_bare_host() -> None:
    everywhere = anywhere(4)
    cases: list[tuple[str, Callable[[Lab], None], SourceGroup]] = [
        ("dropped at the ingress", dropped_at_ingress, everywhere),
        ("bare host, cookies", bare, everywhere),
        ("everybody challenged", challenged, everywhere),
        ("dropped by header", by_header, everywhere),
        ("one source, limited", limited("198.18.7.9"), hosts("198.18.7.9")),
        ("a /24, limited", limited("198.18.7.0/24"), prefix("198.18.7.0/24")),
        ("a /16, limited", limited("198.18.0.0/16"), prefix("198.18.0.0/16")),
    ]
    costs: dict[str, float] = {}
    for name, prepare, group in cases:
        with Lab(Victim(backlog=128)) as lab:
            lab.serve()
            prepare(lab)
            costs[name] = cost_ns(lab, group)
    base, listener = costs["dropped at the ingress"], costs["bare host, cookies"]
    print()
    for name, cost in costs.items():
        ratio = (cost - base) / (listener - base)
        print(f"{name:24} {cost:7,.0f} ns, {cost - base:7,.0f} above the ingress, {ratio:5.2f} of the bare host")
