"""Thousands of decisions at once on a real host: in the kernel beside the agent, and the agent agrees afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from synguard.enforcer.iptables import ipset, set_filling
from synguard.enforcer.iptables.set_members import LONGEST_TIMEOUT_S, frame_lines, member_lines
from synguard.enforcer.plane import Delta
from synguard.errors import PlaneError
from synguard.model import Ban, Origin, Scope
from tests.support.bans import ban
from tests.support.lab.decision_stream import many, serve
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.network_thread import NetworkThread

pytestmark = pytest.mark.kernel

MANY = 3_000
ALLOWED, BANNED = "198.51.100.7", "203.0.113.9"
LISTS = {"iptables": "ipset save", "nftables": "nft list table inet synguard"}


@pytest.mark.parametrize("plane", LISTS)
def test_a_long_list_is_in_the_kernel_and_stays_there_while_the_agent_takes_it_over(lab: Lab, plane: str) -> None:
    there = NetworkThread(lab.victim)
    server = there.call(serve)
    config = '[crowdsec]\nurl = "http://127.0.0.1:8080"\napi_key = "test"\npoll = "1s"\n'
    agent = lab.agent(f'plane = "{plane}"\n[allow]\naddresses = ["{ALLOWED}"]\n{config}')
    agent.start("--enforce")

    def members() -> int:
        return there.sh(LISTS[plane]).count("synguard ban c")

    try:
        wait_for(lambda: server.asked > 1, "the agent to follow")
        server.next = many(MANY, ALLOWED, BANNED)
        wait_for(lambda: members() >= MANY + 1, "the kernel to hold every decision", every=0.05)
        banned = there.sh(LISTS[plane] + " | grep -o '[0-9.]* [^,]*synguard ban'")
        assert f"{BANNED} " in banned
        assert f"{ALLOWED} " not in banned
        assert "crowdsecurity/http-probing" in agent.verb("why", BANNED).stdout
        assert agent.verb("unban", BANNED, "--yes").returncode == 0
        wait_for(lambda: members() == MANY, "the unban to hold, whatever the agent was just taking over")
        wait_for(lambda: agent.status().bans_active == MANY, "the agent to take them over", 60)
        assert members() == MANY
        assert agent.status().totals.repairs == 0
        assert not agent.status().problems
        agent.kill()
        assert members() == MANY
        agent.start("--enforce")
        wait_for(lambda: agent.status().bans_active == MANY, "the next agent to adopt them", 60)
        assert members() == MANY
    finally:
        server.shutdown()
        there.close()


@pytest.fixture
def there() -> Iterator[NetworkThread]:
    made = NetworkThread()
    yield made
    made.close()


def until(one: Ban) -> int | None:
    return None if one.expires_at is None else round(one.expires_at.timestamp())


def test_members_over_netlink_are_those_of_the_tool(there: NetworkThread) -> None:
    """Prefixes, both families, an end beyond what the kernel counts, none; a lapsed one is left out, twice is once."""
    start = datetime.fromtimestamp(round(datetime.now(UTC).timestamp()), UTC)
    targets = ("192.0.2.1", "192.0.2.255", "198.51.100.0/24", "2001:db8::7", "2001:db8:1::/64", "10.0.0.0/8")
    bans = [ban(f"c{n}", target, Scope.ALL, start=start, seconds=3600 + n % 2) for n, target in enumerate(targets)]
    bans.append(ban("c-long", "192.0.2.9", Scope.ALL, start=start, seconds=LONGEST_TIMEOUT_S * 2))
    bans.append(ban("lapsed", "192.0.2.10", Scope.ALL, start=start - timedelta(hours=2), seconds=3600))
    bans.append(replace(ban("m-good", "192.0.2.11", Scope.ALL, start=start), origin=Origin.MANUAL, expires_at=None))
    bans += [ban(f"c-{n}", f"203.0.{n >> 8}.{n & 255}", Scope.ALL, start=start) for n in range(1000)]
    words = [(one.id, str(one.target).removesuffix("/32").removesuffix("/128"), until(one)) for one in bans]

    def members() -> dict[tuple[str, ...], int]:
        """Set, network, counters and comment → timeout."""
        found = re.findall(r"^add (\S+ \S+) timeout (\d+) (.*)$", there.sh("ipset save"), re.MULTILINE)
        return {(where, rest): int(timeout) for where, timeout, rest in found}

    def fill() -> None:
        set_filling.put(set_filling.members_of(words, start))

    there.call(ipset.restore, list(frame_lines({})))
    for _ in range(2):
        there.call(fill)
    by_netlink = members()
    there.sh("ipset flush")
    there.call(ipset.restore, list(member_lines(Delta(add=tuple(bans)), start)))
    by_tool = members()
    assert by_netlink.keys() == by_tool.keys()
    assert len(by_tool) == len(bans) - 1
    assert all(abs(by_netlink[one] - by_tool[one]) <= 5 for one in by_tool)


def test_a_set_that_is_missing_or_full_is_an_error(there: NetworkThread) -> None:
    ends = round(datetime.now(UTC).timestamp()) + 60
    members = set_filling.members_of([(f"c{n}", f"192.0.2.{n}", ends) for n in range(100)], datetime.now(UTC))
    with pytest.raises(PlaneError):
        there.call(set_filling.put, members)
    there.call(ipset.restore, list(frame_lines({}, most=64)))
    with pytest.raises(PlaneError):
        there.call(set_filling.put, members)
