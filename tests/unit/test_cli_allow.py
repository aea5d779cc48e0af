"""`synguard allow`: kept beside the config, in force without a reload, and never a way to lose what was there."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from synguard.addresses import parse_network
from synguard.agent.lock import AgentLock
from synguard.agent.sensor_scheduler import HostSensors, SensorScheduler
from synguard.enforcer.plane import Delta
from synguard.model import Mode
from synguard.policy.load import load_config
from synguard.policy.models import Allow, Config
from synguard.readings import KnownParts, Protected
from synguard.sensors.added_allow import PART, added_networks, read_added
from synguard.sensors.protected import read_protected
from synguard.status.protected_file import ProtectedFile
from tests.support.cli_host import CliHost
from tests.support.manual_clock import ManualClock
from tests.support.scene import FakeSensors
from tests.unit.test_cli_daily import told_by_an_agent
from tests.unit.test_protected import places

OFFICE = "203.0.113.0/24"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    host = CliHost(tmp_path, monkeypatch)
    host.state.mkdir(mode=0o700)
    host.runtime.mkdir(mode=0o700)
    return host


def added(host: CliHost) -> dict[str, str]:
    path = host.base / "allow.added.txt"
    return {str(network): reason for network, reason in added_networks(path, datetime.now(UTC), {}).items()}


def test_what_is_added_is_kept_beside_the_config_and_taken_out_again(host: CliHost) -> None:
    told = host.run("allow", "add", OFFICE, "2001:db8:7::/48", "--comment", "office")
    assert told.code == 0
    assert told.out == f"{OFFICE}, 2001:db8:7::/48: allowed; no agent runs; in force from its next start\n"
    assert added(host) == {OFFICE: "synguard allow: office", "2001:db8:7::/48": "synguard allow: office"}
    assert load_config(host.config).allow.added == host.base / "allow.added.txt"
    assert host.run("allow", "remove", OFFICE).code == 0
    assert list(added(host)) == ["2001:db8:7::/48"]


def test_bans_that_the_agent_cannot_write_down_stay_where_it_enforces(
    host: CliHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a flood with a full disk `allow add` of any address took 30 bans of attackers out of the kernel."""
    monkeypatch.setattr("synguard.cli.allow.PATIENCE_S", 0.0)
    host.run("ban", "198.51.100.7")
    (known,) = host.plane.read().bans.values()
    host.plane.apply(Delta(add=(replace(host.records()[0].ban, id="unwritten", target=ip_network("192.0.2.99")),)))
    told_by_an_agent(host, Mode.ENFORCE)
    with AgentLock(host.runtime):
        assert host.run("allow", "add", OFFICE).code == 0
    assert host.plane.read().bans.keys() == {known.ban_id, "unwritten"}


def test_an_entry_ends_by_itself_and_is_gone_from_the_file_at_the_next_change(host: CliHost) -> None:
    host.run("allow", "add", OFFICE, "--for", "8h", "--comment", "office")
    path = host.base / "allow.added.txt"
    (entry,) = read_added(path)
    assert entry.until is not None
    assert timedelta(hours=7.9) < entry.until - datetime.now(UTC) <= timedelta(hours=8)
    assert added_networks(path, entry.until - timedelta(seconds=1), {}) == {
        ip_network(OFFICE): "synguard allow: office"
    }
    assert added_networks(path, entry.until, {}) == {}
    path.write_text(f"{OFFICE}  # until 2026-03-01T11:59:59Z; office\n192.0.2.9  # until 2099-01-01T00:00:00Z\n")
    assert list(added(host)) == ["192.0.2.9/32"]
    host.run("allow", "add", "192.0.2.10")
    assert OFFICE not in path.read_text()
    assert list(added(host)) == ["192.0.2.9/32", "192.0.2.10/32"]


def test_adding_again_changes_comment_and_end(host: CliHost) -> None:
    host.run("allow", "add", OFFICE, "--for", "8h")
    host.run("allow", "add", OFFICE, "--comment", "for good")
    (entry,) = read_added(host.base / "allow.added.txt")
    assert (entry.comment, entry.until) == ("for good", None)


def test_bans_of_what_is_allowed_end_and_wider_ones_stay(host: CliHost) -> None:
    for target in ("203.0.113.7", "203.0.112.0/20", "198.51.100.7"):
        assert host.run("ban", target).code == 0
    told = host.run("allow", "add", OFFICE)
    assert "removed the ban of 203.0.113.7," in told.out
    assert host.active_bans() == {"203.0.112.0/20", "198.51.100.7/32"}
    assert host.held() == {"203.0.112.0/20", "198.51.100.7/32"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add", "0.0.0.0/0"), 3, "0.0.0.0/0 is wider than /8: no one in it can be banned; --force allows it"),
        (("add", "2001::/16"), 3, "2001::/16 is wider than /32: no one in it can be banned; --force allows it"),
        (
            ("add", "64:ff9b::/96"),
            3,
            "64:ff9b::/96 is wider than /104: no one in it can be banned; --force allows it",
        ),
        (("add", "203.0.113.1/24"), 2, "203.0.113.1/24"),
        (("add", OFFICE, "--for", "soon"), 2, "soon"),
        (("add", OFFICE, "--comment", "a # b"), 2, "--comment is one line of text without #"),
        (("add", OFFICE, "--comment", "until noon"), 2, "say --for TIME for an end"),
        (("remove", OFFICE), 1, f"{OFFICE} was not added with synguard allow: see synguard allow list"),
        (("add",), 2, "TARGET"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_and_nothing_is_written(
    host: CliHost, words: tuple[str, ...], code: int, said: str
) -> None:
    told = host.run("allow", *words)
    assert (told.code, said in told.err) == (code, True), told.err
    assert not (host.base / "allow.added.txt").exists()


def test_force_allows_a_wide_prefix(host: CliHost) -> None:
    assert host.run("allow", "add", "10.0.0.0/7", "--force").code == 0
    assert list(added(host)) == ["10.0.0.0/7"]


def test_a_part_of_what_was_added_is_not_removed_by_itself(host: CliHost) -> None:
    host.run("allow", "add", OFFICE)
    told = host.run("allow", "remove", "203.0.113.7")
    assert (told.code, OFFICE in told.err) == (1, True)
    assert list(added(host)) == [OFFICE]


def test_a_damaged_file_is_never_written_over(host: CliHost) -> None:
    path = host.base / "allow.added.txt"
    path.write_text("203.0.113.0/24\nnonsense\n")
    told = host.run("allow", "add", "192.0.2.9")
    assert (told.code, f"{path}:2" in told.err) == (2, True)
    assert path.read_text() == "203.0.113.0/24\nnonsense\n"
    path.write_text("203.0.113.0/24  # until tomorrow\n")
    assert f"{path}:1: the end of the entry is no time" in host.run("allow", "list").err


def test_the_list_shows_what_was_added_first_and_then_whom_the_host_protects(host: CliHost) -> None:
    host.run("allow", "add", OFFICE, "--comment", "office", "--for", "8h")
    lines = host.run("allow", "list").out.splitlines()
    assert lines[1].startswith(OFFICE)
    assert "synguard allow: office" in lines[1]
    assert any("default gateway via eth0" in line for line in lines[2:])
    shown = host.run("allow", "list", "--json").json
    assert [one["network"] for one in shown["entries"]] == [OFFICE]
    assert {"network": "192.0.2.254", "reason": "default gateway via eth0"} in shown["protected"]


def test_a_running_agent_is_waited_for(host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synguard.cli.allow.PATIENCE_S", 0.1)
    with AgentLock(host.runtime):
        assert "has not followed yet" in host.run("allow", "add", OFFICE).out
        ProtectedFile(host.state).write(Protected({}, parts={PART: {parse_network(OFFICE): "synguard allow"}}))
        assert "in force" in host.run("allow", "add", OFFICE).out


def test_whoever_was_added_stays_protected_when_the_file_goes_or_cannot_be_read(host: CliHost) -> None:
    host.run("allow", "add", OFFICE)
    allow = load_config(host.config).allow
    before = read_protected(allow, places())
    assert before.networks[parse_network(OFFICE)] == "synguard allow"
    path = host.base / "allow.added.txt"
    for break_it in (path.unlink, lambda: path.write_text("nonsense\n")):
        break_it()
        after = read_protected(allow, places(), before.parts)
        assert parse_network(OFFICE) in after.networks
        assert any(str(path) in problem for problem in after.problems)
    path.write_text("")
    assert parse_network(OFFICE) not in read_protected(allow, places(), before.parts).networks


def test_a_host_where_nothing_was_added_has_no_problem(host: CliHost) -> None:
    assert read_protected(load_config(host.config).allow, places()).problems == ()


def test_the_agent_reads_anew_at_its_next_tick_when_the_file_was_written(tmp_path: Path) -> None:
    path = tmp_path / "allow.added.txt"
    config = Config(state_dir=tmp_path)
    config = config.model_copy(update={"allow": config.allow.with_added(path)})
    sensors = FakeSensors(ManualClock(), 80)
    reads: list[float] = []

    def read(_: Allow, known: KnownParts) -> Protected:
        reads.append(len(reads))
        return Protected({})

    host = HostSensors(sensors, sensors, sensors.counters, sensors.finished_peers, read)
    scheduler = SensorScheduler(config, host)
    every = config.cadence.protected
    for now in (0.0, 0.2, 0.4):
        scheduler.protected(now, {})
    assert len(reads) == 1
    path.write_text(OFFICE)
    scheduler.protected(0.6, {})
    scheduler.protected(0.8, {})
    assert len(reads) == 2
    scheduler.protected(0.6 + every, {})
    assert len(reads) == 3


def test_host_names_are_followed_by_a_verb_and_keep_what_cannot_be_looked_up(
    host: CliHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"vpn.example.net": ["198.51.100.7", "2001:db8::7"], "gone.example.net": ["198.51.100.9"]}

    def look_up(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if name not in answers:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (address, 0)) for address in answers[name] * 2]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    host.run("allow", "add", "192.0.2.10", "--comment", "kept")
    assert host.run("allow", "add", *answers, "--resolve", "--comment", "mine", "--for", "7d").code == 0
    assert added(host)["198.51.100.7/32"] == "synguard allow: vpn.example.net: mine"
    answers |= {"vpn.example.net": ["198.51.100.8"]}
    del answers["gone.example.net"]
    told = host.run("allow", "resolve")
    assert (told.code, "gone.example.net cannot be looked up" in told.err) == (1, True)
    assert set(added(host)) == {"192.0.2.10/32", "198.51.100.8/32", "198.51.100.9/32"}
    entry = next(one for one in read_added(host.base / "allow.added.txt") if str(one.network) == "198.51.100.8/32")
    assert (entry.name, entry.comment, entry.until is not None) == ("vpn.example.net", "mine", True)
    written = (host.base / "allow.added.txt").stat().st_mtime_ns
    assert host.run("allow", "resolve", "--json").json["failed"].keys() == {"gone.example.net"}
    assert (host.base / "allow.added.txt").stat().st_mtime_ns == written
    assert host.run("allow", "remove", "vpn.example.net").code == 0
    assert set(added(host)) == {"192.0.2.10/32", "198.51.100.9/32"}
    for bad in ("-x", "a b", "x" * 300):
        assert host.run("allow", "add", "--resolve", "--", bad).code == 1
