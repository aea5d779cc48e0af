"""Dozens of orders by hand at the same moment, beside a running agent: none is lost, none is doubled."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synguard.addresses import format_network
from synguard.enforcer.choose import choose_plane
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.model import Ban
from synguard.policy.load import load_config
from synguard.status.model import read_status
from tests.support.firewall_net import FirewallNet, wait_until
from tests.support.lab.namespaces import REPOSITORY, python_module

pytestmark = pytest.mark.kernel

LIFTED = [f"198.51.100.{n}" for n in range(6)]
EACH = [f"192.0.2.{n}" for n in range(1, 25)]
SAME = "203.0.113.7"
PATIENCE_S = 60.0


@pytest.fixture
def net() -> Iterator[FirewallNet]:
    hosts = FirewallNet()
    yield hosts
    hosts.close()


def test_of_dozens_of_orders_at_once_none_is_lost_and_none_is_doubled(net: FirewallNet, tmp_path: Path) -> None:
    config, state, runtime = tmp_path / "synguard.toml", tmp_path / "state", tmp_path / "run"
    config.write_text(f'state_dir = "{state}"\nruntime_dir = "{runtime}"\n')
    command = [*python_module("synguard", "--config", str(config)), "run", "--enforce"]
    agent = net.host.call(subprocess.Popen, command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: runtime.exists() and read_status(runtime) is not None, PATIENCE_S)
        assert orders(net, config, [["ban", *LIFTED]]) == [0]
        codes = orders(
            net,
            config,
            [
                *(["ban", target, "--for", "1h"] for target in EACH),
                *(["ban", SAME, "--for", f"{n}h"] for n in range(1, 7)),
                *(["unban", target] for target in LIFTED),
            ],
        )
        assert codes == [0] * 36, "an order failed that should only have waited for its turn"
        expected = Counter([*EACH, SAME])
        wait_until(lambda: held(net, config) == expected, PATIENCE_S)
        with Ledger.open(state / LEDGER_FILE) as ledger:
            assert Counter(format_network(ban.target) for ban in standing(ledger)) == expected
            told = [one.text for one in ledger.actions_since(datetime.fromtimestamp(0, UTC))]
        assert not [text for text in told if "not in the ledger" in text], "an order was taken for an orphan"
    finally:
        agent.kill()
        agent.wait()


def orders(net: FirewallNet, config: Path, words: list[list[str]]) -> list[int]:
    """Carry out all of these at once, each in a process of its own; return their exit codes."""
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in net.host.call(start, config, words)]


def start(config: Path, words: list[list[str]]) -> list[int]:
    """Fork one process an order: what importing costs is paid once, so that they really meet."""
    from synguard.cli import main

    children = []
    for one in words:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                main.app(["--config", str(config), *one, "--yes"])
            except SystemExit as leaving:
                code = int(leaving.code or 0)
            finally:
                os._exit(code)
        children.append(child)
    return children


def held(net: FirewallNet, config: Path) -> Counter[str]:
    """Return what the kernel holds, target → how often."""
    actual = net.host.call(lambda: choose_plane(load_config(config)).read())
    return Counter(format_network(one.target) for one in actual.bans.values())


def standing(ledger: Ledger) -> list[Ban]:
    return list(ledger.active_bans(datetime.now(UTC)).values())
