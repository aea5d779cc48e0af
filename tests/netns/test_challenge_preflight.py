"""Firewalls loaded into the kernel by their own tools, and read back."""

from __future__ import annotations

import subprocess

import pytest

from synguard.enforcer.challenge import rules_fingerprint
from synguard.enforcer.challenge.kernel_needs import kernel_obstacles
from synguard.enforcer.challenge.obstacles import rule_obstacles
from synguard.enforcer.challenge.ruleset import OURS, read_rules
from tests.support.firewalls import FIREWALLS
from tests.support.firewalls.load import clear, load
from tests.support.own_network import in_own_network, set_sysctls
from tests.unit.test_challenge_preflight import ENTRANCES, PORTS, expected_of

pytestmark = pytest.mark.kernel

LOOSE = "net.netfilter.nf_conntrack_tcp_loose"


@in_own_network
def test_what_each_firewall_does_to_challenged_clients_is_read_from_the_kernel() -> None:
    for firewall in FIREWALLS:
        load(firewall)
        found = []
        for loose in (1, 0):
            set_sysctls({LOOSE: loose})
            found.append(expected_of(rule_obstacles(read_rules(), PORTS, ENTRANCES)))
        assert found == [firewall.loose, firewall.strict], firewall.name
        clear()


@in_own_network
def test_a_rule_more_is_another_fingerprint_and_a_rule_of_ours_is_not() -> None:
    empty, first = rules_fingerprint.fingerprint(OURS), rules_fingerprint.generation()
    assert empty == rules_fingerprint.NO_RULES
    load(next(one for one in FIREWALLS if one.name == "usual"))
    others, second = rules_fingerprint.fingerprint(OURS), rules_fingerprint.generation()
    assert others != empty
    assert second != first
    run_nft("add table inet synguard; add chain inet synguard x; add rule inet synguard x drop")
    assert rules_fingerprint.generation() != second
    assert rules_fingerprint.fingerprint(OURS) == others
    run_nft("add rule inet fw base tcp dport 1 drop")
    assert rules_fingerprint.fingerprint(OURS) != others
    run_nft("add chain inet fw base { policy accept; }")
    assert rules_fingerprint.fingerprint(OURS) != others


def run_nft(script: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=script + "\n", text=True, check=True, timeout=20)


@pytest.mark.smoke
def test_this_kernel_has_what_a_challenge_needs() -> None:
    assert list(kernel_obstacles()) == []
