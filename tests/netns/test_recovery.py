"""Locked out, and in again: the ways of docs/recovery.md, walked by an address that a ban keeps out."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab.lab import Lab
from tests.support.lab.namespaces import python_module
from tests.support.lab.programs import wait_for
from tests.support.lab.topology import VICTIM4, Victim, client4
from tests.support.page_player import Player
from tests.support.page_steps import whole_commands
from tests.support.pages import ROOT
from tests.support.sandbox import Sandbox

pytestmark = [pytest.mark.kernel, pytest.mark.pages, pytest.mark.timeout(180)]
PAGE = (ROOT / "docs/recovery.md").read_text(encoding="utf-8")
US = str(client4(0))
DOCUMENTED = "198.51.100.20"
"""The address that the page speaks of; here it is ours."""
PLANES = ('plane = "iptables"', 'plane = "nftables"')


def lines_of(title: str) -> list[str]:
    """Return what a section of the page has its reader type."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    text = next(one for one in section if one.startswith(f"{title}\n"))
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [line.replace(DOCUMENTED, US) for block in blocks for line in whole_commands(block.splitlines())]


class Host:
    """The host that we are locked out of, its console, and us."""

    def __init__(self, lab: Lab, player: Player) -> None:
        self._lab, self.player = lab, player

    def let_in(self) -> bool:
        """Whether a connection of ours to the web server comes about."""
        connect = (
            "import socket,sys; s = socket.socket(); s.settimeout(0.5); s.bind((sys.argv[1], 0));"
            f" s.connect(('{VICTIM4}', 80))"
        )
        command = self._lab.clients.command([*python_module("x")[:1], "-c", connect, US])
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0

    def lock_us_out(self, *more: str) -> None:
        """Ban our address by hand, as one does by mistake."""
        done = self.player.sandbox.run(f"synguard ban {US} {' '.join(more)} --for 1h --force")
        assert done.code == 0, done.output
        assert not self.let_in(), "the ban keeps nobody out: the test would prove nothing"

    def type(self, *lines: str) -> None:
        """Type lines at the console."""
        for line in lines:
            if line.startswith("systemctl stop"):
                self.player.stop_agent()
                continue
            ran = self.player.sandbox.run(line)
            assert ran.code == 0 or f"exit code {ran.code}" in line, f"{line}: {ran.output}"


@pytest.fixture(params=PLANES, ids=["sets", "nftables"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Lab(Victim()) as lab, Sandbox(lab.victim, lab.workdir / "host") as sandbox:
        player = Player(sandbox, tmp_path, f'mode = "enforce"\n{request.param}\n')
        try:
            player.serve()
            host = Host(lab, player)
            assert host.let_in()
            yield host
        finally:
            player.end()


def test_every_documented_way_lets_us_in_again(host: Host) -> None:
    for title in ("Remove one ban", "Remove everything", "Without synguard"):
        host.player.run_agent("synguard run")
        host.player.sandbox.run("synguard panic --over; synguard unban --all --yes")
        host.lock_us_out()
        host.type(*lines_of(title))
        assert host.let_in(), title


def test_a_panic_outlasts_the_agent_that_the_config_lets_enforce(host: Host) -> None:
    host.player.run_agent("synguard run")
    host.lock_us_out()
    host.type("synguard panic --yes")
    host.player.stop_agent()
    host.player.run_agent("synguard run")
    refused = host.player.sandbox.run(f"synguard ban {US} --force")
    assert refused.code == 3, refused.output
    assert '"mode": "dry-run"' in host.player.sandbox.run("synguard status --json").output
    assert host.let_in()
    host.type("synguard panic --over")
    host.lock_us_out()


def test_a_ban_that_returns_after_a_reboot_is_lifted_from_the_console(host: Host) -> None:
    host.player.run_agent("synguard run")
    host.lock_us_out()
    host.player.stop_agent()
    reboot = "nft flush ruleset; for t in raw filter; do iptables-legacy -t $t -F; iptables-legacy -t $t -X; done"
    host.player.sandbox.run(f"{reboot}; ipset destroy")
    assert host.let_in(), "the kernel is empty after a reboot"
    host.player.run_agent("synguard run")
    wait_for(lambda: not host.let_in(), "the ban to return")
    host.type(*lines_of("After a reboot"))
    assert host.let_in()


def test_the_ways_are_found() -> None:
    assert lines_of("Remove one ban")[1].startswith(f"synguard unban {US}")
    assert any("nft delete table" in line for line in lines_of("Without synguard"))
