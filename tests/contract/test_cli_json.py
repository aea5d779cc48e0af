"""The JSON that scripts depend on: keys and kinds of every verb that shows something."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from synguard.addresses import parse_network
from synguard.enforcer.plane import Delta
from synguard.incidents import Incident, Phase
from synguard.ledger import FalsePositives, Figure, Stretch, Track
from synguard.model import Action, Ban, Evidence, Mode, Origin, Scope, Signal, Verdict, VerdictKind
from synguard.readings import Listener
from synguard.status.freshness import AGENT_LOCK
from synguard.status.model import Status, write_status
from tests.support.cli_host import CliHost

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
BAN_KEYS = {
    "target", "scope", "action", "origin", "policy", "reason", "score", "created_at", "expires_at", "dry_run",
    "packets",
}  # fmt: skip
STATUS_KEYS = {
    "mode", "plane", "healthy", "last_reading_at", "pressure", "incidents", "bans_active", "sensors", "running",
    "agent",
}  # fmt: skip


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    return CliHost(tmp_path, monkeypatch)


def attacked(host: CliHost, dry_run: bool) -> None:
    """Let the ledger hold what an agent writes during an attack."""
    host.state.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    evidence = (Evidence(Signal.HALF_OPEN, 312, 64, (80,)),)
    ban = Ban(
        id="a1-7", target=parse_network("203.0.113.7"), scope=Scope.NEW, action=Action.DROP, origin=Origin.AUTO,
        policy="web", reason="half_open 312 / 64", created_at=now, expires_at=now + timedelta(minutes=10), ports=(80,),
        score=140.0, evidence=evidence, dry_run=dry_run,
    )  # fmt: skip
    with host.ledger() as ledger:
        ledger.add_bans([ban])
        host.plane.apply(Delta(add=() if dry_run else (ban,), frame=True))
        ledger.save_incident(Incident("i1", Phase.ATTACK, "syn-flood", now, note="port 80 is flooded"))
        ledger.record_verdicts(
            [
                Verdict(VerdictKind.SPARE, parse_network("198.51.100.1"), 120.0, "web", "proven peer", evidence),
                Verdict(VerdictKind.SPOOFED, None, 100.0, "web", "sources appear once", ()),
                Verdict(VerdictKind.WATCH, parse_network("198.51.100.2"), 40.0, "web", "over its limit", evidence),
            ],
            now,
            "i1",
        )


@pytest.mark.parametrize("dry_run", [False, True])
def test_bans(host: CliHost, dry_run: bool) -> None:
    attacked(host, dry_run)
    listed: list[dict[str, Any]] = host.run("bans", "--json").json
    assert len(listed) == 1
    assert listed[0].keys() >= BAN_KEYS
    assert listed[0]["dry_run"] is dry_run
    assert listed[0]["target"] == "203.0.113.7"
    assert RFC3339.fullmatch(listed[0]["created_at"])
    assert RFC3339.fullmatch(listed[0]["expires_at"])


def test_bans_of_a_fresh_host_are_an_empty_list(host: CliHost) -> None:
    assert host.run("bans", "--json").json == []


def test_a_permanent_ban_has_no_expiry(host: CliHost) -> None:
    host.run("ban", "203.0.113.7", "--for", "permanent")
    assert host.run("bans", "--json").json[0]["expires_at"] is None


def test_status_where_no_agent_ever_ran(host: CliHost) -> None:
    ran = host.run("status", "--json")
    assert ran.code == 0
    assert ran.json.keys() >= STATUS_KEYS
    assert (ran.json["running"], ran.json["healthy"], ran.json["bans_active"]) == (False, False, 0)


@pytest.mark.parametrize(("age_s", "stale"), [(0, False), (60, True)])
def test_status_of_a_running_agent_and_of_a_stuck_one(host: CliHost, age_s: int, stale: bool) -> None:
    import fcntl

    host.runtime.mkdir()
    last = datetime.now(UTC) - timedelta(seconds=age_s)
    write_status(
        host.runtime,
        Status(
            mode=Mode.ENFORCE, plane="fake", show_command="true", healthy=True, pid=1, started_at=last,
            last_reading_at=last, policies=("web",), bans_active=3,
        ),
    )  # fmt: skip
    with (host.runtime / AGENT_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        seen = host.run("status", "--json").json
    assert seen.keys() >= STATUS_KEYS
    assert (seen["running"], seen["stale"], seen["healthy"]) == (True, stale, not stale)
    assert (seen["mode"], seen["bans_active"]) == ("enforce", 3)
    assert RFC3339.fullmatch(seen["last_reading_at"])


def test_report(host: CliHost) -> None:
    attacked(host, dry_run=True)
    told = host.run("report", "--json").json
    assert told.keys() == host.run("report", "--format", "json").json.keys()
    assert told.keys() >= {
        "since", "until", "mode", "running", "verdict", "bans_automatic", "served_clients_touched", "worth_a_look",
        "not_known", "advice", "next", "watched", "could_be_hurt", "actions", "timeline",
    }  # fmt: skip
    assert told["timeline"].keys() >= {"since", "until", "watched_s", "gaps", "stretches"}
    for key in ("bans", "spared", "incidents", "spoofed"):
        assert len(told[key]) == 1, key
        assert told[key][0]["reason"], key
    assert told["bans"][0]["dry_run"] is True
    assert told["bans"][0]["evidence"][0]["signal"] == "half_open"
    assert told["watched"] == 1
    assert (told["bans_automatic"], told["served_clients_touched"]) == (1, None)
    assert told["timeline"]["stretches"] == []


def test_a_report_tells_the_history_and_whom_would_be_bans_touched(host: CliHost) -> None:
    attacked(host, dry_run=True)
    now = datetime.now(UTC)
    tracks = {Figure.HALF_OPEN: Track(10.0, 40.0, 0.0, 129.0)}
    with host.ledger() as ledger:
        ledger.add_history([Stretch(now - timedelta(minutes=5), 10.0, 10.0, 4.0, 1.0, tracks)])
        ledger.record_false_positives([FalsePositives("a1-7", 1, ("203.0.113.7",), now)])
    told = host.run("report", "--json").json
    (stretch,) = told["timeline"]["stretches"]
    assert stretch["half_open"] == {"mean": 4.0, "least": 0.0, "most": 129.0, "known_s": 10.0}
    assert "syns" not in stretch, "what was not known is absent"
    assert (stretch["queue_full_s"], stretch["health"]) == (4.0, "not known")
    assert told["served_clients_touched"] == 1
    assert told["touched"][0]["examples"] == ["203.0.113.7"]
    assert told["worth_a_look"][0]["target"] == "203.0.113.7"
    assert told["timeline"]["gaps"]


def test_report_into_a_file(host: CliHost, tmp_path: Path) -> None:
    attacked(host, dry_run=False)
    assert host.run("report", "-o", str(tmp_path / "report.txt")).out == ""
    assert "203.0.113.7" in (tmp_path / "report.txt").read_text()
    assert host.run("report", "-o", "/nowhere/report.txt").code == 1


def test_why(host: CliHost) -> None:
    attacked(host, dry_run=False)
    known = host.run("why", "203.0.113.7", "--json").json
    assert (known["known"], known["banned"]) == (True, True)
    assert known["bans"][0]["evidence"][0]["value"] == 312
    assert known["limits"][0]["policy"] == "default"
    unknown = host.run("why", "198.51.100.99", "--json").json
    assert (unknown["known"], unknown["banned"], unknown["bans"]) == (False, False, [])


def test_review(host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synguard.cli.review_found._BETWEEN_READS_S", 0.0)
    host.run("ban", "203.0.113.7", "--for", "5m")
    told = host.run("review", "--json").json
    assert told.keys() >= {"bans", "extended", "released"}
    assert told["bans"][0].keys() >= BAN_KEYS | {"still_hitting", "quiet_s", "times_banned"}


def test_doctor_marks_loopback_as_not_exposed_and_exits_1_where_something_is_bad(host: CliHost) -> None:
    host.listening = (
        Listener(ip_address("0.0.0.0"), 80, 128, 0, "nginx[812]"),
        Listener(ip_address("127.0.0.1"), 5432, 128, 0, "postgres[9]"),
    )
    host.problems = ("allow.txt: no such file",)
    ran = host.run("doctor", "--json")
    assert ran.code == 1
    assert [(one["port"], one["exposed"]) for one in ran.json["listeners"]] == [(80, True), (5432, False)]
    levels = {one["level"] for one in ran.json["findings"]}
    assert levels <= {"ok", "warn", "bad"}
    bad = [one for one in ran.json["findings"] if one["level"] == "bad" and one["name"] == "protected"]
    assert bad
    assert bad[0]["fix"]
    small = [one for one in ran.json["findings"] if one["name"].startswith("backlog")]
    assert [one["name"] for one in small] == ["backlog of port 80"]


def test_policy_show_and_check(host: CliHost, tmp_path: Path) -> None:
    shown = host.run("policy", "show", "--json").json
    assert shown[0].keys() >= {"name", "ports", "limits", "prefix_limits", "bans", "judges"}
    (tmp_path / "bad.toml").write_text('[[policy]]\nname = "x"\nports = "0"\nscope = "some"\n')
    ran = host.run("policy", "check", str(tmp_path / "bad.toml"), "--json")
    assert ran.code == 2
    assert len(ran.json["problems"]) == 2


def test_ban_and_unban(host: CliHost) -> None:
    made = host.run("ban", "203.0.113.7", "--json").json
    assert made["bans"][0]["target"] == "203.0.113.7"
    assert host.run("unban", "203.0.113.7", "--json").json["lifted"][0]["id"] == made["bans"][0]["id"]
