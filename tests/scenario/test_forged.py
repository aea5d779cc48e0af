"""Forged or real: what the agent makes of crowds, of forged sources, and of those whose addresses are forged."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from synguard.agent.tick import Tick
from synguard.model import Ban, Mode, VerdictKind
from synguard.policy.models import Config, Limits, Policy
from tests.support.scene import Scene, Weather
from tests.support.traffic import TOOL, Header, forged, natural

POLICY = Policy(
    name="default",
    limits=Limits(half_open=64, syn_rate=100, connections=300, connection_rate=50),
    prefix_limits=Limits(half_open=256, syn_rate=500, connections=1000, connection_rate=300),
)
ENFORCE = Config(mode=Mode.ENFORCE)
INNOCENT = "192.0.2.9"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path, POLICY, config=ENFORCE)


def addresses(count: int, inside: str = "", seed: int = 7) -> list[str]:
    chance = random.Random(seed)
    first, size = (1 << 24, 223 << 24) if not inside else (int(ip_network(inside)[0]), ip_network(inside).num_addresses)
    return [str(ip_address(number)) for number in chance.sample(range(first, first + size), count)]


def flood(pps: dict[str, float], **more: object) -> Weather:
    """Return a flood that fills a queue of 128 with whoever comes first and keeps no cookies, unless told otherwise."""
    usual = {
        "syn_pps": pps,
        "half_open": dict.fromkeys(list(pps)[:129], max(1, 129 // len(pps))),
        "dropped_pps": sum(pps.values()),
        "header_of": forged,
    }
    return Weather(**usual | more)  # type: ignore[arg-type]


def lives_through(scene: Scene, weather: Weather, seconds: float = 3.0) -> list[Tick]:
    scene.lasts(1)
    scene.sensors.weather = weather
    return scene.lasts(seconds)


def verdicts(ticks: Iterable[Tick]) -> set[str]:
    return {tick.decision.flood_verdict.split(":")[0] for tick in ticks}


def random_ttl(address: str) -> Header:
    return random.randrange(1, 256), TOOL[1], TOOL[2]


def bans(scene: Scene) -> dict[str, Ban]:
    return {str(ban.target.network_address): ban for ban in scene.ledger.active_bans(scene.clock.utcnow()).values()}


FORGED_FLOODS = {
    "a pool of 3,000 addresses behind natural headers": flood(dict.fromkeys(addresses(3000), 4.0), header_of=natural),
    "a pool of 400 addresses, each below every limit, with one header": flood(dict.fromkeys(addresses(400), 20.0)),
    "a pool of 400 addresses with TTLs at random": flood(dict.fromkeys(addresses(400), 20.0), header_of=random_ttl),
    "one /8 with one header": flood(dict.fromkeys(addresses(4000, "45.0.0.0/8"), 2.5)),
    "one /8 with natural headers": flood(dict.fromkeys(addresses(4000, "45.0.0.0/8"), 2.5), header_of=natural),
    "everywhere, carried by cookies": flood(
        dict.fromkeys(addresses(4000), 2.5), dropped_pps=0, cookies_pps=10_000, completed_pps=40, cookies_back_pps=40
    ),
    "everywhere, where living hosts deny having asked": flood(
        dict.fromkeys(addresses(4000), 2.5), header_of=natural, resets_pps=60
    ),
    "a third from 30 loud addresses, the rest from everywhere with natural headers": flood(
        dict.fromkeys(addresses(30, "203.0.113.0/24"), 170.0) | dict.fromkeys(addresses(4000), 2.5), header_of=natural
    ),
}


@pytest.mark.parametrize("name", FORGED_FLOODS)
def test_a_forged_flood_is_called_so_within_two_seconds_and_bans_none_of_its_addresses(scene: Scene, name: str) -> None:
    weather = FORGED_FLOODS[name]
    ticks = lives_through(scene, weather, 4.0)
    late = [tick for tick in ticks if tick.assessment.at > ticks[0].assessment.at + 2.5]
    assert verdicts(late) == {"spoofed"}, ticks[-1].assessment
    quiet = {address for address, pps in weather.syn_pps.items() if pps <= 25}
    assert not quiet & bans(scene).keys()
    assert not [ban for ban in bans(scene).values() if ban.target.prefixlen < 24]


def test_the_verdict_names_its_reasons(scene: Scene) -> None:
    weather = flood(
        dict.fromkeys(addresses(4000), 2.5),
        dropped_pps=0,
        cookies_pps=9900,
        completed_pps=40,
        cookies_back_pps=40,
        resets_pps=60,
    )
    said = lives_through(scene, weather)[-1].decision.flood_verdict
    assert said.startswith("spoofed: about 10,000 SYN/s from ")
    assert "100% of the SYNs from addresses hardly seen" in said
    assert "100% of the networks send the header of one tool (TTL 52, window 64240)" in said
    assert "0.4% complete a handshake" in said
    assert "40 of 9,900 SYN cookies a second come back" in said
    assert "60 hosts a second reset the answer: they sent no SYN" in said


def test_resets_alone_do_not_call_a_flood_of_few_addresses_forged(scene: Scene) -> None:
    """A bot that makes its own SYNs, past its kernel, is answered for by its kernel: with a reset. It is real."""
    bots = dict.fromkeys(addresses(100), 100.0)
    ticks = lives_through(scene, flood(bots, header_of=natural, resets_pps=100))
    assert verdicts(ticks) == {""}
    assert bans(scene).keys() == bots.keys()


CROWDS = {
    "within the queue": Weather(completed_pps=900),
    "that overflows the queue and is carried by cookies": Weather(
        half_open=dict.fromkeys(addresses(129), 1), cookies_pps=800, completed_pps=900, cookies_back_pps=700
    ),
    "ten times what a queue without cookies turns over": Weather(
        half_open=dict.fromkeys(addresses(129), 1), dropped_pps=9000, completed_pps=640
    ),
    "at an application that does not accept": Weather(
        half_open=dict.fromkeys(addresses(129), 1), accept_queue=129, overflows_pps=900, dropped_pps=900
    ),
    "behind a proxy that keeps addresses and sends its own headers": Weather(
        half_open=dict.fromkeys(addresses(129), 1),
        cookies_pps=800,
        completed_pps=900,
        cookies_back_pps=700,
        header_of=forged,
    ),
    "at an application that does not accept, behind such a proxy": Weather(
        half_open=dict.fromkeys(addresses(129), 1),
        accept_queue=129,
        overflows_pps=900,
        dropped_pps=900,
        header_of=forged,
    ),
}


@pytest.mark.parametrize("name", CROWDS)
def test_a_crowd_of_real_clients_from_everywhere_is_never_called_forged(scene: Scene, name: str) -> None:
    crowd = replace(CROWDS[name], syn_pps=dict.fromkeys(addresses(3000), 0.3 if "ten" not in name else 3.0))
    ticks = lives_through(scene, crowd, 8.0)
    assert "spoofed" not in verdicts(ticks)
    assert bans(scene) == {}


def test_the_first_second_of_a_crowd_whose_answers_are_under_way_is_not_called_forged(scene: Scene) -> None:
    rush = flood(dict.fromkeys(addresses(3000), 1.0), header_of=natural, dropped_pps=0, cookies_pps=3000)
    ticks = lives_through(scene, rush, 0.5)
    scene.sensors.weather = replace(rush, completed_pps=3000, cookies_back_pps=3000)
    ticks += scene.lasts(5)
    assert "spoofed" not in verdicts(ticks)


@pytest.mark.parametrize("look", ["the tool's header", "a header of its own", "a new header in every SYN"])
def test_heavy_sources_in_a_forged_flood_are_banned_whatever_their_headers(scene: Scene, look: str) -> None:
    heavy = addresses(10, seed=99)

    def header_of(address: str) -> Header:
        if address not in heavy or look == "the tool's header":
            return TOOL
        return natural(address) if "own" in look else (random.randrange(30, 64), random.randrange(65536), 1)

    storm = flood(dict.fromkeys(addresses(4000), 2.0) | dict.fromkeys(heavy, 200.0), header_of=header_of)
    ticks = lives_through(scene, storm)
    assert bans(scene).keys() == set(heavy)
    assert verdicts(ticks[-10:]) == {"spoofed"}


def ban_again_and_again(scene: Scene, weather: Weather, address: str, times: int = 3) -> list[Ban]:
    """Return the ban of each of several floods in a row; in each the flood is known before it turns loud."""
    found = []
    for _ in range(times):
        loud = {address: 300.0}
        lives_through(scene, replace(weather, syn_pps={k: v for k, v in weather.syn_pps.items() if k != address}), 2.5)
        scene.sensors.weather = replace(weather, syn_pps=dict(weather.syn_pps) | loud)
        scene.lasts(1.5)
        found.append(bans(scene)[address])
        scene.sensors.weather = Weather()
        scene.lasts(300, every=5.0)
    return found


def seconds(ban: Ban) -> float:
    return (ban.expires_at - ban.created_at) / timedelta(seconds=1)  # type: ignore[operator]


def test_whoever_may_be_framed_by_a_forged_flood_is_banned_shortly_however_often(scene: Scene) -> None:
    storm = flood(dict.fromkeys(addresses(4000), 2.0))
    found = ban_again_and_again(scene, storm, INNOCENT)
    assert [ban.times for ban in found] == [1, 1, 1]
    assert max(map(seconds, found)) <= 1.1 * POLICY.bans.first_forgeable
    assert found[-1].reason.endswith(
        "; kept short, it may be forged like the flood around it: 100% of its SYNs bear the flood's header"
    )


def test_a_machine_of_its_own_that_comes_back_in_forged_floods_is_banned_longer_each_time(scene: Scene) -> None:
    storm = flood(
        dict.fromkeys(addresses(4000), 2.0), header_of=lambda one: (107, 8192, 6) if one == INNOCENT else TOOL
    )
    found = ban_again_and_again(scene, storm, INNOCENT)
    assert [ban.times for ban in found] == [1, 2, 3]


def test_a_heavy_source_with_the_tools_header_stays_banned_while_it_goes_on(scene: Scene) -> None:
    storm = flood(dict.fromkeys(addresses(2000), 4.0) | {INNOCENT: 500.0})
    lives_through(scene, storm, 3.0)
    for _ in range(30):
        scene.lasts(5, every=1.0)
        assert INNOCENT in scene.held()


def test_a_proven_peer_is_spared_whatever_headers_are_forged_in_its_name(scene: Scene) -> None:
    scene.weather.connections = {INNOCENT: 2}
    scene.lasts(3)
    storm = flood(dict.fromkeys(addresses(4000), 2.0) | {INNOCENT: 5000.0}, connections={INNOCENT: 2})
    lives_through(scene, storm)
    assert bans(scene) == {}
    kinds = {record.verdict.kind for record in scene.ledger.verdicts_of(ip_network(f"{INNOCENT}/32"))}
    assert kinds == {VerdictKind.SPARE}


@pytest.mark.parametrize("moment", [0.05, 0.3, 0.55, 0.8])
def test_an_office_that_arrives_amid_a_forged_flood_has_its_handshakes_looked_at_before_it_is_banned(
    scene: Scene, moment: float
) -> None:
    """Connections are read once a second; at 60 SYN/s and pressed limits an office was banned within half of that."""
    storm = flood(dict.fromkeys(addresses(2000), 3.0), dropped_pps=0, cookies_pps=6000)
    lives_through(scene, storm, 2 + moment)
    scene.sensors.weather = replace(storm, syn_pps=dict(storm.syn_pps) | {INNOCENT: 60.0}, connections={INNOCENT: 20})
    scene.lasts(3)
    assert bans(scene) == {}


def test_a_flooder_is_banned_in_time_although_completed_handshakes_cannot_be_read(scene: Scene) -> None:
    scene.lasts(2)
    scene.sensors.weather = flood({INNOCENT: 5000.0}, broken=frozenset({"connections"}))
    scene.lasts(0.8)
    assert bans(scene).keys() == {INNOCENT}


def test_the_look_at_handshakes_costs_a_flooder_no_more_than_a_tick(scene: Scene) -> None:
    scene.lasts(1.4)
    scene.sensors.weather = flood({INNOCENT: 5000.0})
    ticks = scene.lasts(0.8)
    asked = next(tick for tick in ticks if tick.decision.wants_proof)
    acted = next(tick for tick in ticks if tick.decision.bans)
    assert acted.assessment.at - asked.assessment.at <= 0.2
