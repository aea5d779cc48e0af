"""Each half of the membership alone, and that neither touches an agent that is not a member."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from synguard.fleet.decisions import CrowdSecDecision
from synguard.fleet.plan import Plan, plan
from synguard.ledger import Ledger
from synguard.ledger.arrivals import ActiveRow
from synguard.model import Evidence, Origin, Scope, Signal
from synguard.policy.models import Config
from tests.support.bans import ban
from tests.unit.test_fleet_hostile import KEY, Given, Server, followed, item, says
from tests.unit.test_fleet_operator import lasts_until, member, members

EMPTY = says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")


def test_an_agent_that_is_no_member_has_no_peer_no_thread_and_no_process(tmp_path: Path) -> None:
    threads = psutil.Process().num_threads()
    with member(tmp_path) as scene:
        assert psutil.Process().num_threads() == threads
        assert not members()
        assert not scene.agent.conditions.all


@pytest.mark.parametrize(
    ("half", "asks", "never"),
    [
        ({"api_key": KEY}, b"/v1/decisions/stream", b"/v1/watchers"),
        ({"machine_id": "web-1", "password": KEY}, b"", b"/v1/decisions/stream"),
    ],
    ids=["decisions alone", "alerts alone"],
)
def test_each_half_may_be_used_alone(half: dict[str, str], asks: bytes, never: bytes, tmp_path: Path) -> None:
    server = Server(EMPTY)
    with member(tmp_path, crowdsec={"url": server.url, **half}) as scene:
        lasts_until(scene, lambda: asks in b"".join(server.asked))
        scene.lasts(2)
    server.close()
    assert never not in b"".join(server.asked)


@pytest.mark.parametrize(
    ("crowdsec", "why"),
    [
        ({"url": "http://127.0.0.1:1"}, "give one of them, or both"),
        ({"api_key": KEY}, "url is missing"),
        ({"url": "http://u:p@127.0.0.1:1", "api_key": KEY}, "machine_id"),
        ({"url": "ftp://127.0.0.1", "api_key": KEY}, "http"),
        ({"url": "http://127.0.0.1:1", "machine_id": "m"}, "belong together"),
    ],
)
def test_a_half_membership_is_a_fault_of_the_config(crowdsec: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Config.model_validate({"crowdsec": crowdsec})


NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TARGET = "203.0.113.9"


def planned(local_s: float, decision_s: float) -> Plan:
    """What is changed where this host bans a target for some seconds, and a decision about it lasts for others."""
    now_s = round(NOW.timestamp())
    decision = CrowdSecDecision(TARGET, "ban", "s (CrowdSec, origin synguard)", now_s + round(decision_s))
    return plan(
        {TARGET: decision},
        [ActiveRow("a1", TARGET, Origin.AUTO, Scope.ALL, round((now_s + local_s) * 1e6))],
        protected=(),
        overruled=frozenset(),
        now=NOW,
        gap=timedelta(seconds=20),
    )


@pytest.mark.parametrize(
    ("local_s", "decision_s", "added"), [(600, 600, 0), (10, 9, 0), (10, 12, 0), (600, 3600, 0), (10, 3600, 1)]
)
def test_a_decision_takes_the_place_of_a_local_ban_only_to_outlast_it(
    local_s: float, decision_s: float, added: int
) -> None:
    """A host's own decision came back and replaced its ban for the last 20 s: that ban was never renewed."""
    change = planned(local_s, decision_s)
    assert len(change.add) == added
    assert change.local == 1 - added


def test_an_unban_by_hand_is_not_undone_by_this_hosts_own_decision_that_is_not_withdrawn_yet(tmp_path: Path) -> None:
    """The local API was away for alerts: the next poll banned the target again, for as long as the ban had lasted."""
    now = datetime.now(UTC)
    evidence = (Evidence(Signal.CONNECTIONS, 700.0, 400.0),)
    own = replace(ban("a1", "203.0.113.9", Scope.ALL, start=now, seconds=600), evidence=evidence)
    with Ledger.open(tmp_path / "l.db") as ledger:
        ledger.add_bans([own])
        ledger.end_bans(["a1"], now + timedelta(seconds=1), "unbanned by hand")
    answer = {"new": [item("203.0.113.9", "599s", origin="synguard"), item("203.0.113.8", "599s")]}
    bans, _ = followed(Given(answer), tmp_path)
    assert set(bans) == {"203.0.113.8/32"}
