"""Better words change no behaviour: all sentences are replaced, nothing else moves (of conditions: test_conditions)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest

from synguard.addresses import parse_network
from synguard.doctor.findings import Finding, Level, findings_shape
from synguard.errors import PlaneUnavailableError
from synguard.ledger import VerdictRecord
from synguard.model import Cause, Verdict, VerdictKind
from synguard.operator.preflight import failed_checks
from synguard.readings import Protected
from synguard.report.account import Account
from synguard.report.html_rows import ban_rows, incident_rows, verdict_rows
from synguard.report.judgement import judged
from synguard.report.next_steps import advice, next_command
from synguard.status.conditions import Code, Condition, Severity
from synguard.status.model import SensorStatus
from synguard.top.frame import frame, tables_of
from synguard.top.snapshot import Snapshot
from synguard.top.view_state import ViewState
from tests.support.accounts import NOW, account, flooded_day
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane
from tests.support.reworded import SENTENCES, reworded
from tests.support.top_snapshots import listener, snapshot, status, target

WORDS = ("proven protected spoofed healthy banned", "never said like this yet; at all")
"""Words that programs once looked for, and words that nobody looks for."""

FINDINGS = (
    Finding("SYN cookies", Level.BAD, "off", "sysctl -w net.ipv4.tcp_syncookies=1"),
    Finding("backlog of port 80", Level.WARN, "small", "raise it"),
    Finding("bans", Level.OK, "the kernel holds all 4"),
)


def spared(cause: Cause) -> Account:
    verdict = Verdict(VerdictKind.SPARE, parse_network("192.0.2.50"), 130.0, "web", "because", cause=cause)
    return account(spared=(VerdictRecord(verdict, NOW - timedelta(hours=2), NOW, 9, None, False),))


def without_sentences(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: row[key] for key in row if key not in SENTENCES} for row in rows]


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("told", [replace(flooded_day(), findings=FINDINGS), account(), *map(spared, Cause)])
def test_a_report_judges_and_advises_by_codes(told: Account, words: str) -> None:
    other = reworded(told, words)
    before, after = judged(told), judged(other)
    assert (before.made, before.would_be, before.false_positives) == (after.made, after.would_be, after.false_positives)
    assert [one.target for one in before.looks] == [one.target for one in after.looks]
    assert next_command(told, before) == next_command(other, after)
    steps = [[(one.what, one.how) for one in advice(*pair)] for pair in ((told, before), (other, after))]
    assert steps[0] == steps[1]
    for rows in (ban_rows, incident_rows, lambda one: verdict_rows(one.spared, one.until)):
        assert without_sentences(rows(told).shown) == without_sentences(rows(other).shown)


@pytest.mark.parametrize("cause", Cause)
def test_only_who_was_spared_as_a_served_client_is_a_candidate_for_the_allow_list(cause: Cause) -> None:
    told = spared(cause)
    found = [one for one in advice(told, judged(told)) if one.what == "Allow those you know"]
    assert bool(found) is (cause is Cause.PROVEN)


FLOODED = snapshot(
    [ban("b1", "203.0.113.1", start=NOW, ports=(80,))],
    packets=900,
    before=100,
    status=status(
        pressure=(listener(80, 129), listener(443)),
        targets=(target("198.51.100.7", 130.0), target("198.51.100.8", 40.0, kind=VerdictKind.SPARE)),
        problems=("sensor half_open: ENOBUFS",),
        healthy=False,
        sensors={"half_open": SensorStatus(ok=False, detail="ENOBUFS"), "counters": SensorStatus(ok=True)},
    ),
)


def styled(seen: Snapshot, words: str) -> list[list[tuple[str, object]]]:
    """Return what the screen shows and how loudly, without the words themselves."""
    view = ViewState()
    lines = frame(seen, view, tables_of(seen, view), 300, 50)
    return [[(span.text.replace(words, ""), span.style) for span in line] for line in lines]


def test_top_is_as_loud_and_in_the_same_order_whatever_the_sentences_say() -> None:
    one, other = "x" * len(WORDS[0]), WORDS[0]
    assert styled(reworded(FLOODED, one), one) == styled(reworded(FLOODED, other), other)


@pytest.mark.parametrize("words", WORDS)
def test_the_doctor_grades_by_levels(words: str) -> None:
    before, after = (findings_shape(one, ()) for one in (FINDINGS, reworded(FINDINGS, words)))
    assert before["healthy"] is after["healthy"] is False
    assert [(one["name"], one["level"], one["fix"]) for one in before["findings"]] == [
        (one["name"], one["level"], one["fix"]) for one in after["findings"]
    ]


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("known", [True, False])
def test_enabling_is_refused_by_what_fails_and_not_by_how_it_is_said(known: bool, words: str) -> None:
    networks = {parse_network("192.0.2.77"): "login"} if known else {}
    for problems, plane in (((), FakePlane()), (("a file",), PlaneUnavailableError("choosing", "no tool"))):
        protected = Protected(networks, problems)
        other = Protected(dict.fromkeys(networks, words), tuple(words for _ in problems))
        worse = plane if isinstance(plane, FakePlane) else PlaneUnavailableError(words, words)
        counts = [
            len(list(failed_checks(*pair, ip_address("192.0.2.77")))) for pair in ((plane, protected), (worse, other))
        ]
        assert counts[0] == counts[1] == len(problems) + (not known) + (not isinstance(plane, FakePlane))


def test_rewording_reaches_sentences_however_deep_they_stand() -> None:
    told = reworded(flooded_day(), "w")
    assert {record.ban.reason for record in told.bans} == {"w"}
    assert {record.verdict.reason for record in told.spared} == {"w"}
    condition = Condition(code=Code.PLANE_FAILED, severity=Severity.PROBLEM, text="before", since=NOW)
    assert reworded(status(conditions=(condition,)), "w").conditions[0].text == "w"
