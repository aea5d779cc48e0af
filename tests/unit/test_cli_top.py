"""``synguard top`` in a pipe, and what its keys order: the same safe way as the verbs."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from synguard.addresses import parse_network
from synguard.cli.context import open_context, utcnow
from synguard.errors import PlaneError, RefusedError, SynguardError
from synguard.model import Scope
from synguard.policy.load import load_config
from synguard.socket_table import TcpState
from synguard.top.actions import Actions
from synguard.top.ban_rows import BanRow
from synguard.top.frame import frame, tables_of
from synguard.top.poller import Poller
from synguard.top.session import Session, Watcher
from synguard.top.snapshot import SnapshotSockets
from synguard.top.spans import Line, as_text
from synguard.top.view_state import BanWish, UnbanWish, ViewState
from tests.support.bans import ban
from tests.support.cli_host import GATEWAY, OWN, CliHost
from tests.support.top_snapshots import NOW, snapshot


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    return CliHost(tmp_path, monkeypatch)


@pytest.fixture
def orders(host: CliHost) -> Actions:
    return Actions(partial(open_context, load_config(host.config)), utcnow)


def wish(target: str, scope: Scope = Scope.ALL) -> BanWish:
    return BanWish(parse_network(target), scope)


def test_in_a_pipe_it_is_one_snapshot_of_what_the_kernel_holds(host: CliHost) -> None:
    host.run("ban", "203.0.113.7", "--reason", "evil\x1b]0;title\x07")
    host.connect(("198.51.100.1", TcpState.SYN_RECV))
    ran = host.run("top")
    assert ran.code == 0, ran.err
    assert "NO AGENT RUNS" in ran.out
    assert ran.out.count("203.0.113.7") == 1
    assert "\x1b" not in ran.out


def test_snapshots_as_json_are_a_line_each_with_what_status_says_and_bans(host: CliHost) -> None:
    host.run("ban", "203.0.113.7", "203.0.113.8")
    ran = host.run("top", "--json", "--count", "2", "--every", "200ms", "--limit", "1")
    first, second = (json.loads(line) for line in ran.out.splitlines())
    assert first.keys() >= {"at", "mode", "healthy", "problems", "flood", "targets", "pressure", "bans", "kernel_bans"}
    assert (first["bans_left_out"], len(first["bans"]), first["bans"][0]["packets_pps"]) == (1, 1, None)
    assert second["bans"][0]["packets_pps"] == 0
    assert second["bans"][0]["in_kernel"] is True


def test_a_status_file_that_is_none_is_a_problem_and_no_end(host: CliHost) -> None:
    host.runtime.mkdir()
    (host.runtime / "status.json").write_text("{")
    ran = host.run("top")
    assert ran.code == 0
    assert "cannot be read as a status" in ran.out


def test_a_user_without_rights_gets_one_sentence(host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synguard.capabilities.missing_capabilities", lambda: ("CAP_NET_ADMIN",))
    ran = host.run("top")
    assert (ran.code, len(ran.err.splitlines())) == (4, 1)
    assert "CAP_NET_ADMIN" in ran.err


@pytest.mark.parametrize("words", [("--every", "50ms"), ("--every", "soon"), ("--count", "-1"), ("--limit", "x")])
def test_words_that_make_no_sense_are_refused(host: CliHost, words: tuple[str, ...]) -> None:
    assert host.run("top", *words).code == 2


def test_looking_changes_nothing(host: CliHost) -> None:
    host.run("top")
    assert host.plane.changes == []
    assert not host.state.exists()


def test_a_ban_from_the_keyboard_stands_in_ledger_and_kernel(host: CliHost, orders: Actions) -> None:
    host.connect(("203.0.113.7", TcpState.ESTABLISHED))
    assert "1 ESTABLISHED" in orders.weigh(wish("203.0.113.7"))[0]
    assert host.records() == []
    assert orders.carry_out(wish("203.0.113.7"))[0].startswith("banned 203.0.113.7 (all, drop) until")
    assert host.active_bans() == host.held() == {"203.0.113.7/32"}


@pytest.mark.parametrize("target", [GATEWAY, OWN, "0.0.0.0/7", "127.0.0.1"])
def test_what_the_verb_refuses_the_keyboard_refuses(host: CliHost, orders: Actions, target: str) -> None:
    for step in (orders.weigh, orders.carry_out):
        with pytest.raises(RefusedError, match="is refused"):
            step(wish(target))
    assert host.records() == []
    assert host.held() == set()


def test_a_target_protected_between_question_and_answer_is_refused(host: CliHost, orders: Actions) -> None:
    orders.weigh(wish("203.0.113.7"))
    host.protected[parse_network("203.0.113.7")] = "logged in over SSH"
    with pytest.raises(RefusedError, match="logged in over SSH"):
        orders.carry_out(wish("203.0.113.7"))
    assert host.records() == []


def test_a_kernel_that_refuses_leaves_no_ban_behind(host: CliHost, orders: Actions) -> None:
    host.plane.fail_next("apply", PlaneError("filling sets", "no"), PlaneError("filling sets", "no"))
    with pytest.raises(PlaneError):
        orders.carry_out(wish("203.0.113.7"))
    assert host.active_bans() == host.held() == set()


def test_a_ban_is_lifted_by_its_id_and_what_only_the_kernel_holds_too(host: CliHost, orders: Actions) -> None:
    host.run("ban", "203.0.113.7", "203.0.113.8")
    ids = {str(record.ban.target): record.ban.id for record in host.records()}
    assert "removed" in orders.carry_out(UnbanWish("203.0.113.7", ids["203.0.113.7/32"]))[0]
    assert host.active_bans() == host.held() == {"203.0.113.8/32"}
    with host.ledger() as ledger:
        ledger.end_bans(ids.values(), datetime.now(UTC), "moved aside")
    assert "took 203.0.113.8 out" in orders.carry_out(UnbanWish("203.0.113.8", ids["203.0.113.8/32"]))[0]
    assert host.held() == set()


def test_a_ban_that_has_ended_meanwhile_is_told(host: CliHost, orders: Actions) -> None:
    with pytest.raises(SynguardError, match="has ended meanwhile; nothing was changed"):
        orders.carry_out(UnbanWish("203.0.113.7", "gone"))


class Typist:
    """A screen at which keys are pressed one after the other, each after what it waits for is shown."""

    size = (100, 30)

    def __init__(self, *steps: tuple[str, str]) -> None:
        self.steps = list(steps)
        self.shown = ""
        self.seen: list[str] = []

    def paint(self, lines: list[Line]) -> None:
        self.shown = "\n".join(as_text(line) for line in lines)
        self.seen.append(self.shown)

    def wait(self) -> list[str]:
        until, key = self.steps[0]
        if until not in self.shown:
            time.sleep(0.005)
            return []
        self.steps.pop(0)
        return [key]

    def wake(self) -> None:
        """Nobody sleeps for long."""


@pytest.mark.timeout(20)
def test_a_person_bans_looks_and_unbans(host: CliHost, orders: Actions) -> None:
    """Everything but the terminal: a thread looks, keys are pressed, ledger and kernel follow."""
    typist = Typist(
        ("no active bans", "B"),
        ("ban which", "203.0.113.7"),
        ("203.0.113.7", "enter"),
        ("holds no TCP connections now", "y"),
        ("banned 203.0.113.7 (all, drop)", " "),
        ("BANS 1", "u"),
        ("it was banned because: by hand in synguard top", "y"),
        ("removed the ban of 203.0.113.7", " "),
        ("no active bans", "B"),
        ("ban which", GATEWAY),
        (GATEWAY, "enter"),
        ("is protected (default gateway via eth0)", " "),
        ("no active bans", "q"),
    )
    typist.steps[1:2] = [("ban which", letter) for letter in "203.0.113.7"]
    typist.steps[-4:-3] = [("ban which", letter) for letter in GATEWAY]
    poller = Poller(load_config(host.config), lambda: host.plane.read().bans, no_sockets, 0.05)
    watcher = Watcher(poller, 0.05, poller.glance(), typist.wake)
    watcher.start()
    Session(typist, watcher, orders).run()
    watcher.stop()
    assert typist.steps == []
    assert host.active_bans() == host.held() == set()
    assert [record.ended_why for record in host.records()] == ["unbanned by hand in synguard top"]


def no_sockets() -> SnapshotSockets:
    return SnapshotSockets()


@pytest.mark.timeout(20)
def test_a_pause_stands_still_and_the_end_of_it_catches_up(host: CliHost, orders: Actions) -> None:
    typist = Typist(("no active bans", "p"), ("PAUSED", "x"), ("PAUSED", "p"), ("BANS 1", "q"))
    poller = Poller(load_config(host.config), lambda: host.plane.read().bans, no_sockets, 0.05)
    watcher = Watcher(poller, 0.05, poller.glance(), typist.wake)
    waiting = typist.wait

    def wait() -> list[str]:
        if typist.steps[0][1] == "x" and host.active_bans() == set():
            host.run("ban", "203.0.113.7")
        return waiting()

    typist.wait = wait  # type: ignore[method-assign]
    watcher.start()
    Session(typist, watcher, orders).run()
    watcher.stop()
    assert not any("PAUSED" in shown and "BANS 1" in shown for shown in typist.seen)


@pytest.mark.timeout(20)
def test_a_look_that_fails_for_good_ends_the_sitting_with_its_sentence(host: CliHost, orders: Actions) -> None:
    typist = Typist(("never shown", "q"))
    poller = Poller(load_config(host.config), dict, no_sockets, 0.05)
    first = poller.glance()

    def denied() -> None:
        raise SynguardError("may not be read any more")

    poller.poll = denied  # type: ignore[method-assign, assignment]
    watcher = Watcher(poller, 0.05, first, typist.wake)
    watcher.start()
    with pytest.raises(SynguardError, match="any more"):
        Session(typist, watcher, orders).run()
    watcher.stop()


def test_of_20000_bans_only_those_in_sight_make_text() -> None:
    made = [ban(f"b{n}", f"20.{n >> 8}.{n & 255}.1", start=NOW) for n in range(20_000)]
    seen = snapshot(made)
    cells = BanRow.cells
    calls = []
    try:
        BanRow.cells = lambda self: calls.append(1) or cells(self)  # type: ignore[method-assign, func-returns-value]
        view = ViewState()
        frame(seen, view, tables_of(seen, view), 80, 24)
    finally:
        BanRow.cells = cells  # type: ignore[method-assign]
    assert len(calls) < 24
