"""What a CrowdSec local API sends, taken apart: samples as version 1.4.6 writes them."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.errors import FleetError
from synguard.fleet.decisions import parse_stream
from synguard.fleet.durations import format_go_duration, parse_go_duration
from synguard.fleet.known_decisions import KnownDecisions

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
NOW_S = NOW.timestamp()


def item(
    value: str,
    duration: str = "4h",
    *,
    scope: str = "Ip",
    kind: str = "ban",
) -> dict[str, object]:
    return {
        "duration": duration,
        "id": 1,
        "origin": "cscli",
        "scenario": "manual 'ban' from 'host1'",
        "scope": scope,
        "type": kind,
        "value": value,
    }


def answer(new: object = None, deleted: object = None) -> bytes:
    return json.dumps({"deleted": deleted, "new": new}).encode()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4h", 14400),
        ("3h59m59.024435303s", 14399.024435303),
        ("-34.755616ms", -0.034755616),
        ("1m0s", 60),
        ("12µs", 12e-6),
    ],
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert parse_go_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "4", "h", "4 h", "4h-3m", "1e3s", "4H", "٤h"])
def test_what_go_would_not_write_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_go_duration(text)


@given(st.floats(1, 1e7))
def test_a_duration_that_is_sent_is_read_back_within_half_a_second(seconds: float) -> None:
    assert abs(parse_go_duration(format_go_duration(seconds)) - seconds) <= 0.5


def test_empty_lists_are_null() -> None:
    said = parse_stream(b'{"deleted":null,"new":null}', NOW)
    assert not said.deleted
    assert not said.new


def test_host_bits_stand_in_prefixes_and_mapped_addresses_are_ipv4() -> None:
    said = parse_stream(
        answer(
            [item("203.0.113.77/24", scope="Range"), item("::ffff:192.0.2.1"), item("2001:db8::7/64", scope="Range")]
        ),
        NOW,
    )
    assert [one.target for one in said.new] == ["203.0.113.0/24", "192.0.2.1", "2001:db8::/64"]


def test_one_decision_that_makes_no_sense_does_not_lose_the_others() -> None:
    said = parse_stream(
        answer(
            [
                item("203.0.113.9"),
                item("example.org"),
                item("203.0.113.10", "soon"),
                item("DE", scope="Country"),
                item("0.0.0.0/0", scope="Range"),
                "text",
                {"value": "203.0.113.11"},
                item("203.0.113.12", "-1s"),
            ]
        ),
        NOW,
    )
    assert [one.target for one in said.new] == ["203.0.113.9"]
    assert sum(said.unusable.values()) == 6


def test_only_what_stands_in_a_list_is_a_decision() -> None:
    """Objects are read as decisions wherever they stand, while they are hot; what they are is said by their place."""
    odd = {"links": item("203.0.113.8"), "new": [item("203.0.113.9"), {**item(""), "value": item("203.0.113.10")}]}
    said = parse_stream(json.dumps(odd).encode(), NOW)
    assert [(one.target, one.reason) for one in said.new] == [
        ("203.0.113.9", "manual 'ban' from 'host1' (CrowdSec, origin cscli)")
    ]
    assert said.unusable == {"a field is missing or not text": 1}
    with pytest.raises(FleetError, match="CrowdSec local API"):
        parse_stream(json.dumps(item("203.0.113.8")).encode(), NOW)


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"[]", b'{"new": 7}', b"[" * 100_000, b'{"new": {}, "deleted": null}']
)
def test_an_answer_of_something_else_is_an_error(data: bytes) -> None:
    with pytest.raises(FleetError, match="CrowdSec local API"):
        parse_stream(data, NOW)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_one_error(data: bytes) -> None:
    with suppress(FleetError):
        parse_stream(data, NOW)


def known(at_most: int = 100) -> KnownDecisions:
    return KnownDecisions(frozenset({"ban"}), at_most)


def test_deletions_come_before_what_is_new() -> None:
    """CrowdSec lists a target as deleted whose next decision comes in the same answer."""
    desired_state = known()
    desired_state.take(parse_stream(answer([item("203.0.113.9")]), NOW), complete=True)
    desired_state.take(
        parse_stream(answer([item("203.0.113.9", "1h")], [item("203.0.113.9", "-5ms")]), NOW), complete=False
    )
    assert desired_state.current(NOW_S)["203.0.113.9"].ends_at == NOW_S + 3600


def test_the_same_answer_twice_changes_nothing() -> None:
    desired_state = known()
    said = parse_stream(answer([item("203.0.113.9"), item("203.0.113.9", "1h")], [item("203.0.113.8", "-1s")]), NOW)
    desired_state.take(said, complete=True)
    once = dict(desired_state.current(NOW_S))
    desired_state.take(said, complete=False)
    assert dict(desired_state.current(NOW_S)) == once
    assert [one.ends_at - NOW_S for one in once.values()] == [4 * 3600]


def test_a_complete_answer_replaces_what_was_known() -> None:
    desired_state = known()
    desired_state.take(parse_stream(answer([item("203.0.113.9")]), NOW), complete=True)
    desired_state.take(parse_stream(answer([item("203.0.113.10")]), NOW), complete=True)
    assert list(map(str, desired_state.current(NOW_S))) == ["203.0.113.10"]


def test_other_types_are_counted_and_left_out() -> None:
    desired_state = known()
    desired_state.take(parse_stream(answer([item("203.0.113.9", kind="captcha")]), NOW), complete=True)
    assert not desired_state.current(NOW_S)
    assert desired_state.ignored == {"type captcha": 1}


def test_of_more_than_are_followed_those_that_last_longest_are_kept() -> None:
    desired_state = known(at_most=2)
    many = [item(f"203.0.113.{n}", f"{n}m") for n in range(1, 6)]
    desired_state.take(parse_stream(answer(many), NOW), complete=True)
    assert sorted(map(str, desired_state.current(NOW_S))) == ["203.0.113.4", "203.0.113.5"]
    assert desired_state.left_out == 3


def test_what_has_ended_is_forgotten() -> None:
    desired_state = known()
    desired_state.take(parse_stream(answer([item("203.0.113.9", "1m")]), NOW), complete=True)
    assert not desired_state.current(NOW_S + 120)
