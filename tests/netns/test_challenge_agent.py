"""The agent with challenges switched on, under real floods: who is challenged, who gets in, and what remains."""

from __future__ import annotations

from typing import Final

import pytest

from tests.conftest import MakeLab
from tests.support.firewalls import NOT_SYN, table
from tests.support.lab.flood_plan import SourceGroup, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.lab.topology import UPLINK, Victim
from tests.support.protection import NO_CHALLENGES, besiege, flood_of

pytestmark = pytest.mark.kernel

CONFIG: Final = '[challenge]\nenabled = "auto"\n'
COOKIES: Final = "/proc/sys/net/ipv4/tcp_syncookies"


def cookies(lab: Lab) -> str:
    return lab.victim.run(["cat", COOKIES]).strip()


def filters(lab: Lab, device: str = UPLINK) -> str:
    return lab.victim.run(["tc", "filter", "show", "dev", device, "ingress"])


FLOODS: Final = {
    "one source": hosts("198.18.7.9"),
    "a /24": prefix("198.18.7.0/24"),
    "everywhere": anywhere(4),
}


@pytest.mark.parametrize("name", FLOODS)
def test_attackers_are_challenged_clients_get_in_and_nothing_remains(make_lab: MakeLab, name: str) -> None:
    group: SourceGroup = FLOODS[name]
    lab = make_lab(Victim(backlog=128))
    lab.serve()
    before = cookies(lab)
    agent = lab.agent(CONFIG)
    agent.start("--enforce")
    wait_for(lambda: agent.status().challenges.works, "the survey of what stands in the way", every=0.1)
    siege = besiege(lab, flood_of(group, pps=15_000))
    bans = agent.ask("bans")
    print(f"\n{name}: relief after {siege.relief_s:.3f} s, {siege.served_after.share:.1%} of clients served")
    assert bans
    assert {ban["action"] for ban in bans} == {"challenge"}
    assert siege.served_after.share >= 0.99, siege.served_after.outcomes()
    assert "synguard" in filters(lab)
    assert cookies(lab) == "2"
    assert lab.victim.run(["cat", "/proc/net/packet"]).count("\n") == 1, "the program counts, and no packet socket"
    agent.stop()
    assert cookies(lab) == before
    agent.verb("flush", "--yes")
    assert "synguard" not in filters(lab)


@pytest.mark.parametrize("flags", [(), ("--dry-run",)], ids=["mode", "option"])
def test_dry_run_says_who_would_be_challenged_and_touches_nothing(make_lab: MakeLab, flags: tuple[str, ...]) -> None:
    lab = make_lab(Victim(backlog=128))
    lab.serve()
    before = cookies(lab), lab.victim.run(["tc", "qdisc", "show"])
    agent = lab.agent(CONFIG)
    agent.start(*flags)
    wait_for(lambda: agent.status().challenges.works, "the survey of what stands in the way", every=0.1)
    flood = lab.start_flood(flood_of(hosts("198.18.7.9"), pps=2_000))
    bans = wait_for(lambda: agent.ask("bans"), "a ban that would be", every=0.2)
    assert {(ban["action"], ban["dry_run"]) for ban in bans} == {("challenge", True)}
    flood.stop()
    assert (cookies(lab), lab.victim.run(["tc", "qdisc", "show"])) == before


def test_where_a_rule_stands_in_the_way_dry_run_says_that_bans_would_stop_it(make_lab: MakeLab) -> None:
    lab = make_lab(Victim(backlog=128))
    lab.serve()
    lab.victim.run(["iptables-legacy-restore"], stdin=table("filter", NOT_SYN))
    agent = lab.agent(CONFIG)
    agent.start()
    wait_for(lambda: "no SYN came before it" in agent.status().challenges.why_not, "the obstacle", every=0.1)
    flood = lab.start_flood(flood_of(hosts("198.18.7.9"), pps=2_000))
    bans = wait_for(lambda: agent.ask("bans"), "a ban that would be", every=0.2)
    assert {(ban["action"], ban["dry_run"]) for ban in bans} == {("drop", True)}
    flood.stop()


def test_a_killed_agent_s_challenge_is_adopted_new_interfaces_are_followed_and_foreign_filters_stay(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(Victim())
    lab.serve()
    foreign = ["protocol", "ip", "pref", "60000", "bpf", "da", "bytecode", "1,6 0 0 4294967295"]
    lab.victim.run(["tc", "qdisc", "add", "dev", UPLINK, "clsact"])
    lab.victim.run(["tc", "filter", "add", "dev", UPLINK, "ingress", *foreign])
    agent = lab.agent()
    agent.start("--enforce")
    assert agent.verb("ban", "198.18.0.0/16", "--action", "challenge", "--ports", "80", "--yes").returncode == 0
    assert cookies(lab) == "2", "the settings come first"
    (stood,) = agent.ask("bans")
    assert stood["in_kernel"]
    for command in ("link add late type veth peer name other", "addr add 10.99.0.1/24 dev late", "link set late up"):
        lab.victim.run(["ip", *command.split()])
    wait_for(lambda: "synguard_in" in filters(lab, "late"), "the new interface to be followed", 10.0, every=0.1)
    for command in ("link set late down", "link set late name later", "link set later up"):
        lab.victim.run(["ip", *command.split()])
    agent.kill()
    assert "synguard_in" in filters(lab, "later")
    assert agent.ask("bans")[0]["in_kernel"], "it stands until its deadline"
    agent.start("--enforce")
    (adopted,) = agent.ask("bans")
    assert (adopted["id"], adopted["expires_at"], adopted["in_kernel"]) == (stood["id"], stood["expires_at"], True)
    assert all("synguard_in" in filters(lab, name) for name in (UPLINK, "later"))
    assert agent.stop() == 0
    assert agent.verb("flush", "--yes").returncode == 0
    assert [("synguard" in filters(lab, name), "pref 60000" in filters(lab, name)) for name in (UPLINK, "later")] == [
        (False, True),
        (False, False),
    ]
    assert cookies(lab) == "1"


def test_a_challenge_by_hand_stands_beside_those_of_the_agent_and_a_drop_by_hand_outranks_it(make_lab: MakeLab) -> None:
    lab = make_lab(Victim())
    lab.serve()
    agent = lab.agent(CONFIG)
    agent.start("--enforce")
    assert agent.verb("ban", "198.18.0.0/16", "--action", "challenge", "--ports", "80", "--yes").returncode == 0
    assert agent.verb("ban", "198.18.0.9", "--scope", "new", "--yes").returncode == 0
    assert {(ban["target"], ban["action"]) for ban in agent.ask("bans")} == {
        ("198.18.0.0/16", "challenge"),
        ("198.18.0.9", "drop"),
    }
    assert cookies(lab) == "2"
    assert agent.verb("unban", "--all", "--yes").returncode == 0
    assert agent.ask("bans") == []


def test_without_a_program_a_challenge_by_hand_is_refused(make_lab: MakeLab) -> None:
    lab = make_lab(Victim())
    agent = lab.agent(NO_CHALLENGES)
    agent.start("--enforce")
    refused = agent.verb("ban", "198.18.0.9", "--action", "challenge", "--yes")
    assert (refused.returncode, "no challenge program runs here" in refused.stderr) == (3, True)
