"""What the doctor says of SYN cookies and queues: the reason, and a command that can be pasted."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest

from synguard.doctor.findings import Finding, Level
from synguard.doctor.host_checks import listener_findings
from synguard.doctor.queue_checks import queue_findings
from synguard.enforcer.sysctl import ALWAYS
from synguard.enforcer.sysctl_note import SysctlNoteFile, note_directories
from synguard.model import Mode
from synguard.policy.models import Config, Countermeasure
from synguard.readings import Listener

AUTO, NEVER = Countermeasure(), Countermeasure(syn_cookies="never")


def listens(backlog: int, port: int = 80, process: str = "nginx[812]") -> Listener:
    return Listener(ip_address("0.0.0.0"), port, backlog, 0, process)


def found(
    tmp_path: Path, *exposed: Listener, cookies: int = 1, somaxconn: int = 4096, backlog: int = 4096, config: Config
) -> dict[str, Finding]:
    for name, value in (
        ("ipv4/tcp_syncookies", cookies),
        ("core/somaxconn", somaxconn),
        ("ipv4/tcp_max_syn_backlog", backlog),
    ):
        path = tmp_path / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return {one.name: one for one in queue_findings(config, exposed, tmp_path / "sys")}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(mode=Mode.ENFORCE, state_dir=tmp_path, runtime_dir=tmp_path)


def test_a_host_in_order_is_told_nothing_to_do(tmp_path: Path, config: Config) -> None:
    told = found(tmp_path, listens(511), config=config)
    assert {one.level for one in told.values()} == {Level.OK}
    assert not any(one.fix for one in told.values())


@pytest.mark.parametrize(("value", "told"), [(1, "on when a queue"), (2, "always on"), (3, "on when"), (255, "on")])
def test_only_two_means_always_and_what_is_above_it_means_one(
    tmp_path: Path, config: Config, value: int, told: str
) -> None:
    reason = found(tmp_path, cookies=value, config=config)["SYN cookies"].reason
    assert reason.startswith(told)
    assert ("always" in reason) is (value == 2)


@pytest.mark.parametrize(
    ("mode", "measure", "level"),
    [(Mode.ENFORCE, AUTO, Level.WARN), (Mode.ENFORCE, NEVER, Level.BAD), (Mode.DRY_RUN, AUTO, Level.BAD)],
)
def test_cookies_that_are_off_are_worse_where_no_agent_would_turn_them_on(
    tmp_path: Path, config: Config, mode: Mode, measure: Countermeasure, level: Level
) -> None:
    config = config.model_copy(update={"mode": mode, "countermeasure": measure})
    finding = found(tmp_path, cookies=0, config=config)["SYN cookies"]
    assert finding.level is level
    assert finding.fix == (
        "sysctl -w net.ipv4.tcp_syncookies=1 && echo 'net.ipv4.tcp_syncookies = 1' >> /etc/sysctl.d/60-synguard.conf"
    )


def test_cookies_that_synguard_holds_on_are_not_taken_for_the_operator_s(tmp_path: Path, config: Config) -> None:
    SysctlNoteFile(note_directories(config)).write(0, datetime.now(UTC))
    finding = found(tmp_path, cookies=1, config=config)["SYN cookies"]
    assert finding.level is Level.WARN
    assert "the value before, 0, comes back at calm" in finding.reason
    assert "after the incident: sysctl -w net.ipv4.tcp_syncookies=1" in finding.fix


def test_cookies_that_were_on_before_challenges_need_no_fix(tmp_path: Path, config: Config) -> None:
    """In the midst of a flood, doctor and report advised to set 1: that ends the challenges that carry it."""
    SysctlNoteFile(note_directories(config)).write(1, datetime.now(UTC), ALWAYS)
    assert found(tmp_path, cookies=ALWAYS, config=config)["SYN cookies"].level is Level.OK


def test_a_queue_that_somaxconn_cuts_is_named(tmp_path: Path, config: Config) -> None:
    finding = found(tmp_path, listens(128), listens(128, 443), listens(50, 25), somaxconn=128, config=config)[
        "somaxconn"
    ]
    assert finding.level is Level.WARN
    assert "the queue of port 80,443 is cut to it" in finding.reason
    assert finding.fix.startswith("sysctl -w net.core.somaxconn=4096 && ")
    assert finding.fix.endswith("; then restart what listens there")


@pytest.mark.parametrize(
    ("cookies", "setting", "backlog", "level"),
    [(0, 512, 511, Level.WARN), (0, 512, 384, Level.OK), (1, 512, 511, Level.OK), (0, 1024, 511, Level.OK)],
)
def test_tcp_max_syn_backlog_matters_only_without_cookies_and_at_three_quarters(
    tmp_path: Path, config: Config, cookies: int, setting: int, backlog: int, level: Level
) -> None:
    told = found(tmp_path, listens(backlog), cookies=cookies, backlog=setting, config=config)
    finding = told["tcp_max_syn_backlog"]
    assert finding.level is level
    if level is Level.WARN:
        assert "turned away from 384 half-open connections on, though port 80 holds 511" in finding.reason
        assert finding.fix.startswith("sysctl -w net.ipv4.tcp_max_syn_backlog=1024 && ")


@pytest.mark.parametrize("backlog", [129, 385, 511, 768, 1023, 1024, 4096, 65535])
def test_the_advised_tcp_max_syn_backlog_is_enough(tmp_path: Path, config: Config, backlog: int) -> None:
    command = found(tmp_path, listens(backlog), cookies=0, backlog=128, config=config)["tcp_max_syn_backlog"].fix
    advised = int(command.split()[2].partition("=")[2])
    again = found(tmp_path, listens(backlog), cookies=0, backlog=advised, config=config)["tcp_max_syn_backlog"]
    assert again.level is Level.OK


def test_settings_that_cannot_be_read_are_told_of(tmp_path: Path, config: Config) -> None:
    told = list(queue_findings(config, [], tmp_path))
    assert [one.level for one in told] == [Level.WARN] * 3


@pytest.mark.parametrize(
    ("process", "fix"),
    [
        ("nginx[812]", "listen 8080 backlog=4096;"),
        ("haproxy[3]", "backlog 4096"),
        ("own[4]", "to listen(), to 4096"),
        ("", "to listen(), to 4096"),
    ],
)
def test_a_short_queue_comes_with_the_way_to_lengthen_it(process: str, fix: str) -> None:
    [_, finding] = listener_findings([listens(128, 8080, process)])
    assert finding.level is Level.WARN
    assert fix in finding.fix
