"""Whom dry-run's bans would have turned away, as the agent sees it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from synguard.agent.false_positives import MOST_COUNTED, FalsePositiveWatch
from synguard.agent.tick import Tick
from synguard.decision.engine import Decision
from synguard.detector.assessment import Assessment
from synguard.ledger import OVERLOOKED, FalsePositives, Ledger
from synguard.model import Evidence, Mode, Scope, Signal
from synguard.policy.load import load_policies
from synguard.policy.models import Config
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane
from tests.support.manual_clock import START
from tests.support.scene import Scene
from tests.support.traffic import columns


class DryRunScene(Scene):
    """A scene with a witness, in which 198.18.7.0/24 floods the web server."""

    def __init__(self, tmp_path: Path, mode: Mode = Mode.DRY_RUN) -> None:
        config = Config(mode=mode)
        super().__init__(
            tmp_path, *load_policies(config), config=config, plane=None if mode is Mode.DRY_RUN else FakePlane()
        )
        self.witness = FalsePositiveWatch(self.ledger, config.proven.lifetime, lambda: mode is Mode.DRY_RUN)
        self.agent.observers.append(self.witness.observe)

    def floods(self) -> None:
        self.weather.half_open = {f"198.18.7.{n}": 1 for n in range(1, 129)}
        self.weather.syn_pps = {f"198.18.7.{n}": 80.0 for n in range(1, 129)}
        self.weather.dropped_pps = 9000.0

    def told(self) -> list[FalsePositives]:
        self.witness.close()
        return list(self.ledger.false_positives_since(START - timedelta(days=1)).values())


@pytest.fixture
def scene(tmp_path: Path) -> DryRunScene:
    scene = DryRunScene(tmp_path)
    scene.weather.connections = {"203.0.113.5": 2, "198.18.7.200": 1}
    scene.lasts(60)
    scene.floods()
    scene.lasts(10)
    assert "198.18.7.0/24" in scene.banned()
    return scene


def test_a_client_that_was_served_before_the_ban_is_not_touched(scene: DryRunScene) -> None:
    scene.lasts(20)
    assert scene.told() == []


def test_a_client_that_comes_while_the_ban_would_stand_is_touched_and_named(scene: DryRunScene) -> None:
    scene.weather.connections |= {"198.18.7.201": 1, "192.0.2.44": 1}
    scene.lasts(20)
    (one,) = scene.told()
    assert (one.clients, one.examples) == (1, ("198.18.7.201",))
    bans = {record.ban.id: str(record.ban.target) for record in scene.ledger.bans_since(START)}
    assert bans[one.ban_id] == "198.18.7.0/24"


def test_a_client_that_comes_twice_is_one(scene: DryRunScene) -> None:
    scene.weather.connections["198.18.7.201"] = 1
    scene.lasts(10)
    scene.weather.connections.pop("198.18.7.201")
    scene.lasts(10)
    scene.weather.connections["198.18.7.201"] = 3
    scene.lasts(10)
    assert sum(one.clients for one in scene.told()) == 1


def test_after_the_end_of_a_ban_nobody_is_touched(scene: DryRunScene) -> None:
    scene.weather.half_open = scene.weather.syn_pps = {}
    scene.weather.cookies_pps = 0.0
    scene.lasts(900, every=1.0)
    assert scene.banned() == set()
    scene.weather.connections["198.18.7.201"] = 1
    scene.lasts(20)
    assert scene.told() == []


def test_an_agent_that_has_just_started_counts_nobody_until_it_knows_who_is_served(scene: DryRunScene) -> None:
    scene.restarts()
    scene.witness = FalsePositiveWatch(scene.ledger, 600.0, lambda: True)
    scene.agent.observers.append(scene.witness.observe)
    scene.weather.connections["198.18.7.201"] = 1
    scene.lasts(25)
    assert scene.told() == []


def test_a_crowd_in_a_banned_network_is_counted_to_a_bound(scene: DryRunScene) -> None:
    scene.weather.connections |= {f"198.18.7.{n}": 1 for n in range(256)}
    scene.lasts(20)
    told = scene.told()
    assert 200 < sum(one.clients for one in told) <= len(told) * MOST_COUNTED
    assert all(len(one.examples) <= 8 for one in told)


def test_a_ledger_in_use_is_not_waited_for_and_nothing_is_lost(scene: DryRunScene, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    scene.weather.connections["198.18.7.201"] = 1
    other.execute("BEGIN IMMEDIATE")
    scene.witness.close()
    other.execute("ROLLBACK")
    other.close()
    scene.lasts(10)
    assert sum(one.clients for one in scene.told()) == 1


def test_an_agent_that_enforces_counts_nobody(tmp_path: Path) -> None:
    scene = DryRunScene(tmp_path, Mode.ENFORCE)
    scene.lasts(40)
    scene.floods()
    scene.lasts(10)
    assert scene.banned()
    scene.weather.connections = {"198.18.7.201": 1}
    scene.lasts(10)
    assert scene.told() == []


def test_a_network_banned_for_its_connections_meets_its_own_offenders_and_only_others_count(tmp_path: Path) -> None:
    """Clients of before are cut off by a ban of scope all, so they count; forty of those who come are the offenders."""
    evidence = Evidence(Signal.CONNECTIONS, 4000.0, 3000.0, (80,), sources=40)
    wide = replace(ban("wide", "198.18.9.0/24", Scope.ALL, start=START, dry_run=True), evidence=(evidence,))
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        witness = FalsePositiveWatch(ledger, 600.0, lambda: True)
        peers = columns([f"198.18.9.{n}" for n in range(1, 44)])
        for second in range(40):
            witness.observe(Tick(Assessment(second, completed=peers), Decision()), second, START)
        witness.observe(Tick(Assessment(40), Decision(bans=(wide,))), 40, START)
        witness.observe(Tick(Assessment(41, completed=peers), Decision()), 41, START)
        witness.close()
        (one,) = ledger.false_positives_since(START).values()
        assert (one.ban_id, one.clients, one.examples) == ("wide", 3, ())


def test_whom_a_ban_behind_a_translator_touches_is_asked_as_of_any_other_network(tmp_path: Path) -> None:
    wide = ban("wide", "2001:db8:64::c612:900/120", Scope.ALL, start=START, dry_run=True)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        witness = FalsePositiveWatch(ledger, 600.0, lambda: True, lambda: (IPv6Network("2001:db8:64::/96"),))
        peers = columns(["2001:db8:64::198.18.9.1", "2001:db8:64::198.18.9.2"])
        witness.observe(Tick(Assessment(0, completed=peers), Decision()), 0, START)
        witness.observe(Tick(Assessment(40), Decision(bans=(wide,))), 40, START)
        witness.observe(Tick(Assessment(41, completed=peers), Decision()), 41, START)
        witness.close()
        assert ledger.false_positives_since(START)["wide"].clients == 1


def test_more_clients_than_can_be_looked_at_in_a_tick_are_not_and_are_learnt_anew_afterwards(
    scene: DryRunScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synguard.agent.false_positives.MOST_READ", 50)
    scene.weather.connections |= {f"198.18.7.{n}": 1 for n in range(150)}
    scene.lasts(10)
    scene.weather.connections = {f"198.18.7.{n}": 1 for n in range(20)}
    scene.lasts(10)
    assert scene.told() == []
    assert [one.kind for one in scene.ledger.actions_since(START)].count(OVERLOOKED) == 1, "said once"
