"""Writes down what the tools list of each firewall, for tests without root."""

from __future__ import annotations

import json
from collections.abc import Sequence

from synguard.enforcer.challenge import ruleset
from tests.support.firewalls import FIREWALLS, LISTINGS
from tests.support.firewalls.load import clear, load
from tests.support.own_network import in_own_network


@in_own_network
def record() -> None:
    """Load each firewall and keep every listing that is asked for."""
    real = ruleset._output
    listings: dict[str, dict[str, str]] = {}
    for firewall in FIREWALLS:
        printed: dict[str, str] = {}

        def kept(command: Sequence[str], package: str, printed: dict[str, str] = printed) -> str:
            printed[" ".join(command)] = real(command, package)
            return printed[" ".join(command)]

        ruleset._output = kept
        load(firewall)
        ruleset.read_rules()
        listings[f"{firewall.name}, {firewall.tool}"] = printed
        clear()
    LISTINGS.write_text(json.dumps(listings, indent=1) + "\n")


if __name__ == "__main__":
    record()
