"""The challenge program under real floods: clients get in, and the listener sees next to none of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal

import pytest

from synguard.decision.syn_headers import Sightings
from synguard.enforcer.challenge.counts import SynCounts
from synguard.enforcer.challenge.plane import ChallengePlane
from synguard.enforcer.challenge.program import ProgramSettings
from synguard.enforcer.reconcile.delta import delta
from synguard.sensors.syn_counts import sample_of
from synguard.syn_header import SynHeader
from tests.conftest import MakeLab
from tests.support.bans import wanted
from tests.support.challenge import Challenge, challenge, header_drop, limit, now
from tests.support.lab.client_plan import flash_crowd, steady
from tests.support.lab.flood_plan import FloodPlan, Look, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.topology import UPLINK, Victim

pytestmark = pytest.mark.kernel

Begin = Callable[..., tuple[Lab, Challenge]]


@pytest.fixture
def begin(make_lab: MakeLab) -> Iterator[Begin]:
    """Builds a lab that serves, with a challenge plane at the victim's uplink."""
    with ExitStack() as stack:

        def build(victim: Victim | None = None, **settings: Any) -> tuple[Lab, Challenge]:
            lab = make_lab(victim or Victim(backlog=128))
            lab.serve()
            held = Challenge(lab, **settings)
            stack.callback(held.close)
            return lab, held

        yield build


@pytest.mark.parametrize(("version", "everybody"), [(4, "0.0.0.0/0"), (6, "::/0")])
def test_500_clients_connect_during_a_random_flood_while_the_listener_sees_next_to_none_of_it(
    begin: Begin, version: Literal[4, 6], everybody: str
) -> None:
    lab, held = begin()
    held.hold(challenge("all", everybody, 80))
    flood = lab.start_flood(FloodPlan(groups=(anywhere(version),), pps=20_000, duration_s=8))
    clients = lab.start_clients(flash_crowd(500, within_s=3.0, pages_each=1, version=version))
    clients.wait(20)
    flood.stop()
    served, hits = clients.attempts(), held.hits("all")
    assert served.share == 1.0, served.outcomes()
    assert hits.answered > 50_000
    assert hits.passed < 400, "one SYN in 100 ms on each of the CPUs, and those that teach the window scale"


def test_of_a_sample_one_syn_in_eight_reaches_the_listener_and_all_others_are_answered(begin: Begin) -> None:
    lab, held = begin()
    held.hold(challenge("all", "0.0.0.0/0", 80))
    held.thread.call(held.program.configure, ProgramSettings(timestamps=True, sample_one_in=8))
    lab.start_flood(FloodPlan(groups=(anywhere(4),), pps=10_000, duration_s=1)).report()
    hits = held.hits("all")
    assert 1 / 9 < hits.passed / (hits.passed + hits.answered) < 1 / 6.5


def test_a_limited_prefix_is_answered_at_its_rate_and_the_rest_is_dropped(begin: Begin) -> None:
    lab, held = begin(limit=100.0)
    held.hold(limit("net", "198.18.7.0/24", 80))
    lab.start_flood(FloodPlan(groups=(prefix("198.18.7.0/24"),), pps=20_000, duration_s=2)).report()
    hits = held.hits("net")
    assert hits.packets - hits.answered > 35_000
    assert hits.answered + hits.passed < 2 * 100 + 60


def test_syns_of_one_exact_header_are_dropped_and_those_of_clients_are_not(begin: Begin) -> None:
    """The header is the one that the program counted: what it tells of SYNs is what it drops them by."""
    lab, held = begin()
    look = Look(ttl=(64, 64), windows=(512,), options="none")
    counts = SynCounts(held.program.maps)
    held.thread.call(lambda: counts.count(5.0, 1))
    lab.start_flood(FloodPlan(groups=(anywhere(4, look=look),), pps=2_000, duration_s=0.5)).report()
    seen = Sightings.of((sample_of(*held.thread.call(counts.take), 0.0, 1.0),))
    assert seen is not None
    key = seen.commonest()
    assert key == (4, 0, 512, 0, 40)
    header = SynHeader((62, 64), key.window, key.mss, key.options, key.length)
    held.hold(header_drop("tool", "0.0.0.0/0", header, 80))
    flood = lab.start_flood(FloodPlan(groups=(anywhere(4, look=look),), pps=20_000, duration_s=4))
    clients = lab.start_clients(steady(duration_s=2))
    clients.wait(20)
    sent = flood.report()["sent"]
    assert clients.attempts().share == 1.0, clients.attempts().outcomes()
    assert held.hits("tool").packets == sent


def test_a_proven_peer_passes_at_a_small_rate_and_is_challenged_beyond(begin: Begin) -> None:
    lab, held = begin()
    everybody = (challenge("all4", "0.0.0.0/0", 80), challenge("all6", "::/0", 80))
    peers, others = ("198.18.7.7", "2001:db8:bad::7"), tuple(f"198.18.8.{n}" for n in range(250))
    held.hold(*everybody, proven=(*peers, *others))
    held.hold(*everybody, proven=peers)
    flood = (hosts(peers[0]), hosts(peers[1]), hosts(others[0]))
    lab.start_flood(FloodPlan(groups=flood, pps=15_000, duration_s=2)).report()
    hits = [held.hits(name) for name in ("all4", "all6")]
    assert hits[0].answered > 18_000
    assert hits[1].answered > 9_000
    assert all(16 <= one.passed < 16 + 8 * 3 + 60 for one in hits)


def test_past_its_deadline_a_challenge_does_nothing_though_no_one_took_it_away(begin: Begin) -> None:
    lab, held = begin()
    held.hold(challenge("short", "198.18.7.0/24", 80, seconds=1.0))
    lab.start_flood(FloodPlan(groups=(prefix("198.18.7.0/24"),), pps=2_000, duration_s=3)).report()
    counts = held.program.maps.port_counts[int(held.program.maps.slot_of_port[80])]
    assert 0 < int(counts["answered"].sum()) < 2_500
    assert held.read().bans == {}


def test_foreign_filters_and_a_foreign_clsact_stay_as_they_are(make_lab: MakeLab) -> None:
    lab = make_lab(Victim())
    lab.victim.run(["tc", "qdisc", "add", "dev", UPLINK, "clsact"])
    foreign = ["protocol", "ip", "pref", "7", "bpf", "da", "bytecode", "1,6 0 0 4294967295"]
    lab.victim.run(["tc", "filter", "add", "dev", UPLINK, "ingress", *foreign])
    before = lab.victim.run(["tc", "filter", "show", "dev", UPLINK, "ingress"])
    held = Challenge(lab)
    assert "synguard_in" in lab.victim.run(["tc", "filter", "show", "dev", UPLINK, "ingress"])
    held.close()
    assert lab.victim.run(["tc", "filter", "show", "dev", UPLINK, "ingress"]) == before
    assert "clsact" in lab.victim.run(["tc", "qdisc", "show", "dev", UPLINK])


def test_a_ban_that_another_process_added_is_taken_in_and_watched_ports_keep_their_slots(make_lab: MakeLab) -> None:
    """A ban on port 80 was one on the first watched port too, and a ban by hand stayed when the agent ended it."""
    lab = make_lab(Victim())
    agent = Challenge(lab, ports=(22, 80))
    agent.hold(challenge("web", "198.18.7.0/24", 80))
    slots = agent.program.maps.slot_of_port
    assert len({int(slots[port]) for port in (22, 80, 443)}) == 3
    verb = agent.thread.call(lambda: ChallengePlane(now, set))
    goal = wanted(challenge("web", "198.18.7.0/24", 80), challenge("tls", "198.18.8.0/24", 443))
    agent.thread.call(lambda: verb.apply(replace(delta(goal, verb.read(), now()), frame=False)))
    assert agent.read().bans.keys() == {"web", "tls"}
    agent.hold(challenge("web", "198.18.7.0/24", 80))
    assert agent.thread.call(verb.read).bans.keys() == {"web"}
    agent.close()


def test_our_clsact_goes_with_us(make_lab: MakeLab) -> None:
    lab = make_lab(Victim())
    before = lab.victim.run(["tc", "qdisc", "show"])
    held = Challenge(lab)
    assert "clsact" in lab.victim.run(["tc", "qdisc", "show"])
    held.close()
    assert lab.victim.run(["tc", "qdisc", "show"]) == before
