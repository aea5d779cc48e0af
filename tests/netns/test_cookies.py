"""A random flood on a host that has SYN cookies off: the agent turns them on, and the old value comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeLab
from tests.support.lab.agent import Agent
from tests.support.lab.client_plan import steady
from tests.support.lab.flood_plan import anywhere
from tests.support.lab.lab import Clients, Lab, SynFlood
from tests.support.lab.programs import wait_for
from tests.support.lab.setting_watch import SettingWatch, start_setting_watch
from tests.support.lab.topology import Victim
from tests.support.protection import NO_CHALLENGES, PPS, SMALL_PPS, banned, finished, flood_of, wait_for_attempts

pytestmark = pytest.mark.kernel

FRAIL = Victim(syncookies=0, backlog=128)
CUT = Victim(syncookies=0, backlog=511, max_syn_backlog=128)
"""Where the kernel turns clients away at 97 half-open connections, and no counter speaks of a full queue."""
CALM_SOON = f'{NO_CHALLENGES}[incident]\ncalm_for = "1s"\n'
BRIEF_HANDSHAKES = {"net.ipv4.tcp_synack_retries": 1}
"""Half-open sockets that a flood leaves are gone after 3 s instead of a minute, and the incident with them."""


def cookies(lab: Lab) -> int:
    return int(lab.victim.run(["cat", "/proc/sys/net/ipv4/tcp_syncookies"]))


def frail_lab(make_lab: MakeLab, tuning: Victim = FRAIL) -> Lab:
    lab = make_lab(tuning)
    lab.victim.sysctl(BRIEF_HANDSHAKES)
    lab.serve()
    return lab


def under_flood(lab: Lab, pps: float = PPS) -> tuple[Clients, SynFlood, SettingWatch]:
    """Clients that keep coming, then a flood of addresses from everywhere."""
    watch = start_setting_watch(lab)
    clients = lab.start_clients(steady(clients=40, rate=60, duration_s=120))
    wait_for_attempts(clients, 0.0, 10)
    return clients, lab.start_flood(flood_of(anywhere(4), pps=pps)), watch


def notes(agent: Agent) -> list[Path]:
    return [path for home in (agent.state_dir, agent.runtime_dir) for path in home.glob("syn-cookies*")]


@pytest.mark.parametrize("tuning", [FRAIL, CUT], ids=["backlog 128", "tcp_max_syn_backlog 128"])
def test_cookies_go_on_within_moments_clients_are_served_and_the_old_value_comes_back(
    make_lab: MakeLab, tuning: Victim
) -> None:
    lab = frail_lab(make_lab, tuning)
    agent = lab.agent(CALM_SOON)
    agent.start("--enforce")
    meter = lab.start_meter()
    clients, flood, watch = under_flood(lab)
    on_at = watch.became(1)
    wait_for(lambda: agent.ask("status")["verdict"].startswith("spoofed: "), "the verdict", every=0.2)
    wait_for_attempts(clients, on_at)
    during = agent.ask("status")
    siege = finished(meter, clients, flood, None)
    served = siege.attempts.between(on_at, siege.until)
    print(f"\ncookies on {on_at - flood.first_at:.3f} s after the first SYN; then {served.share:.1%} of {len(served)}")
    assert served.share >= 0.99, served.outcomes()
    assert siege.reach.reached_pps(on_at, siege.until) > 9_000
    assert banned(agent) == {}
    assert [(one["before"], one["now"], one["dry_run"]) for one in during["countermeasures"]] == [(0, 1, False)]
    assert "countermeasure: turned SYN cookies on" in text_of(agent, during)
    watch.became(0)
    wait_for(lambda: not agent.ask("status")["incidents"], "the incident to end", every=0.2)
    report = agent.ask("report")
    assert [one["text"].split(":")[0] for one in reversed(actions(report))] == [
        "turned SYN cookies on",
        "put net.ipv4.tcp_syncookies back to 0",
    ]
    assert "turned SYN cookies on" in report["incidents"][0]["reason"]
    assert notes(agent) == []


def text_of(agent: Agent, status: dict[str, object]) -> str:
    from synguard.status.overview import overview_lines

    return "\n".join(overview_lines(status))


def actions(report: dict[str, object]) -> list[dict[str, str]]:
    return [one for one in report["actions"] if one["kind"] == "syn-cookies"]  # type: ignore[attr-defined]


def test_after_a_kill_the_next_agent_keeps_them_on_through_the_attack_and_puts_the_old_value_back(
    make_lab: MakeLab,
) -> None:
    lab = frail_lab(make_lab)
    agent = lab.agent(CALM_SOON)
    agent.start("--enforce")
    clients, flood, watch = under_flood(lab)
    on_at = watch.became(1)
    agent.kill()
    agent.start("--enforce")
    wait_for_attempts(clients, on_at, 180)
    assert cookies(lab) == 1
    clients.stop()
    attempts = clients.attempts().between(on_at)
    flood.stop()
    watch.became(0)
    assert watch.changes() == [0, 1, 0]
    assert attempts.share >= 0.99, attempts.outcomes()
    assert notes(agent) == []


def test_an_agent_that_starts_when_the_attack_is_long_over_puts_the_old_value_back(make_lab: MakeLab) -> None:
    lab = frail_lab(make_lab)
    agent = lab.agent(CALM_SOON)
    agent.start("--enforce")
    clients, flood, watch = under_flood(lab, SMALL_PPS)
    watch.became(1)
    agent.kill()
    clients.stop()
    flood.stop()
    assert cookies(lab) == 1
    assert [one["level"] for one in findings(agent) if one["name"] == "SYN cookies"] == ["warn"]
    agent.start("--enforce")
    watch.became(0)


def findings(agent: Agent) -> list[dict[str, str]]:
    """Return what the doctor finds, whatever its exit code."""
    import json

    return list(json.loads(agent.verb("doctor", "--json").stdout)["findings"])


@pytest.mark.parametrize("verb", [True, False], ids=["flush", "SIGTERM"])
def test_flush_and_an_orderly_end_put_the_old_value_back_in_the_midst_of_a_flood(make_lab: MakeLab, verb: bool) -> None:
    lab = frail_lab(make_lab)
    agent = lab.agent(NO_CHALLENGES)
    agent.start("--enforce")
    clients, flood, watch = under_flood(lab, SMALL_PPS)
    watch.became(1)
    if verb:
        agent.kill()
        done = agent.verb("flush", "--yes")
        assert "net.ipv4.tcp_syncookies is 0 again" in done.stdout, done
    else:
        assert agent.stop() == 0
    assert cookies(lab) == 0
    assert notes(agent) == []
    clients.stop()
    flood.stop()


def test_a_value_that_the_operator_sets_meanwhile_stays(make_lab: MakeLab) -> None:
    lab = frail_lab(make_lab)
    agent = lab.agent(CALM_SOON)
    agent.start("--enforce")
    clients, flood, watch = under_flood(lab, SMALL_PPS)
    watch.became(1)
    lab.victim.sysctl({"net.ipv4.tcp_syncookies": 2})
    wait_for(lambda: not agent.ask("status")["countermeasures"], "the agent to let go", every=0.2)
    clients.stop()
    flood.stop()
    wait_for(lambda: not agent.ask("status")["incidents"], "calm", 30, every=0.2)
    assert agent.stop() == 0
    assert cookies(lab) == 2
    assert watch.changes() == [0, 1, 2]
    assert "leaving net.ipv4.tcp_syncookies at 2" in actions(agent.ask("report"))[0]["text"]


def test_a_dry_run_changes_nothing_and_says_what_it_would_have_done(make_lab: MakeLab) -> None:
    lab = frail_lab(make_lab)
    agent = lab.agent(NO_CHALLENGES)
    agent.start("--dry-run")
    clients, flood, watch = under_flood(lab, SMALL_PPS)
    wait_for(lambda: agent.ask("status")["countermeasures"], "the countermeasure of the dry-run", every=0.2)
    [told] = agent.ask("status")["countermeasures"]
    clients.stop()
    flood.stop()
    assert told["dry_run"]
    assert told["text"].startswith("would turn SYN cookies on")
    assert [one["text"] for one in actions(agent.ask("report"))] == [
        "would turn SYN cookies on: a SYN queue is full and turns clients away (net.ipv4.tcp_syncookies was 0)"
    ]
    assert watch.changes() == [0]
    assert notes(agent) == []
