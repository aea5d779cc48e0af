"""Small things that people meet every day: what a verb says where it has nothing to show, or too much."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from unittest.mock import Mock

import pytest

from synguard.agent.lock import AgentLock
from synguard.model import Mode
from synguard.readings import Listener
from synguard.status.model import CapacityStatus, Status, write_status
from tests.support.cli_host import CliHost


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    return CliHost(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "choice", [("--expiring", "1m"), ("--origin", "auto"), ("--target", "192.0.2.7")], ids=lambda words: words[0]
)
def test_bans_that_stand_are_not_denied_where_none_is_what_was_asked_for(
    host: CliHost, choice: tuple[str, str]
) -> None:
    host.run("ban", "203.0.113.7", "--for", "1h")
    assert "no active ban matches" in host.run("bans", *choice).out
    host.run("unban", "203.0.113.7")
    assert host.run("bans", *choice).out == "no active bans\n"


def test_bans_since_a_time_are_those_that_ended_too(host: CliHost) -> None:
    host.run("ban", "203.0.113.7")
    host.run("unban", "203.0.113.7")
    assert host.run("bans", "--json").json == []
    (ended,) = host.run("bans", "--since", "1h", "--json").json
    assert (ended["target"], ended["active"]) == ("203.0.113.7", False)


def test_a_shipped_policy_that_is_not_in_effect_is_shown_and_said_not_to_be(host: CliHost) -> None:
    ran = host.run("policy", "show", "--policy", "web")
    assert ran.code == 0
    assert "web" in ran.out
    assert ran.err == "web is not in effect here; the pack that has it is shipped\n"
    assert host.run("policy", "show", "--policy", "default").err == ""


def test_a_config_is_checked_as_a_config(host: CliHost) -> None:
    checked = host.run("policy", "check", str(host.config))
    assert (checked.code, "ok, a config with default judges any" in checked.out) == (0, True)
    host.configure('policies = ["nothing"]\n')
    assert host.run("policy", "check", str(host.config)).code == 2
    host.configure('colour = "blue"\n')
    faulty = host.run("policy", "check", str(host.config))
    assert faulty.code == 2
    assert "policy" not in faulty.err.replace("policy check", "")


@pytest.mark.parametrize("verb", ["show", "check"])
def test_an_allow_list_that_cannot_be_read_is_a_fault_of_the_config(host: CliHost, verb: str) -> None:
    """`policy show` promises every fault of the file, and said nothing while automatic bans were suspended for it."""
    (host.base / "allow.txt").write_text("203.0.113.7\nnobody\n", encoding="utf-8")
    host.configure('[allow]\nfiles = ["allow.txt"]\n')
    ran = host.run("policy", verb, *([str(host.config)] if verb == "check" else ()))
    assert ran.code == 2
    assert "allow.txt" in ran.err


def test_five_thousand_listeners_do_not_make_a_doctor_of_twenty_thousand_lines(host: CliHost) -> None:
    host.listening = tuple(Listener(ip_address("0.0.0.0"), port, 128, 0, "many[7]") for port in range(2000, 7000))
    ran = host.run("doctor")
    assert len(ran.out.splitlines()) < 150
    assert "and 4,980 more" in ran.out
    assert "… and 4,950 more listeners" in ran.out
    assert len(host.run("doctor", "--json").json["listeners"]) == 5000


def test_a_ban_says_what_it_cannot_see_and_what_link_local_addresses_are(host: CliHost) -> None:
    """UDP has no connections: a ban of everything cut a VPN whose preview had said that nothing was connected."""
    assert "no TCP connections now; only connected UDP sockets" in host.run("ban", "203.0.113.7", "--dry-run").out
    host.connect_udp("203.0.113.7")
    assert "; 1 UDP socket is connected to it and cut off" in host.run("ban", "203.0.113.7", "--dry-run").out
    assert "UDP" not in host.run("ban", "203.0.113.7", "--scope", "new", "--dry-run").out
    assert "169.254.169.254" in host.run("ban", "169.254.0.0/16", "--dry-run").out


def told_by_an_agent(host: CliHost, mode: Mode) -> None:
    now = datetime.now(UTC)
    host.runtime.mkdir(mode=0o700, exist_ok=True)
    write_status(
        host.runtime,
        Status(
            mode=mode, plane="dry-run", show_command="true", healthy=True, pid=7, started_at=now, last_reading_at=now,
            policies=("web",),
            ceilings=(CapacityStatus(name="sg-v4-new", used=7, ceiling=100, key="ceilings.members"),),
        ),
    )  # fmt: skip


def test_status_beside_a_dry_run_shows_bans_that_stand_for_real_and_no_sets_that_are_not_filled(
    host: CliHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.run("ban", "203.0.113.7")
    monkeypatch.setattr("synguard.cli.status.agent_runs", lambda _: True)
    told_by_an_agent(host, Mode.DRY_RUN)
    shown = host.run("status").out
    assert "active bans, made by hand or before the dry-run: 1" in shown
    assert "sg-v4-new" not in shown
    told_by_an_agent(host, Mode.ENFORCE)
    assert "sg-v4-new: 7 of 100" in host.run("status").out


@pytest.mark.parametrize(("mode", "told"), [(Mode.DRY_RUN, "the next ban by hand"), (Mode.ENFORCE, "puts them back")])
def test_flush_says_what_the_agent_that_runs_makes_of_it(
    host: CliHost, monkeypatch: pytest.MonkeyPatch, mode: Mode, told: str
) -> None:
    monkeypatch.setattr("synguard.enforcer.flush.flush_kernel", lambda: None)
    told_by_an_agent(host, mode)
    with AgentLock(host.runtime):
        assert told in host.run("flush", "--yes").out


@pytest.mark.parametrize(("mode", "runs"), [(Mode.ENFORCE, True), (Mode.DRY_RUN, True), (Mode.ENFORCE, False)])
def test_flush_leaves_the_settings_of_challenges_to_an_agent_that_enforces(
    host: CliHost, monkeypatch: pytest.MonkeyPatch, mode: Mode, runs: bool
) -> None:
    """It put them back amid a flood; the agent took that for another program's wish, and dropped SYNs instead."""
    put_back = Mock()
    monkeypatch.setattr("synguard.enforcer.flush.flush_kernel", lambda: None)
    monkeypatch.setattr("synguard.cli.flush.put_back_all", put_back)
    told_by_an_agent(host, mode)
    with AgentLock(host.runtime) if runs else nullcontext():
        assert host.run("flush", "--yes").code == 0
    assert put_back.called is not (runs and mode is Mode.ENFORCE)
