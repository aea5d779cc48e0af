"""Conditions: one board that logs what changes, and readers that go by codes: no sentence is read by a program."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime

import pytest

from synguard.agent.alerts import Alerts
from synguard.metrics.series import Delivery, MetricsSource
from synguard.metrics.table import SERIES
from synguard.model import FloodKind
from synguard.notify.alert_policy import AlertPolicy
from synguard.notify.dispatcher import Dispatcher
from synguard.status.conditions import KINDS, MOST, Code, Condition, Conditions, Severity, text_of, texts
from synguard.status.model import Status
from tests.support.pages import ROOT

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Part:
    """A part of the agent with something to say."""

    def __init__(self) -> None:
        self.says: str | tuple[str, ...] | dict[str, str] = ""


@pytest.fixture
def board() -> Conditions:
    return Conditions(lambda: NOW)


@pytest.fixture
def part(board: Conditions) -> Part:
    part = Part()
    board.ask(Code.PLANE_FAILED, lambda: part.says, fix="synguard doctor")
    return part


def test_a_condition_is_logged_when_it_begins_and_when_its_text_changes_but_not_while_it_stands(
    board: Conditions, part: Part, caplog: pytest.LogCaptureFixture
) -> None:
    for says in ("", "no table", "no table", "no chain", ""):
        part.says = says
        board.refresh()
    assert [one.message for one in caplog.records] == ["no table", "no chain"]
    assert all(one.levelno == logging.ERROR for one in caplog.records)


def test_a_condition_that_holds_a_number_is_logged_once(board: Conditions, caplog: pytest.LogCaptureFixture) -> None:
    waiting = iter(("3 bans wait", "4 bans wait", ""))
    board.ask(Code.CAPACITY_FULL, lambda: next(waiting))
    for _ in range(3):
        board.refresh()
    assert [one.message for one in caplog.records] == ["3 bans wait", "the kernel holds all bans again"]


def test_a_condition_keeps_the_time_at_which_it_began() -> None:
    times = iter((NOW, NOW.replace(hour=13)))
    board = Conditions(lambda: next(times))
    answers = iter(("a", "b"))
    board.ask(Code.PLANE_FAILED, lambda: next(answers))
    board.refresh()
    board.refresh()
    assert [(one.text, one.since) for one in board.all] == [("b", NOW)]


def test_conditions_stand_in_the_order_of_their_codes_whoever_asks_first(board: Conditions) -> None:
    board.ask(Code.MESSAGES_FAILED, lambda: "no messages")
    board.ask(Code.SENSOR_FAILED, lambda: {"counters": "sensor counters: denied"})
    board.ask(Code.PROTECTED_UNKNOWN, lambda: ("one", "", "two"))
    board.refresh()
    assert [one.text for one in board.all] == ["one", "two", "sensor counters: denied", "no messages"]
    assert [one.subject for one in board.all] == ["", "1", "counters", ""]
    assert texts(board.all, Severity.NOTE) == ("no messages",)
    assert text_of(board.all, Code.SENSOR_FAILED) == "sensor counters: denied"


def test_two_parts_may_answer_for_one_code(board: Conditions, part: Part) -> None:
    part.says = "one"
    board.ask(Code.PLANE_FAILED, lambda: "two")
    board.refresh()
    assert [one.text for one in board.all] == ["one", "two"]
    assert [one.fix for one in board.all] == ["synguard doctor", ""]


def test_the_board_is_bounded_and_says_how_much_it_leaves_out(board: Conditions, part: Part) -> None:
    part.says = {str(number): f"rule {number}" for number in range(10 * MOST)}
    board.refresh()
    assert len(board.all) == MOST + 1
    assert (board.all[-1].code, board.all[-1].text) == (Code.OTHERS, f"{9 * MOST} more conditions hold")


def test_every_code_has_a_kind_and_the_page_tells_what_it_means() -> None:
    assert set(KINDS) == set(Code)
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (problem|note) \| .+ \|$", page, re.MULTILINE)
    assert rows == [(code.value, KINDS[code].severity.value) for code in Code]


def status_with(conditions: tuple[Condition, ...]) -> Status:
    problems = texts(conditions, Severity.PROBLEM)
    return Status(
        mode="enforce", plane="nftables", show_command="nft list ruleset", healthy=not problems, conditions=conditions,
        problems=problems, plane_problem=text_of(conditions, Code.PLANE_FAILED), notes=texts(conditions, Severity.NOTE),
        verdict=conditions[0].text, verdict_kind=FloodKind.SPOOFED, pid=1, started_at=NOW, last_reading_at=NOW,
        policies=(),
    )  # fmt: skip


def every_condition(word: str) -> tuple[Condition, ...]:
    return tuple(Condition(code=code, severity=KINDS[code].severity, text=f"{word} {code}", since=NOW) for code in Code)


def what_is_read(status: Status, alerts: Alerts) -> object:
    """All that programs make of a status; the sentences themselves, which people read, left out."""
    samples = [
        (series.name, labels, value)
        for series in SERIES
        for labels, value in series.samples(MetricsSource(status, Delivery(0, 0, 0, 0)))
    ]
    return samples, set(alerts._states(status, 0.0)), status.healthy


@pytest.mark.parametrize("code", Code)
def test_rewording_every_sentence_changes_nothing_that_programs_read(code: Code, alerts: Alerts) -> None:
    """Metrics, messages and health came from the beginnings of sentences, so that better words broke them."""
    before, after = ([one for one in every_condition(word) if one.code is code] for word in ("old words", "new ones"))
    assert what_is_read(status_with(tuple(before)), alerts) == what_is_read(status_with(tuple(after)), alerts)


@pytest.fixture
def alerts(tmp_path: object) -> Alerts:
    return Alerts(AlertPolicy.__new__(AlertPolicy), Dispatcher.__new__(Dispatcher))
