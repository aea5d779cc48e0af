"""How long a ban of one host takes to the others: real agents, one real local API, the default poll. Prints only."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

import pytest

from synguard.addresses import parse_network
from synguard.ledger import LEDGER_FILE, LedgerReader
from tests.support.lab.fleet import FleetHost, FleetNetwork, wait_until_banned

pytestmark = [pytest.mark.bench, pytest.mark.kernel, pytest.mark.timeout(600)]

ROUNDS: Final = 2 if os.environ.get("SHORT") else 6
POLL_S: Final = 10


def banned_at(host: FleetHost, target: str) -> datetime:
    with LedgerReader.open(host.agent.state_dir / LEDGER_FILE) as ledger:
        bans = ledger.active_bans(datetime.now(UTC)).values()
        return next(ban.created_at for ban in bans if ban.target == parse_network(target))


def test_how_long_a_ban_takes_to_the_other_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    took: list[float] = []
    with FleetNetwork(3, POLL_S) as net:
        for host in net.hosts:
            host.agent.start("--enforce")
        first, *others = net.hosts
        for number in range(ROUNDS):
            target = f"203.0.113.{number + 10}"
            net.hold(target, first)
            wait_until_banned(first, target, origin="auto")
            for other in others:
                wait_until_banned(other, target, origin="crowdsec")
                took.append((banned_at(other, target) - banned_at(first, target)).total_seconds())
    with capsys.disabled():
        print(
            f"\npoll {POLL_S} s, {len(took)} bans followed: {min(took):.1f} to {max(took):.1f} s after the first, "
            f"{sum(took) / len(took):.1f} s on average"
        )
