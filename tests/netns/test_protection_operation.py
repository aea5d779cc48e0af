"""What happens around a running agent during a flood: reloads, second agents, broken files, other firewall tools."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.support.lab.agent import Agent
from tests.support.lab.flood_plan import hosts
from tests.support.lab.lab import Lab, Meter
from tests.support.lab.programs import wait_for
from tests.support.protection import (
    NO_CHALLENGES,
    SHAPES,
    SMALL_PPS,
    attackers,
    banned,
    connects,
    flood_of,
    scattered,
    wait_for_bans,
    wait_for_relief,
)

pytestmark = pytest.mark.kernel

ONE = SHAPES["one source"][0](0)
LAX = '[[policy]]\nname = "lax"\nlimits = { half_open = 1000000, syn_rate = 1000000 }\n'
LIKE_DEFAULT = '[[policy]]\nname = "firm"\nlimits = { half_open = 64, syn_rate = 100 }\n'
BAD = '[[policy]]\nname = "bad"\nlimits = { half_open = -3, syn_rat = 100 }\n'


def test_a_bad_policy_file_keeps_the_running_policy_and_a_good_one_takes_effect(lab: Lab, tmp_path: Path) -> None:
    pack = tmp_path / "site.toml"
    pack.write_text(LAX)
    lab.serve()
    agent = lab.agent(f'policies = ["{pack}"]\n')
    agent.start("--enforce")
    lab.start_flood(flood_of(ONE, pps=SMALL_PPS))
    wait_for(lambda: agent.status().incidents, "the flood to be seen")
    reload(agent, pack, BAD)
    wait_for(lambda: any("the running one kept" in one for one in agent.status().problems), "the refusal in status")
    assert "site.toml" in agent.verb("status").stdout
    assert not agent.status().healthy
    assert agent.status().policies == ("lax",)
    assert banned(agent) == {}
    reload(agent, pack, LIKE_DEFAULT)
    bans = wait_for_bans(agent, attackers(ONE))
    assert bans.keys() == attackers(ONE)
    assert {ban["policy"] for ban in bans.values()} == {"firm"}
    wait_for(lambda: agent.status().healthy, "the problem to be gone from status")
    assert agent.status().policies == ("firm",)


def reload(agent: Agent, pack: Path, text: str) -> None:
    pack.write_text(text)
    agent.program.process.send_signal(signal.SIGHUP)


def test_a_second_agent_with_the_same_directories_refuses_in_one_sentence_and_the_first_goes_on(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent()
    agent.start("--enforce")
    for mode in ("--enforce", "--dry-run"):
        second = agent.verb("run", mode, "--for", "1s")
        assert second.returncode == 1, second.stderr
        assert str(agent.pid) in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1, second.stderr
    lab.start_flood(flood_of(ONE, pps=SMALL_PPS))
    assert wait_for_bans(agent, attackers(ONE)).keys() == attackers(ONE)


def test_an_allow_file_that_cannot_be_read_suspends_automatic_bans_and_says_so(lab: Lab, tmp_path: Path) -> None:
    friends = tmp_path / "friends.txt"
    lab.serve()
    agent = lab.agent(f'allow.files = ["{friends}"]\ncadence.protected = "1s"\n')
    agent.start("--enforce")
    suspended = f"automatic bans are suspended: {friends}"
    assert suspended in agent.program.stderr
    meter = lab.start_meter()
    flood = lab.start_flood(flood_of(ONE, pps=SMALL_PPS))
    wait_for(lambda: any(one.kind == "watch" for one in agent.status().targets), "a target that is not banned")
    assert suspended in agent.verb("status").stdout
    assert not agent.ask("status")["healthy"]
    assert "automatic bans are suspended" in agent.verb("why", "198.18.0.1").stdout
    assert banned(agent) == {}
    assert meter.reach().share(flood.first_at, time.monotonic()) > 0.9
    friends.write_text("198.18.99.0/24  # a friend\n")
    assert wait_for_bans(agent, attackers(ONE)).keys() == attackers(ONE)
    wait_for(lambda: agent.status().healthy, "the suspension to be over")


def test_whom_a_broken_allow_file_named_still_connects_and_a_ban_of_her_is_refused(lab: Lab, tmp_path: Path) -> None:
    """A ban of her /24 stood, a line was mistyped in the file, and within five seconds she was refused."""
    friends, friend = tmp_path / "friends.txt", "172.20.0.20"
    friends.write_text("")
    lab.serve()
    agent = lab.agent(f'allow.files = ["{friends}"]\ncadence.protected = "1s"\n')
    agent.start("--enforce")
    assert agent.verb("ban", "172.20.0.0/24", "--yes").returncode == 0
    friends.write_text(f"{friend}\n")
    wait_for(lambda: connects(lab, friend), "the way through the ban")
    assert not connects(lab, "172.20.0.21")
    for broken in ("172.20.0.5-172.20.0.9\n", ""):
        friends.write_text(broken) if broken else friends.unlink()
        wait_for(lambda: any(friend in one for one in agent.status().problems), "the problem in status")
        assert connects(lab, friend)
        assert agent.verb("ban", friend).returncode == 3
        agent.stop()
        assert agent.verb("ban", friend).returncode == 3
        agent.start("--enforce")
        assert f"still protected: {friend}" in agent.verb("status").stdout
        assert connects(lab, friend)
        friends.write_text(f"{friend}\n")
        wait_for(lambda: agent.status().healthy, "the list to be read again")


FOREIGN = (
    "iptables-legacy -t raw -A PREROUTING -s 198.51.100.9 -j DROP",
    "iptables-legacy -A INPUT -s 198.51.100.8 -j DROP",
    "ipset create theirs hash:ip",
    "ipset add theirs 198.51.100.7",
)
WIPES = {
    "the chain is flushed": ("iptables-legacy -t raw -F SYNGUARD",),
    "everything of ours is destroyed": (
        "iptables-legacy -t raw -D PREROUTING 1",
        "iptables-legacy -t raw -F SYNGUARD",
        "iptables-legacy -t raw -X SYNGUARD",
        "ipset destroy synguard-port-drop-4",
    ),
}


def test_what_another_tool_wipes_during_a_flood_is_repaired_and_foreign_rules_are_left_alone(lab: Lab) -> None:
    lab.serve()
    for command in FOREIGN:
        lab.victim.run(command.split())
    agent = lab.agent()
    agent.start("--enforce")
    meter, flood = lab.start_meter(), lab.start_flood(flood_of(ONE, pps=SMALL_PPS))
    wait_for_relief(meter, flood)
    wait_for_bans(agent, attackers(ONE))
    for name, commands in WIPES.items():
        repairs, wiped_at = len(repaired(agent)), time.monotonic()
        for command in commands:
            lab.victim.run(command.split())
        wait_for(lambda: meter.reach().reached_pps(wiped_at, time.monotonic()) > 0, f"{name}: a leak", every=0.05)  # noqa: B023
        wait_for(lambda: relieved_now(meter), f"{name}: relief again", every=0.1)
        wait_for(lambda: len(repaired(agent)) > repairs, f"{name}: a word about it", every=0.3)  # noqa: B023
    assert flood.running
    assert banned(agent).keys() == attackers(ONE)
    assert "-s 198.51.100.9/32 -j DROP" in lab.victim.run(["iptables-legacy", "-t", "raw", "-S", "PREROUTING"])
    assert "-s 198.51.100.8/32 -j DROP" in lab.victim.run(["iptables-legacy", "-S", "INPUT"])
    assert "198.51.100.7" in lab.victim.run(["ipset", "list", "theirs"])


def relieved_now(meter: Meter) -> bool:
    now = time.monotonic() - 0.05
    return meter.reach().share(now - 0.3, now) < 0.1


def repaired(agent: Agent) -> list[str]:
    return [one["text"] for one in agent.ask("report")["actions"] if one["kind"] == "repair"]


BUSY = """
export XTABLES_LOCKFILE=$1
while :; do
    for order in -I -D; do
        iptables-legacy -t raw $order OUTPUT -p udp -m comment --comment $2 -j ACCEPT
        ip6tables-legacy -t raw $order OUTPUT -p udp -m comment --comment $2 -j ACCEPT
    done
    echo '{"event": "turn"}'
done
"""


def test_bans_are_applied_while_other_programs_change_the_same_tables_all_the_time(lab: Lab, tmp_path: Path) -> None:
    """One takes the lock that iptables takes; the other does not, so that tables change between our read and write."""
    lab.serve()
    agent = lab.agent(NO_CHALLENGES)
    agent.start("--enforce")
    locks = {"polite": "/run/xtables.lock", "rude": str(tmp_path / "a-lock-that-nobody-else-takes")}
    others = [lab.start(lab.victim, ["sh", "-c", BUSY, "busy", lock, name], name) for name, lock in locks.items()]
    wait_for(lambda: all(other.lines() for other in others), "the other programs to be at it")
    crowd, one_64 = hosts(*scattered(128)), SHAPES["one IPv6 /64"][0](0)
    meter, flood = lab.start_meter(), lab.start_flood(flood_of(crowd, one_64))
    turns = [len(other.lines()) for other in others]
    wait_for_relief(meter, flood)
    bans = wait_for_bans(agent, attackers(crowd) | attackers(one_64))
    assert all(ban["in_kernel"] for ban in bans.values())
    wait_for(lambda: agent.status().problems == (), "a status without problems")
    assert all(len(other.lines()) > before for other, before in zip(others, turns, strict=True)), "they were not at it"
