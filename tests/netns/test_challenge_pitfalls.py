"""Firewalls that refuse challenged clients, with everyone challenged all the same; what the preflight says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

import pytest

from synguard.enforcer.challenge.handshakes import Entrance
from synguard.enforcer.challenge.obstacles import Obstacle, rule_obstacles
from synguard.enforcer.challenge.ruleset import read_rules
from tests.conftest import MakeLab
from tests.support.challenge import Challenge, challenge
from tests.support.firewalls import NOT_SYN, chain, table
from tests.support.lab.client_plan import steady
from tests.support.lab.lab import Lab
from tests.support.lab.topology import UPLINK, VICTIM4, Victim

pytestmark = [pytest.mark.kernel, pytest.mark.calm]

LOOSE: Final = "net.netfilter.nf_conntrack_tcp_loose"
HERE: Final = (Entrance(4, UPLINK, (ip_network(VICTIM4),)),)


@dataclass(frozen=True)
class Pitfall:
    """One firewall: how it is loaded, and what is expected."""

    tool: tuple[str, ...]
    rules: str
    code: str
    """Of the obstacle; empty for none."""
    loose: int = 1


REDIRECTIONS: Final = ("redirect to :8080", f"dnat ip to {VICTIM4}:8080")
LEGACY: Final = ("iptables-legacy-restore",)
VARIANT: Final = ("iptables-nft-restore",)
NATIVE: Final = ("nft", "-f", "-")
INVALID: Final = "INPUT -m conntrack --ctstate INVALID -j DROP"

PITFALLS: Final = {
    "drop INVALID, loose tracking": Pitfall(LEGACY, table("filter", INVALID), ""),
    "drop INVALID in nftables, loose tracking": Pitfall(NATIVE, chain("ct state invalid drop"), ""),
    "drop INVALID, no loose tracking": Pitfall(LEGACY, table("filter", INVALID), "loose-tracking-off", loose=0),
    "NEW must be SYN in legacy xtables": Pitfall(LEGACY, table("filter", NOT_SYN), "new-must-be-syn"),
    "NEW must be SYN in iptables-nft": Pitfall(VARIANT, table("filter", NOT_SYN), "new-must-be-syn"),
    "NEW must be SYN in nftables": Pitfall(
        NATIVE, chain("tcp flags & (fin|syn|rst|ack) != syn ct state new drop"), "new-must-be-syn"
    ),
    "only SYNs are let in": Pitfall(
        NATIVE,
        chain(
            "ct state established,related accept", "tcp dport 80 tcp flags syn / fin,syn,rst,ack accept", policy="drop"
        ),
        "new-must-be-syn",
    ),
}


@pytest.fixture
def begin(make_lab: MakeLab) -> Iterator[Callable[..., tuple[Lab, Challenge]]]:
    """Builds a lab that serves on some ports, with everyone challenged on port 80."""
    with ExitStack() as stack:

        def build(*ports: int) -> tuple[Lab, Challenge]:
            lab = make_lab(Victim())
            lab.serve(*ports)
            held = Challenge(lab)
            stack.callback(held.close)
            held.hold(challenge("all", "0.0.0.0/0", 80))
            return lab, held

        yield build


def served(lab: Lab) -> float:
    """Return the share of new clients that are served, of some that come for a second."""
    clients = lab.start_clients(steady(clients=100, rate=100, duration_s=1).model_copy(update={"timeout_s": 0.8}))
    clients.wait(20)
    return clients.attempts().share


def obstacles(held: Challenge) -> list[Obstacle]:
    return held.thread.call(lambda: rule_obstacles(read_rules(), (80,), HERE))


@pytest.mark.parametrize("name", PITFALLS)
def test_the_preflight_names_what_refuses_challenged_clients_and_nothing_else(
    begin: Callable[..., tuple[Lab, Challenge]], name: str
) -> None:
    pitfall = PITFALLS[name]
    lab, held = begin(80)
    lab.victim.run(pitfall.tool, stdin=pitfall.rules)
    lab.victim.sysctl({LOOSE: pitfall.loose})
    share = served(lab)
    print(f"\n{name}: {share:.0%} of challenged clients are served")
    assert [one.code for one in obstacles(held)] == ([pitfall.code] if pitfall.code else [])
    assert share < 0.6 if pitfall.code else share == 1.0
    assert held.hits("all").answered > 0
    held.hold()
    assert served(lab) == 1.0, "without challenges all are served"


@pytest.mark.parametrize("verdict", REDIRECTIONS)
def test_a_redirected_port_without_a_listener_of_its_own_is_left_alone(
    begin: Callable[..., tuple[Lab, Challenge]], verdict: str
) -> None:
    lab, held = begin(8080)
    lab.victim.nft(chain(f"tcp dport 80 {verdict}", hook="prerouting", priority="dstnat"))
    assert served(lab) == 1.0
    assert held.hits("all").answered == 0
    assert [(one.code, one.ports) for one in obstacles(held)] == [("redirected-port", (80,))]


@pytest.mark.parametrize("verdict", REDIRECTIONS)
def test_a_redirected_port_with_another_listener_refuses_challenged_clients(
    begin: Callable[..., tuple[Lab, Challenge]], verdict: str
) -> None:
    lab, held = begin(80, 8080)
    lab.victim.nft(chain(f"tcp dport 80 {verdict}", hook="prerouting", priority="dstnat"))
    share = served(lab)
    print(f"\nredirected, with a listener on the port itself: {share:.0%} are served")
    assert share < 0.6
    assert [(one.code, one.ports) for one in obstacles(held)] == [("redirected-port", (80,))]
    held.hold()
    assert served(lab) == 1.0


@pytest.mark.parametrize(("cookies", "all_get_in"), [(2, True), (1, False), (0, False)])
def test_listeners_accept_the_cookies_of_challenges_where_cookies_are_always_on(
    begin: Callable[..., tuple[Lab, Challenge]], cookies: int, all_get_in: bool
) -> None:
    lab, _ = begin(80)
    lab.victim.sysctl({"net.ipv4.tcp_syncookies": cookies})
    share = served(lab)
    print(f"\ntcp_syncookies = {cookies}: {share:.0%} are served")
    assert share == 1.0 if all_get_in else share < 0.6
