"""CrowdSec's own firewall bouncer beside the agent on one host: both follow one local API, neither undoes the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lab.crowdsec import program
from tests.support.lab.fleet import FleetHost, FleetNetwork, wait_until_banned
from tests.support.lab.programs import Program, wait_for

pytestmark = pytest.mark.kernel

BAD = "203.0.113.9"
CONFIG = """\
mode: {mode}
pid_dir: {home}/
update_frequency: 1s
daemonize: false
log_mode: stdout
log_level: info
api_url: {url}/
api_key: {key}
deny_action: DROP
disable_ipv6: false
supported_decisions_types: [ban]
blacklists_ipv4: crowdsec-blacklists
blacklists_ipv6: crowdsec6-blacklists
ipset_type: nethash
iptables_chains: [INPUT]
nftables:
  ipv4: {{enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain}}
  ipv6: {{enabled: true, set-only: false, table: crowdsec6, chain: crowdsec6-chain}}
prometheus: {{enabled: false}}
"""


@pytest.fixture(scope="module")
def net() -> Iterator[FleetNetwork]:
    with FleetNetwork(1, poll_s=1) as net:
        net.hosts[0].agent.start("--enforce")
        yield net


def start_bouncer(net: FleetNetwork, host: FleetHost, mode: str) -> Program:
    home = host.home / mode
    home.mkdir()
    config = CONFIG.format(mode=mode, home=home, url=net.api.url, key=net.api.key(f"bouncer-{mode}"))
    (home / "bouncer.yaml").write_text(config)
    command = [program("crowdsec-firewall-bouncer"), "-c", str(home / "bouncer.yaml")]
    return Program(host.namespace, command, home, "bouncer")


def of_bouncer(host: FleetHost, mode: str) -> str:
    """What the bouncer has in the kernel."""
    command = ["ipset", "save"] if mode == "iptables" else ["nft", "list", "ruleset"]
    return "\n".join(line for line in host.namespace.run(command).split("\n") if "synguard" not in line)


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_a_bouncer_and_the_agent_follow_one_local_api_and_leave_each_other_alone(net: FleetNetwork, mode: str) -> None:
    [host] = net.hosts
    bouncer = start_bouncer(net, host, mode)
    try:
        net.api.decide(BAD)
        wait_until_banned(host, BAD, origin="crowdsec")
        wait_for(lambda: BAD in of_bouncer(host, mode), "the bouncer to hold the decision", 30, every=0.2)
        assert not net.connects(BAD, host)
        read_at = host.agent.status().last_reading_at
        assert read_at is not None
        until = read_at.timestamp() + 6.0  # the agent reads the kernel back every 5 s
        wait_for(
            lambda: (at := host.agent.status().last_reading_at) and at.timestamp() > until, "a look", 60, every=0.2
        )
        status = host.agent.status()
        assert status.totals.repairs == 0, host.agent.program.stderr
        assert not status.problems
        assert BAD in of_bouncer(host, mode)
        assert bouncer.running, bouncer.stderr
        net.api.undo(BAD)
        wait_for(lambda: net.connects(BAD, host), "both to let it in again", 30, every=0.2)
    finally:
        bouncer.stop()
    assert host.agent.status().totals.repairs == 0
    after = f"203.0.113.{10 + (mode == 'nftables')}"
    net.api.decide(after)
    wait_until_banned(host, after, origin="crowdsec")
    wait_for(lambda: not net.connects(after, host), "it to be refused without the bouncer")
