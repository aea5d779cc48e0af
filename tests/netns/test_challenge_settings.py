"""The settings that challenged clients need: what a connection keeps through a challenge; the values come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.conftest import MakeLab
from tests.support.downloads import PORT, Connection, Options, Site
from tests.support.lab.agent import Agent
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.lab.topology import CLIENTS4, CLIENTS6, UPLINK, VICTIM4, VICTIM6, Victim

pytestmark = pytest.mark.kernel

CONFIG: Final = '[challenge]\nenabled = "auto"\nproven_per_second = 0\n'
NAMES: Final = ("tcp_syncookies", "tcp_timestamps")
ALWAYS: Final = [2, 2]
CLIENTS: Final = {str(VICTIM4): str(CLIENTS4), str(VICTIM6): str(CLIENTS6)}
"""Address of the victim → those who connect to it."""
DOWNLOAD: Final = 50_000_000


def settings(lab: Lab) -> list[int]:
    return [int(lab.victim.run(["cat", f"/proc/sys/net/ipv4/{name}"])) for name in NAMES]


def counted(lab: Lab) -> int:
    """Return the cookies that listeners accepted, less those they sent themselves."""
    counts = dict(line.split()[:2] for line in lab.victim.run(["nstat", "-asz"]).splitlines()[1:])
    return int(counts["TcpExtSyncookiesRecv"]) - int(counts["TcpExtSyncookiesSent"])


def connected(lab: Lab, site: Site, address: str) -> list[Connection]:
    """Return connections of which the program answered some; one in 100 ms on each CPU reaches the listener itself."""
    for _ in range(20):
        before = counted(lab)
        several = site.connect(address, 4)
        if counted(lab) > before:
            return several
        time.sleep(0.15)  # a burst that meets a pause of the challenges would look like clients that they refuse
    raise AssertionError("the program answered no SYN")


def challenge_clients(lab: Lab, agent: Agent) -> None:
    ban = agent.verb("ban", *CLIENTS.values(), "--action", "challenge", "--ports", str(PORT), "--force", "--yes")
    assert ban.returncode == 0, ban.stderr
    wait_for(lambda: settings(lab) == ALWAYS, "cookies and timestamps at 2", 5.0)
    wait_for(lambda: agent.status().challenges.targets == 2, "the agent to have seen the order", 5.0)


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(Victim())


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    opened = Site(lab)
    yield opened
    opened.close()


def test_challenged_clients_keep_their_options_and_every_value_comes_back(lab: Lab, site: Site) -> None:
    """Where timestamps were off, challenged clients have them: nothing else can carry window scale and SACK."""
    agent = lab.agent(CONFIG)
    agent.start("--enforce")
    for before in (0, 1, 2):
        lab.victim.sysctl({f"net.ipv4.{name}": before for name in NAMES})
        plain = {address: site.connect(address, 1)[0].options() for address in CLIENTS}
        challenge_clients(lab, agent)
        for address, options in plain.items():
            several = connected(lab, site, address)
            expected = Options(options.names | {"ts"}, options.scales)
            assert options.scales > (0, 0)
            assert {one.options() for one in several} == {expected}
            assert several[-1].download(DOWNLOAD) == DOWNLOAD
        assert agent.verb("unban", "--all", "--yes").returncode == 0
        wait_for(lambda value=before: settings(lab) == [value] * 2, "the operator's values", 8.0)


def test_an_agent_that_ends_amid_challenges_leaves_neither_settings_nor_program(lab: Lab, site: Site) -> None:
    agent = lab.agent(CONFIG)
    lab.victim.sysctl({"net.ipv4.tcp_timestamps": 0})
    agent.start("--enforce")
    challenge_clients(lab, agent)
    agent.kill()
    assert settings(lab) == ALWAYS
    agent.start("--enforce")
    assert agent.stop() == 0
    assert settings(lab) == [1, 0]
    assert "synguard" not in lab.victim.run(["tc", "filter", "show", "dev", UPLINK, "ingress"])
    agent.start("--enforce")
    wait_for(lambda: settings(lab) == ALWAYS, "the challenges of the ledger", 5.0)
    agent.kill()
    flushed = agent.verb("flush", "--yes")
    assert "net.ipv4.tcp_timestamps is 0 again" in flushed.stdout, flushed
    assert settings(lab) == [1, 0]


def test_timestamps_that_the_operator_sets_meanwhile_stay_and_clients_are_served(lab: Lab, site: Site) -> None:
    agent = lab.agent(CONFIG)
    agent.start("--enforce")
    challenge_clients(lab, agent)
    lab.victim.sysctl({"net.ipv4.tcp_timestamps": 1})
    wait_for(lambda: "timestamps at 1" in str(agent.ask("report")["actions"]), "the agent to let go", 5.0, 0.2)
    several = connected(lab, site, str(VICTIM4))
    assert Options(frozenset(), (0, 0)) in {one.options() for one in several}
    assert several[-1].download(DOWNLOAD) == DOWNLOAD
    assert agent.stop() == 0
    assert settings(lab) == [1, 1]
