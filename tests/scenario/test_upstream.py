"""What an agent wants announced upstream while floods come and go, and what a person orders."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

from synguard.agent import upstream
from synguard.agent.upstream import UpstreamFeed
from synguard.fleet.peer import PeerRecord
from synguard.fleet.routes import Route
from synguard.model import Mode
from synguard.policy.models import Config
from tests.scenario.test_floods import ATTACKER, POLICY, rain, random_sources
from tests.support.cli_host import CliHost
from tests.support.scene import Scene

BGP = {
    "speaker": "gobgp",
    "destinations": ["192.0.2.2"],
    "sources": "discard",
    "flood_above": 5_000,
    "rate_bytes": 2_000_000,
    "next_hop": "192.0.2.254",
}
LIMIT = "to 192.0.2.2/32 port 80 SYN and not ACK: at most 2000000 bytes/s"


class Told:
    """Stands for the feeder: what it was last told."""

    def __init__(self, *_: object) -> None:
        self.routes: dict[str, float] = {}

    def want(self, routes: Mapping[Route, float], now: float, utc: datetime) -> None:
        self.routes = {str(route): left for route, left in routes.items()}

    def close(self) -> None:
        self.routes = {}


class Host(Scene):
    """A scene whose agent speaks to a network upstream."""

    def joins(self) -> Host:
        self.record = PeerRecord("gobgp", "here")
        feed = UpstreamFeed(self.agent, self.config, self.record)
        self.agent.observers.append(feed.observe)
        assert isinstance(feed._link, Told)
        self.told = feed._link
        self.lasts(1.5)
        return self


@pytest.fixture(autouse=True)
def _no_feeder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "FeederLink", Told)


def made(tmp_path: Path, mode: Mode = Mode.ENFORCE) -> Host:
    return Host(tmp_path, POLICY, config=Config.model_validate({"mode": mode, "bgp": BGP})).joins()


def test_a_flood_is_limited_upstream_until_calm_also_when_the_limit_works(tmp_path: Path) -> None:
    host = made(tmp_path)
    assert host.told.routes == {}
    rain(host, dict.fromkeys(random_sources(4000), 2.5), 3.0)
    assert host.told.routes == {LIMIT: 300.0}
    rain(host, dict.fromkeys(random_sources(40), 2.5), 3.0, drop=False)  # the limit lets this little through
    assert host.told.routes == {LIMIT: 300.0}
    host.weather.syn_pps, host.weather.half_open = {}, {}
    host.lasts(60)
    assert host.told.routes == {}


def test_a_flood_below_the_configured_rate_is_not_announced(tmp_path: Path) -> None:
    host = made(tmp_path)
    rain(host, dict.fromkeys(random_sources(1000), 2.5), 3.0)
    assert host.told.routes == {}


def test_a_source_is_announced_for_its_connections_and_never_for_its_syns(tmp_path: Path) -> None:
    host = made(tmp_path)
    rain(host, {"198.51.100.8": 500.0}, 3.0)
    assert "198.51.100.8" in host.banned()
    assert host.told.routes == {}
    host.weather.connections = {ATTACKER: 900}
    host.lasts(8)
    assert f"from {ATTACKER}/32 to 192.0.2.2/32: discard" in host.told.routes
    assert not any("198.51.100.8" in route for route in host.told.routes)


def test_a_dry_run_says_what_it_would_announce_and_announces_nothing(tmp_path: Path) -> None:
    host = made(tmp_path, Mode.DRY_RUN)
    rain(host, dict.fromkeys(random_sources(4000), 2.5), 3.0)
    assert host.told.routes == {}
    assert host.record.state.notes == ("dry-run: 1 routes would be announced", LIMIT)


def test_a_person_orders_a_blackhole_is_asked_first_and_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = made(tmp_path, Mode.DRY_RUN)
    base = tmp_path / "cli"
    base.mkdir()
    cli = CliHost(base, monkeypatch)
    cli.state = tmp_path
    bgp = "".join(f"bgp.{name} = {value!r}\n" for name, value in BGP.items())
    cli.configure(bgp)
    monkeypatch.setattr("synguard.cli.upstream.utcnow", host.clock.utcnow)
    assert cli.run("upstream", "blackhole", "192.0.2.2", "--for", "10m", stdin="n\n").code != 0
    assert cli.run("upstream", "blackhole", "203.0.113.1", "--for", "10m", "--yes").code == 3
    assert cli.run("upstream", "blackhole", "192.0.2.0/24", "--for", "10m", "--yes").code == 3
    assert cli.run("upstream", "blackhole", "192.0.2.2", "--for", "2d", "--yes").code == 3
    host.lasts(1.5)
    assert host.told.routes == {}
    assert cli.run("upstream", "blackhole", "192.0.2.2", "--for", "10m", "--yes").code == 0
    assert "192.0.2.2 until" in cli.run("upstream", "show").out
    host.lasts(1.5)
    assert list(host.told.routes) == ["blackhole 192.0.2.2/32"]
    assert cli.run("upstream", "release", "192.0.2.2").code == 0
    host.lasts(1.5)
    assert host.told.routes == {}
    assert cli.run("upstream", "blackhole", "192.0.2.2", "--for", "1m", "--yes").code == 0
    host.lasts(1.5)
    assert host.told.routes
    host.lasts(61)
    assert host.told.routes == {}
