"""Which effect a target over its limit gets: the mildest that works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from synguard.decision.ladder import ChallengeState
from synguard.enforcer.sysctl import SYN_COOKIES, TCP_TIMESTAMPS
from synguard.enforcer.sysctl_note import NOTE_FILES
from synguard.model import Action, Ban, Mode, VerdictKind
from synguard.policy.models import Config, Limits, Policy, Steps
from synguard.readings import SynSample
from tests.scenario.test_forged import addresses, flood
from tests.support.scene import Scene, Weather
from tests.support.traffic import natural

POLICY = Policy(
    name="default",
    limits=Limits(half_open=64, syn_rate=100, connections=300, connection_rate=50),
    prefix_limits=Limits(half_open=256, syn_rate=500, connections=1000, connection_rate=300),
)
AS_BEFORE = POLICY.model_copy(update={"steps": Steps(half_open=("drop",), syn_rate=("drop",))})
ENFORCE = Config(mode=Mode.ENFORCE)
WORKS = ChallengeState(works=True)
ATTACKER = "198.51.100.7"
HEAVY = {ATTACKER: 15_000.0}
FRAMED = dict.fromkeys((f"192.0.2.{host}" for host in range(1, 255)), 47.0)
"""12,000 SYN/s forged over all of a /24."""
SERVED = tuple(f"192.0.2.{host}" for host in range(1, 51))


def by_cookies(pps: dict[str, float], **more: object) -> Weather:
    """Return a flood that SYN cookies carry."""
    usual = {"dropped_pps": 0, "cookies_pps": sum(pps.values()), "header_of": natural}
    return flood(pps, **usual | more)


def active_bans(scene: Scene) -> dict[str, Ban]:
    bans = scene.ledger.active_bans(scene.clock.utcnow()).values()
    return {f"{ban.target}".removesuffix("/32"): ban for ban in bans}


def actions(scene: Scene) -> dict[str, Action]:
    return {target: ban.action for target, ban in active_bans(scene).items()}


def new_scene(
    tmp_path: Path, challenge: ChallengeState = WORKS, policy: Policy = POLICY, before: Weather | None = None
) -> Scene:
    """Return a host that has been up for a while."""
    scene = Scene(tmp_path, policy, config=ENFORCE, challenge=challenge)
    scene.sensors.weather = before or Weather()
    scene.lasts(6)
    return scene


def test_a_flooding_source_is_challenged_and_not_refused(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = flood(HEAVY)
    scene.lasts(2)
    assert actions(scene) == {ATTACKER: Action.CHALLENGE}
    assert "challenged: a client that holds its address connects" in active_bans(scene)[ATTACKER].reason


@pytest.mark.parametrize("value", [0, 1, 2])
@pytest.mark.parametrize("name", [SYN_COOKIES, TCP_TIMESTAMPS])
def test_settings_that_challenged_clients_need_are_set_with_the_first_challenge_and_come_back(
    tmp_path: Path, name: str, value: int
) -> None:
    scene = new_scene(tmp_path)
    before = scene.sysctl.values[name] = value
    scene.sensors.weather = flood(HEAVY)
    while not active_bans(scene):
        assert scene.sysctl.values[name] == before
        scene.lasts(0.05)
    assert set(scene.sysctl.values.values()) == {2}
    scene.sensors.weather = Weather()
    scene.lasts(1000, every=5.0)
    assert scene.sysctl.values == {SYN_COOKIES: 1, TCP_TIMESTAMPS: 1} | {name: value}
    assert not any((scene.config.state_dir / note).exists() for note in NOTE_FILES.values())


def test_a_dry_run_challenge_touches_no_setting_and_says_what_it_would_set(tmp_path: Path) -> None:
    scene = Scene(tmp_path, POLICY, config=ENFORCE.model_copy(update={"mode": Mode.DRY_RUN}), challenge=WORKS)
    scene.lasts(6)
    scene.sensors.weather = flood(HEAVY)
    scene.lasts(2)
    assert (scene.sysctl.tries, scene.sysctl.values) == (0, {SYN_COOKIES: 1, TCP_TIMESTAMPS: 1})
    told = [one.text for one in scene.ledger.actions_since(scene.clock.utcnow().replace(year=2025))]
    assert "would set net.ipv4.tcp_timestamps to 2: SYNs are challenged (it was 1)" in told


def test_today_s_behaviour_is_a_policy_whose_only_step_is_drop(tmp_path: Path) -> None:
    scene = new_scene(tmp_path, policy=AS_BEFORE)
    scene.sensors.weather = flood(HEAVY)
    scene.lasts(2)
    assert actions(scene) == {ATTACKER: Action.DROP}


def test_where_no_challenge_works_its_syns_are_dropped_and_the_reason_says_why(tmp_path: Path) -> None:
    scene = new_scene(tmp_path, ChallengeState(why_not="this kernel has no BTF"))
    scene.sensors.weather = flood(HEAVY)
    scene.lasts(2)
    assert actions(scene) == {ATTACKER: Action.DROP}
    assert "not challenged: this kernel has no BTF" in active_bans(scene)[ATTACKER].reason


def test_a_port_on_which_no_challenge_works_is_left_to_the_firewall(tmp_path: Path) -> None:
    scene = new_scene(tmp_path, ChallengeState(works=True, except_ports=frozenset({80})))
    scene.sensors.weather = flood(HEAVY)
    scene.lasts(2)
    assert actions(scene) == {ATTACKER: Action.DROP}


def test_a_proven_peer_that_floods_is_challenged(tmp_path: Path) -> None:
    """One handshake bought immunity for ever: every SYN of 15,000 a second reached the listener."""
    scene = new_scene(tmp_path)
    scene.sensors.weather = flood(HEAVY, finished=(ATTACKER,))
    scene.lasts(3)
    assert actions(scene) == {ATTACKER: Action.CHALLENGE}


def test_a_proven_peer_is_never_refused_on_evidence_that_can_be_forged(tmp_path: Path) -> None:
    scene = new_scene(tmp_path, before=Weather(finished=(ATTACKER,)))
    scene.sensors.weather = flood(HEAVY, finished=(ATTACKER,), saturated=True)
    ticks = scene.lasts(20)
    assert {ban.action for tick in ticks for ban in tick.decision.bans} == {Action.CHALLENGE}
    scene.challenge = ChallengeState(why_not="its ACKs do not come back")
    scene.lasts(150, every=1.0)
    assert actions(scene) == {}


def test_a_source_whose_challenge_leaves_a_cpu_the_bottleneck_is_limited_and_then_dropped(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = flood(HEAVY, saturated=True)
    taken = []
    for _ in range(12):
        scene.lasts(0.5)
        taken += [one for one in actions(scene).values() if one not in taken]
    assert taken == [Action.CHALLENGE, Action.LIMIT, Action.DROP]
    assert scene.held() == {ATTACKER}
    reason = active_bans(scene)[ATTACKER].reason
    assert "drop after limit, which brought no relief: CPU 0 spends 100% of its time on received packets" in reason


def test_without_a_bottleneck_a_challenged_source_is_never_dropped_however_long_it_floods(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = flood(HEAVY)
    ticks = scene.lasts(400, every=1.0)
    assert {ban.action for tick in ticks for ban in tick.decision.bans} == {Action.CHALLENGE}
    assert actions(scene) == {ATTACKER: Action.CHALLENGE}


def test_a_ban_of_scope_all_needs_no_ladder(tmp_path: Path) -> None:
    """Whoever completes handshakes passes every challenge."""
    scene = new_scene(tmp_path)
    scene.sensors.weather = Weather(connections={ATTACKER: 2000})
    scene.lasts(10)
    assert actions(scene) == {ATTACKER: Action.DROP}


def test_everybody_on_a_port_is_challenged_in_a_flood_from_everywhere_and_no_one_is_refused(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = by_cookies(dict.fromkeys(addresses(4000), 2.5), completed_pps=40)
    ticks = scene.lasts(0.5)
    assert "0.0.0.0/0" in active_bans(scene)
    ticks += scene.lasts(4)
    ban = active_bans(scene)["0.0.0.0/0"]
    assert (ban.action, ban.ports) == (Action.CHALLENGE, (80,))
    assert ban.reason.startswith("everybody on port 80: 9,700 SYN/s from 485 addresses in 483 networks; challenged"), (
        "of the first SYNs that are counted"
    )
    assert {one.action for tick in ticks for one in tick.decision.bans} == {Action.CHALLENGE}
    assert ticks[-1].decision.flood_verdict.startswith("spoofed")


def on_ports(scene: Scene, monkeypatch: pytest.MonkeyPatch, ports: Sequence[int]) -> None:
    """Let the SYNs of the weather go to these ports in turn."""
    read, in_turn = scene.sensors.read, cycle(ports)

    def spread_over(now: float, served: frozenset[int]) -> SynSample:
        sample = read(now, served)
        return replace(sample, local_port=np.fromiter(in_turn, np.uint16, len(sample.local_port)))

    monkeypatch.setattr(scene.sensors, "read", spread_over)


@pytest.mark.parametrize("count", [11, 20, 59])
def test_everybody_is_challenged_on_however_many_ports_a_flood_is_spread_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """On a host with eleven open ports none had a tenth of the flood: no one was challenged."""
    scene = Scene(tmp_path, POLICY, config=ENFORCE, challenge=WORKS)
    on_ports(scene, monkeypatch, range(1000, 1000 + count))
    scene.sensors.weather = flood(dict.fromkeys(addresses(120), 10.0))
    scene.lasts(4)
    ports = [ban.ports for ban in scene.ledger.active_bans(scene.clock.utcnow()).values()]
    found = {port for some in ports for port in some if port >= 1000}
    assert () in ports or len(found) >= 0.9 * count, "what is left is no tenth of the flood"


def test_of_many_ports_those_on_which_no_challenge_works_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(
        tmp_path, POLICY, config=ENFORCE, challenge=ChallengeState(works=True, except_ports=frozenset({1007}))
    )
    on_ports(scene, monkeypatch, range(1000, 1040))
    scene.sensors.weather = flood(dict.fromkeys(addresses(120), 10.0))
    scene.lasts(4)
    found = scene.ledger.active_bans(scene.clock.utcnow()).values()
    ports = {port for ban in found for port in ban.ports}
    assert all(ban.ports for ban in found)
    assert len(ports) >= 35
    assert 1007 not in ports
    made = len(found)
    scene.lasts(20)
    assert len(scene.ledger.active_bans(scene.clock.utcnow())) == made


EXCEPT_22 = ChallengeState(works=True, except_ports=frozenset({22}))
MOST_NAMED = 60
"""Of the ports with small shares."""


def test_a_flood_that_shifts_over_very_many_ports_is_challenged_by_few_bans_that_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other ports were the heaviest in each tick: 80 bans in 20 ticks, as many as a minute may have."""
    scene = Scene(tmp_path, POLICY, config=ENFORCE, challenge=EXCEPT_22)
    on_ports(scene, monkeypatch, np.random.default_rng(5).permutation(np.arange(1000, 2000)).tolist())
    scene.sensors.weather = flood(dict.fromkeys(addresses(120), 20.0))
    ticks = scene.lasts(3)
    made = [ban for tick in ticks for ban in tick.decision.bans if ban.target.prefixlen == 0]
    assert len({port for ban in made for port in ban.ports if port >= 1000}) <= MOST_NAMED
    assert len(made) <= 20


def test_a_port_that_carries_a_flood_is_challenged_however_many_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, POLICY, config=ENFORCE, challenge=EXCEPT_22)
    on_ports(scene, monkeypatch, range(1000, 2000))
    scene.sensors.weather = flood(dict.fromkeys(addresses(120), 10.0))
    scene.lasts(2)
    monkeypatch.undo()
    on_ports(scene, monkeypatch, (443,))
    scene.lasts(2)
    found = scene.ledger.active_bans(scene.clock.utcnow()).values()
    assert 443 in {port for ban in found for port in ban.ports}


def test_ports_of_a_policy_that_challenges_no_one_are_left_alone_however_many_others_are_challenged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was too many ports for a ban became all of them."""
    strict = Policy(name="strict", ports="22", limits=AS_BEFORE.limits, steps=AS_BEFORE.steps)
    scene = Scene(tmp_path, strict, POLICY, config=ENFORCE, challenge=WORKS)
    on_ports(scene, monkeypatch, range(1000, 1040))
    scene.sensors.weather = flood(dict.fromkeys(addresses(120), 10.0))
    scene.lasts(2)
    found = [ban for ban in scene.ledger.active_bans(scene.clock.utcnow()).values() if ban.target.prefixlen == 0]
    assert len({port for ban in found for port in ban.ports}) >= 35
    assert all(ban.ports for ban in found)


def test_a_forged_flood_is_called_so_though_some_of_it_goes_to_ports_without_a_challenge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict went away with the first SYNs to port 22, and came and went with each port of the rest."""
    scene = Scene(tmp_path, POLICY, config=ENFORCE, challenge=EXCEPT_22)
    pps = dict.fromkeys(addresses(4000), 2.5)
    on_ports(scene, monkeypatch, [*[443] * 85, *[22] * 6, *range(1000, 1009)])
    scene.sensors.weather = by_cookies(pps, completed_pps=40)
    scene.lasts(0.3)
    scene.sensors.weather = Weather(
        syn_pps=pps, header_of=natural, completed_pps=40, cookies_pps=15, cookies_back_pps=60
    )
    ticks = scene.lasts(3)
    said = ticks[-1].decision.flood_verdict
    assert said.startswith("spoofed")
    assert ", 60 SYN cookies a second come back" in said, "it said: 60 of 15, which the listener had sent"


def test_a_port_whose_queue_is_full_is_challenged_though_most_of_the_flood_goes_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in twenty SYNs filled its queue; the others, to port 443, were a decoy."""
    scene = Scene(tmp_path, POLICY, config=ENFORCE, challenge=WORKS)
    on_ports(scene, monkeypatch, (80, *[443] * 19))
    scene.sensors.weather = flood(dict.fromkeys(addresses(120), 100.0))
    scene.lasts(4)
    assert {port for ban in active_bans(scene).values() for port in ban.ports} == {80, 443}


def test_ipv6_is_challenged_where_it_is_a_small_share_of_a_large_flood(tmp_path: Path) -> None:
    scene = Scene(tmp_path, POLICY, config=ENFORCE, challenge=WORKS)
    six = {f"2a{number:02x}:db8::{number:x}": 40.0 for number in range(60)}
    scene.sensors.weather = flood(dict.fromkeys(addresses(400), 100.0) | six)
    scene.lasts(4)
    assert {str(ban.target) for ban in active_bans(scene).values()} >= {"0.0.0.0/0", "::/0"}


@pytest.mark.parametrize(("policy", "least", "most"), [(POLICY, 0.0, 0.26), (AS_BEFORE, 0.4, 0.5)])
def test_a_wide_prefix_that_floods_a_full_queue_is_challenged_ahead_of_its_hold(
    tmp_path: Path, policy: Policy, least: float, most: float
) -> None:
    """Three times its limit, for which a drop waits half the hold of 0.4 s; a challenge refuses no one."""
    scene = new_scene(tmp_path, policy=policy)
    sources = (f"2001:db8:ba0:{32 * source:x}::1" for source in range(2000))
    scene.sensors.weather = flood(dict.fromkeys(sources, 3.0), header_of=natural)
    began = scene.clock.monotonic()
    while not active_bans(scene):
        scene.lasts(0.01)
    assert set(active_bans(scene)) == {"2001:db8:ba0::/48"}
    assert least <= scene.clock.monotonic() - began <= most


def test_a_forged_flood_that_the_program_answers_is_called_so_though_no_queue_suffers(tmp_path: Path) -> None:
    """The verdict came from queues alone: with challenges a flood from everywhere was an unnamed SYN flood."""
    scene = new_scene(tmp_path)
    pps = dict.fromkeys(addresses(4000), 2.5)
    scene.sensors.weather = by_cookies(pps, completed_pps=40)
    scene.lasts(0.3)
    scene.sensors.weather = Weather(syn_pps=pps, header_of=natural, completed_pps=40)
    ticks = scene.lasts(3)
    assert "0.0.0.0/0" in active_bans(scene)
    assert ticks[-1].decision.flood_verdict.startswith("spoofed")
    assert ticks[-1].decision.incident is not None
    assert ticks[-1].decision.incident.kind == "spoofed-flood"


def test_everybody_is_challenged_for_as_long_as_the_flood_lasts_and_minutes_longer(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = by_cookies(dict.fromkeys(addresses(1000), 3.0))
    for _ in range(4):
        scene.lasts(60, every=1.0)
        assert "0.0.0.0/0" in active_bans(scene)
    scene.sensors.weather = Weather()
    scene.lasts(1000, every=5.0)
    assert actions(scene) == {}


def test_a_crowd_that_overflows_no_queue_is_not_challenged(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = Weather(syn_pps=dict.fromkeys(addresses(3000), 0.3), completed_pps=900)
    scene.lasts(8)
    assert actions(scene) == {}


def test_a_framed_prefix_with_served_clients_is_challenged_whole(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = by_cookies(FRAMED, finished=SERVED)
    ticks = scene.lasts(5)
    assert actions(scene) == {"192.0.2.0/24": Action.CHALLENGE}
    assert {one.action for tick in ticks for one in tick.decision.bans} == {Action.CHALLENGE}


def test_without_challenges_cookies_carry_a_framed_prefix_and_no_client_of_it_is_refused(tmp_path: Path) -> None:
    """12,000 SYN/s forged over all of a /24, 50 of it served: it was banned, and 3.6 % of its new clients got in."""
    scene = new_scene(tmp_path, ChallengeState(), before=Weather(finished=SERVED))
    scene.sensors.weather = by_cookies(FRAMED, finished=SERVED)
    ticks = scene.lasts(10)
    assert actions(scene) == {}
    reasons = {v.reason for tick in ticks for v in tick.decision.verdicts if v.kind is VerdictKind.WATCH}
    why = "not banned as a whole: SYN cookies carry the flood, and 50 recently served clients live in it"
    assert why in reasons


@pytest.mark.parametrize(
    "more", [{"saturated": True}, {"cookies_pps": 0, "dropped_pps": 12_000}], ids=["a full CPU", "no cookies"]
)
def test_without_challenges_a_framed_prefix_is_refused_only_where_cookies_cannot_carry_it(
    tmp_path: Path, more: dict[str, object]
) -> None:
    scene = new_scene(tmp_path, ChallengeState(), before=Weather(finished=SERVED))
    scene.sensors.weather = by_cookies(FRAMED, finished=SERVED, **more)
    scene.lasts(10)
    assert actions(scene)["192.0.2.0/24"] is Action.DROP


@pytest.mark.parametrize("heavy", [12, 20])
def test_heavy_sources_among_served_clients_are_all_stopped_one_by_one(tmp_path: Path, heavy: int) -> None:
    """Of 20 six were banned; then the prefix was spared for its clients, and 14 went on at 400 SYN/s each for ever."""
    scene = new_scene(tmp_path, ChallengeState(), before=Weather(finished=SERVED))
    loud = dict.fromkeys((f"192.0.2.{host}" for host in range(200, 200 + heavy)), 400.0)
    clients = dict.fromkeys(SERVED, 1.0)
    scene.sensors.weather = by_cookies(loud | clients, finished=SERVED)
    scene.lasts(5)
    assert active_bans(scene).keys() == loud.keys()


def test_heavy_sources_beside_a_protected_party_are_all_stopped(tmp_path: Path) -> None:
    protected = {"192.0.2.53/32": "resolver"}
    scene = new_scene(tmp_path, ChallengeState(), before=Weather(protected=protected))
    loud = dict.fromkeys((f"192.0.2.{host}" for host in range(200, 212)), 400.0)
    scene.sensors.weather = flood(loud, protected=protected)
    scene.lasts(5)
    assert active_bans(scene).keys() == loud.keys()


def test_a_prefix_with_a_protected_party_in_it_is_challenged(tmp_path: Path) -> None:
    protected = {"192.0.2.53/32": "resolver"}
    scene = new_scene(tmp_path, before=Weather(protected=protected))
    scene.sensors.weather = flood(dict.fromkeys(FRAMED, 20.0), protected=protected)
    scene.lasts(5)
    assert actions(scene) == {"192.0.2.0/24": Action.CHALLENGE}
