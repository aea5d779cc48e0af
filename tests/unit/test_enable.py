"""``synguard enable``: what it refuses, what it writes, and from where it lets itself be confirmed."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synguard.addresses import parse_network
from synguard.clock import boot_id
from synguard.errors import PlaneUnavailableError
from synguard.model import Action, Ban, Mode, Origin, Scope
from synguard.operator.enablement import Enablement, EnablementFile, Login
from synguard.operator.login import login_here, why_not_new
from synguard.status.freshness import AGENT_LOCK
from synguard.status.model import Status, write_status
from tests.support.cli_host import CliHost, Ran

FIRST = "198.51.100.9 50022 192.0.2.1 22"
SECOND = "198.51.100.9 50099 192.0.2.1 22"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    host = CliHost(tmp_path, monkeypatch)
    host.state.mkdir()
    host.runtime.mkdir()
    monkeypatch.setattr("synguard.cli.enable._await", lambda config, mode: None)
    return host


@pytest.fixture
def agent(host: CliHost) -> Iterator[None]:
    """An agent in dry-run."""
    tell(host)
    with (host.runtime / AGENT_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def tell(host: CliHost, mode_by: str = "config", age_s: float = 0.0, mode: Mode = Mode.DRY_RUN) -> None:
    last = datetime.now(UTC) - timedelta(seconds=age_s)
    write_status(
        host.runtime,
        Status(
            mode=mode, mode_by=mode_by, plane="dry-run", show_command="true", healthy=True, pid=1,
            started_at=last, last_reading_at=last, policies=("web",),
        ),
    )  # fmt: skip


def order(host: CliHost) -> Enablement | None:
    return EnablementFile(host.state).read()


def refused(ran: Ran, words: str, code: int = 3) -> None:
    assert ran.code == code, ran.err + ran.out
    assert words in ran.err


@pytest.mark.usefixtures("agent")
def test_a_trial_is_written_with_its_end_and_by_whom_and_then_confirmed_from_a_new_connection(host: CliHost) -> None:
    host.protected[parse_network("198.51.100.9")] = "SSH session of alice (pts/0)"
    host.login = Login(ssh=FIRST, started_s=1.0)
    ran = host.run("enable", "--confirm-within", "5m", "--yes")
    assert ran.code == 0, ran.err
    assert "open a new SSH connection" in ran.out
    written = order(host)
    assert written is not None
    assert written.on_trial
    assert written.by == host.login
    assert written.until_s is not None
    assert 290 < written.until_s - time.monotonic() <= 300
    assert EnablementFile(host.state).path.stat().st_mode & 0o777 == 0o600
    refused(host.run("enable", "--confirm"), "the very SSH connection")
    host.login = Login(ssh=SECOND, started_s=1.0)
    refused(host.run("enable", "--confirm"), "older than the enforcement")
    host.login = Login()
    refused(host.run("enable", "--confirm"), "no SSH session")
    assert order(host) == written
    host.login = Login(ssh=SECOND, started_s=written.since_s + 1)
    told = host.run("enable", "--confirm", "--json").json
    assert (told["enabled"], told["on_trial"], told["confirm_by"]) == (True, False, None)
    confirmed = order(host)
    assert confirmed is not None
    assert confirmed.confirmed_at is not None
    assert confirmed.stands("another boot", time.monotonic() + 9e9)


@pytest.mark.usefixtures("agent")
def test_without_ssh_any_other_process_may_confirm_and_force_may_from_anywhere(host: CliHost) -> None:
    host.run("enable", "--confirm-within", "5m", "--yes")
    assert host.run("enable", "--confirm").code == 0
    host.run("enable", "--off")
    host.protected[parse_network("198.51.100.9")] = "allow-listed"
    host.login = Login(ssh=FIRST, started_s=1.0)
    host.run("enable", "--confirm-within", "5m", "--yes")
    assert host.run("enable", "--confirm", "--force").code == 0


@pytest.mark.usefixtures("agent")
def test_a_confirmation_that_comes_too_late_is_refused(host: CliHost) -> None:
    host.run("enable", "--confirm-within", "5m", "--yes")
    written = order(host)
    assert written is not None
    EnablementFile(host.state).write(written.model_copy(update={"until_s": time.monotonic() - 1}))
    refused(host.run("enable", "--confirm"), "too late")
    EnablementFile(host.state).write(written.model_copy(update={"boot": "another"}))
    refused(host.run("enable", "--confirm"), "too late")
    host.run("enable", "--off")
    refused(host.run("enable", "--confirm"), "no trial is under way", 1)


def no_plane(host: CliHost) -> None:
    host.plane.fail_next("check", *[PlaneUnavailableError("choosing a plane", "this host has neither")] * 2)


def unknown_party(host: CliHost) -> None:
    host.problems = ("allow.txt: no such file",)


def unprotected_operator(host: CliHost) -> None:
    """A host without a memory of logins: this verb knows its own SSH connection, the agent does not."""
    host.login = Login(ssh=FIRST)


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (no_plane, "there is no plane to enforce with"),
        (unknown_party, "allow.txt: no such file"),
        (unprotected_operator, "your own address 198.51.100.9 is not protected"),
    ],
)
def test_what_would_lock_somebody_out_or_stop_nothing_is_refused_unless_forced(
    host: CliHost, trouble: object, words: str
) -> None:
    assert callable(trouble)
    trouble(host)
    refused(host.run("enable", "--confirm-within", "5m", "--yes"), words)
    assert order(host) is None
    trouble(host)
    assert host.run("enable", "--confirm-within", "5m", "--yes", "--force").code == 0
    assert order(host) is not None


def test_without_an_agent_it_says_how_to_start_one(host: CliHost) -> None:
    refused(host.run("enable", "--yes"), "start one: synguard run", 1)
    assert order(host) is None


@pytest.mark.usefixtures("agent")
def test_an_agent_that_an_option_binds_or_that_tells_nothing_is_not_ordered_about(host: CliHost) -> None:
    tell(host, mode_by="option")
    refused(host.run("enable", "--yes"), "outranks synguard enable")
    tell(host, age_s=60)
    refused(host.run("enable", "--yes"), "may be stuck", 1)
    assert order(host) is None


@pytest.mark.usefixtures("agent")
def test_an_agent_that_an_option_has_enforce_is_not_said_to_be_in_dry_run(host: CliHost) -> None:
    """`enable --off` said: nothing was enabled, the config's mode, dry-run, holds. The agent went on enforcing."""
    tell(host, mode_by="option", mode=Mode.ENFORCE)
    refused(host.run("enable", "--off"), "restart without it; at once: synguard panic")


@pytest.mark.usefixtures("agent")
def test_it_shows_whom_the_dry_run_would_have_banned_and_who_could_be_hurt(host: CliHost) -> None:
    then = datetime.now(UTC) - timedelta(hours=3)
    would = [
        Ban(
            f"w{nth}", parse_network(target), Scope.NEW, Action.DROP, Origin.AUTO, "web", "syn_rate 500/s / 100",
            then, then + timedelta(minutes=2), dry_run=True,
        )
        for nth, target in enumerate(("203.0.113.7", "192.0.2.0/24"))
    ]  # fmt: skip
    with host.ledger() as ledger:
        ledger.add_bans(would)
    ran = host.run("enable", "--confirm-within", "5m", "--yes")
    assert "203.0.113.7" in ran.out
    assert "possible false positive: 192.0.2.0/24: covers 192.0.2.254, default gateway via eth0" in ran.out
    host.run("enable", "--off")
    told = host.run("enable", "--confirm-within", "5m", "--yes", "--json").json
    assert told["would_have_banned"] == 2
    assert told["could_be_hurt"]


@pytest.mark.usefixtures("agent")
def test_a_second_order_while_one_stands_is_refused_and_a_expired_one_is_replaced(host: CliHost) -> None:
    host.run("enable", "--confirm-within", "5m", "--yes")
    refused(host.run("enable", "--yes"), "enabled already")
    written = order(host)
    assert written is not None
    EnablementFile(host.state).write(written.model_copy(update={"until_s": 0.0}))
    assert host.run("enable", "--yes").code == 0
    replaced = order(host)
    assert replaced is not None
    assert not replaced.on_trial


@pytest.mark.usefixtures("agent")
def test_where_the_config_itself_says_enforce_there_is_nothing_to_enable_nor_to_switch_off(host: CliHost) -> None:
    host.configure('mode = "enforce"\n')
    assert host.run("enable", "--yes").code == 0
    assert order(host) is None
    refused(host.run("enable", "--off"), 'set mode = "dry-run"')


@pytest.mark.parametrize(
    "words", [("--confirm", "--off"), ("--confirm-within", "1s"), ("--confirm-within", "2d"), ("--confirm-within", "x")]
)
def test_words_that_contradict_or_make_no_trial_are_usage_errors(host: CliHost, words: tuple[str, ...]) -> None:
    assert host.run("enable", *words).code == 2


def process(proc: Path, pid: int, parent: int, started_s: float, ssh: str = "") -> None:
    (proc / str(pid)).mkdir()
    ticks = int(started_s * os.sysconf("SC_CLK_TCK"))
    fields = ["S", str(parent), *["0"] * 17, str(ticks), "0"]
    (proc / str(pid) / "stat").write_text(f"{pid} (a (b) c) {' '.join(fields)}\n")
    variables = ["HOME=/root", *([f"SSH_CONNECTION={ssh}"] if ssh else [])]
    (proc / str(pid) / "environ").write_text("\0".join(variables) + "\0")


def test_the_ssh_connection_is_found_behind_sudo_and_dated_by_its_oldest_process(tmp_path: Path) -> None:
    process(tmp_path, os.getpid(), 300, 90.0)
    process(tmp_path, 300, 200, 89.0)  # sudo
    process(tmp_path, 200, 100, 50.0, FIRST)
    process(tmp_path, 100, 50, 40.0, FIRST)
    process(tmp_path, 50, 1, 3.0)  # sshd
    assert login_here({}, tmp_path) == Login(ssh=FIRST, started_s=40.0)
    assert login_here({"SSH_CONNECTION": SECOND}, tmp_path) == Login(ssh=SECOND, started_s=90.0)


def test_at_the_console_there_is_no_ssh_connection(tmp_path: Path) -> None:
    process(tmp_path, os.getpid(), 1, 90.0)
    assert login_here({}, tmp_path).ssh == ""
    assert login_here({}, tmp_path / "none") == Login()


def test_the_same_person_over_a_new_connection_is_new(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first = Enablement(boot=boot_id(), since=now, since_s=100.0, by=Login(ssh=FIRST, started_s=5.0))
    assert why_not_new(first, Login(ssh=SECOND, started_s=101.0)) == ""
    assert why_not_new(first, Login(ssh=FIRST, started_s=101.0))
    assert why_not_new(first.model_copy(update={"by": Login()}), Login(ssh=FIRST, started_s=5.0)) == ""
