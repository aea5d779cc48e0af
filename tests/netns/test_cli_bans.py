"""Bans by hand against real packets: what the command line says is what the kernel does."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.firewall_net import FirewallNet, prefix, source, wait_until
from tests.support.lab.namespaces import REPOSITORY, python_module
from tests.support.lab.warm import run_verb

pytestmark = pytest.mark.kernel

BOTH = pytest.mark.parametrize("family", [4, 6])
Synguard = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def synguard(net: FirewallNet, tmp_path: Path) -> Iterator[Synguard]:
    config = tmp_path / "synguard.toml"
    config.write_text(
        f'state_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n'
        '[containers]\nwatch = "off"\n'  # the peer behind the veth pair is another host, no container of this one
    )

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return net.host.call(run_verb, "--config", str(config), *words)

    yield call
    call("flush", "--yes")


def there(net: FirewallNet, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command on the host that holds the rules; it starts in the namespace of the thread that starts it."""
    return net.host.call(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY
    )


def shown(synguard: Synguard) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(synguard("bans", "--json").stdout)
    return listed


@BOTH
def test_a_ban_stops_packets_is_counted_and_unban_lets_them_through(
    net: FirewallNet, synguard: Synguard, family: int
) -> None:
    assert net.reaches(family)
    done = synguard("ban", source(family, 2), "--for", "10m")
    assert done.returncode == 0, done.stderr
    assert net.attempt(family, 2) == "silence"
    assert net.reaches(family, 3)
    (row,) = shown(synguard)
    assert (row["target"], row["in_kernel"]) == (source(family, 2), True)
    assert row["packets"] > 0
    assert synguard("unban", source(family, 2)).returncode == 0
    assert net.reaches(family, 2)
    assert shown(synguard) == []


@BOTH
def test_a_ban_ends_by_itself_with_no_agent_there(net: FirewallNet, synguard: Synguard, family: int) -> None:
    assert synguard("ban", source(family, 2), "--for", "3s").returncode == 0
    wait_until(lambda: net.reaches(family, 2), within_s=10)
    assert shown(synguard) == []


@BOTH
def test_a_ban_of_the_hosts_own_prefix_is_refused_with_force_too(
    net: FirewallNet, synguard: Synguard, family: int
) -> None:
    done = synguard("ban", prefix(family), "--force", "--yes")
    assert done.returncode == 3
    assert net.reaches(family)
    assert shown(synguard) == []


def test_flush_lets_everything_through_and_keeps_the_ledger(net: FirewallNet, synguard: Synguard) -> None:
    synguard("ban", source(4, 2))
    assert net.attempt(4, 2) == "silence"
    assert synguard("flush", "--yes").returncode == 0
    assert net.reaches(4, 2)
    assert [row["in_kernel"] for row in shown(synguard)] == [False]


def broken(directory: Path, how: str) -> None:
    """Break what lies in the directory that a config and its ledger are in."""
    config, ledger = directory / "synguard.toml", directory / "state" / "ledger.db"
    if how == "config is no TOML":
        config.write_text('mode = "enforce\n')
    elif how == "config is gone":
        config.unlink()
    elif how == "config is anybody's":
        config.chmod(0o666)
    elif how == "ledger is junk":
        ledger.write_bytes(b"junk" * 1000)
    elif how == "ledger is gone":
        shutil.rmtree(ledger.parent)
    elif how == "state directory is anybody's":
        ledger.parent.chmod(0o777)
    else:
        raise ValueError(how)


@pytest.mark.parametrize(
    "how",
    [
        "config is no TOML",
        "config is gone",
        "config is anybody's",
        "ledger is junk",
        "ledger is gone",
        "state directory is anybody's",
    ],
)
def test_flush_works_when_everything_else_is_broken(
    net: FirewallNet, synguard: Synguard, tmp_path: Path, how: str
) -> None:
    synguard("ban", source(4, 2))
    assert net.attempt(4, 2) == "silence"
    broken(tmp_path, how)
    done = synguard("flush", "--yes")
    assert net.reaches(4, 2)
    assert "Traceback" not in done.stderr
    assert "synguard" not in net.host.sh("iptables-legacy-save; ip6tables-legacy-save; ipset list -n").lower()
    assert (done.returncode, done.stderr.count("\n")) == ((0, 1) if how.startswith("config") else (0, 0)), done.stderr


def test_without_capabilities_nothing_is_banned_and_exit_is_4(
    net: FirewallNet, synguard: Synguard, tmp_path: Path
) -> None:
    command = python_module("synguard", "--config", str(tmp_path / "synguard.toml"), "ban", source(4, 2))
    done = there(net, ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *command])
    assert done.returncode == 4, done.stderr
    assert "CAP_NET_ADMIN" in done.stderr
    assert net.reaches(4, 2)
    assert not (tmp_path / "state").exists()
