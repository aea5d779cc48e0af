"""Loads a firewall into the calling thread's network namespace, and removes all there is."""

from __future__ import annotations

import subprocess

from synguard.enforcer.iptables.xtables import existing_tables
from tests.support.firewalls import Firewall


def load(firewall: Firewall) -> None:
    """Load one; both families where it is of iptables."""
    if firewall.tool == "nft":
        _run(["nft", "-f", "-"], firewall.rules)
        return
    variant = firewall.tool.removeprefix("iptables-")
    _run([f"iptables-{variant}-restore"], firewall.rules)


def clear() -> None:
    """Remove all rules; legacy tables stay, empty."""
    _run(["nft", "flush", "ruleset"])
    for table in existing_tables(4):
        for order in ("-F", "-X"):
            _run(["iptables-legacy", "-t", table, order])
        if table == "filter":
            _run(["iptables-legacy", "-P", "INPUT", "ACCEPT"])


def _run(command: list[str], stdin: str = "") -> None:
    subprocess.run(command, input=stdin, text=True, check=True, timeout=20)
