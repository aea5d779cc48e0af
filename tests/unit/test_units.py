"""Durations and ports as operators write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.units import (
    exact_duration,
    format_duration,
    format_ports,
    format_size,
    parse_duration,
    parse_ports,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("2d", 172800),
        ("1w", 604800),
        (" 5s ", 5),
        ("0s", 0),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-5s", "5 s", "1e3s", "5y", "\u0663s", "1h,30m", "5s5", "inf", "nan", "1s" * 100, "1h  30m"]
)
def test_what_is_no_duration_is_told_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="like 30s, 10m, 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-3, "0s"),
        (0.2, "200ms"),
        (0.0001, "0ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (2.25, "2.2s"),
        (9.97, "10s"),
        (59.7, "1m"),
        (125, "2m 5s"),
        (3600, "1h"),
        (3605, "1h 5s"),
        (97200, "1d 3h"),
        (97261, "1d 3h"),
        (604800, "1w"),
    ],
)
def test_durations_are_told_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0, 4e8) | st.integers(0, 10**9).map(float))
def test_an_exact_duration_reads_back_to_the_same_value(seconds: float) -> None:
    assert parse_duration(exact_duration(max(seconds, 0.001))) == max(seconds, 0.001)


@given(st.floats(1e-3, 4e8))
def test_what_people_are_told_can_be_typed_back_to_nearly_the_same(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.12, abs=0.0006)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("22", (range(22, 23),)),
        ("80,443", (range(80, 81), range(443, 444))),
        ("80, 8000-8100", (range(80, 81), range(8000, 8101))),
        ("any", (range(1, 65536),)),
        ("65535", (range(65535, 65536),)),
    ],
)
def test_ports_are_read(text: str, ranges: tuple[range, ...]) -> None:
    assert parse_ports(text) == ranges


@pytest.mark.parametrize("text", ["", "0", "65536", "80-", "90-80", "http", "80,,443", "-1", "8\u0660", "80;443"])
def test_what_is_no_port_is_told_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="a range like 8000-8100"):
        parse_ports(text)


@pytest.mark.parametrize(("ports", "text"), [((443, 80), "80,443"), ((), "any"), ((22,), "22")])
def test_ports_are_told_as_they_are_typed(ports: tuple[int, ...], text: str) -> None:
    assert format_ports(ports) == text


@pytest.mark.parametrize(
    ("text", "size"), [("256MiB", 256 << 20), ("1 GiB", 1 << 30), ("64KiB", 65536), ("12B", 12), (" 2TiB ", 2 << 40)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "256", "MiB", "-1MiB", "1.5MiB", "0MiB", "1MB", "1e3KiB", "1PiB"])
def test_what_is_no_size_is_told_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="like 64KiB, 256MiB, 1GiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (12, "12 B"), (1434, "1.4 KiB"), (256 << 20, "256 MiB"), (1 << 62, "4194304 TiB")]
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert format_size(size) == text
