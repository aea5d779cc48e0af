"""From a look to rows: what stands beside what the kernel holds, in which order, and how it reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from synguard.ledger.records import Counted
from synguard.model import Scope
from synguard.plain import clipped
from synguard.status.model import LeakStatus
from synguard.top.ban_rows import rows_of
from synguard.top.rows import ORDERS, Grade, Pane, arranged
from synguard.top.snapshot import KernelSnapshot, Snapshot, SnapshotSockets
from synguard.top.text import bar, figure, narrow, plain
from tests.support import bans
from tests.support.top_snapshots import NOW, held, listener, snapshot, status, target

ban = partial(bans.ban, start=NOW)


def bans_by(seen: Snapshot, order: str, needle: str = "", other_way: bool = False) -> list[str]:
    return [row.key for row in arranged(rows_of(seen, Pane.BANS), (order, other_way), needle)]


def one_ban(seen: Snapshot) -> tuple[str, ...]:
    (row,) = rows_of(seen, Pane.BANS)
    return row.cells()


def test_a_ban_shows_time_left_packets_and_what_it_stops_a_second() -> None:
    seen = snapshot([ban("a", "203.0.113.0/24", ports=(80,), seconds=600.0)], packets=1500, before=1000)
    left, word, state, scope, by, packets, rate, last, id_, _ = one_ban(seen)
    assert (left, word, state, scope, by) == ("10m", "203.0.113.0/24", "hitting", "new:80", "default")
    assert (packets, rate, last, id_) == ("1,500", "500", "now", "a")


def test_one_look_alone_knows_no_rate() -> None:
    assert one_ban(snapshot([ban("a", "203.0.113.7")], packets=5))[6] == "-"


def test_a_count_that_began_again_gives_no_rate_and_loses_no_packets() -> None:
    """The kernel counts from 0 again where a ban was put back; the ledger's sum goes on."""
    one = ban("a", "203.0.113.7")
    seen = snapshot([one], packets=3, before=1000, counted={"a": Counted(1000, 1000, None)})
    assert (seen.packets("a"), seen.rate("a")) == (1003, None)


def test_packets_that_came_since_the_ledger_was_written_are_added() -> None:
    seen = snapshot([ban("a", "203.0.113.7")], packets=70, counted={"a": Counted(1050, 50, None)})
    assert seen.packets("a") == 1070


def test_a_would_be_ban_is_called_one_and_counts_nothing() -> None:
    cells = one_ban(snapshot([ban("a", "203.0.113.7", dry_run=True)]))
    assert (cells[2], cells[5], cells[6]) == ("would ban", "-", "-")


def test_a_ban_that_the_kernel_does_not_hold_is_the_gravest() -> None:
    (row,) = rows_of(snapshot([ban("a", "203.0.113.7")], kernel=KernelSnapshot(1.0, {})), Pane.BANS)
    assert (row.cells()[2], row.grade) == ("NOT IN KERNEL", Grade.BAD)


def test_a_ban_is_not_called_missing_where_the_kernel_was_not_read() -> None:
    assert one_ban(snapshot([ban("a", "203.0.113.7")], kernel=None))[2] == "banned"


def test_of_two_bans_of_one_target_the_kernel_holds_one_and_neither_is_missing() -> None:
    short, long = ban("a", "203.0.113.7"), ban("b", "203.0.113.7", scope=Scope.ALL, seconds=900)
    seen = snapshot([short, long], kernel=KernelSnapshot(1.0, held([long], 0)))
    assert {row.cells()[2] for row in rows_of(seen, Pane.BANS)} == {"banned"}


def test_a_ban_whose_target_still_arrives_says_so_and_why() -> None:
    leak = LeakStatus(target="203.0.113.7", ban="a", since=NOW, cause="order", text="an ACCEPT stands ahead of us")
    (row,) = rows_of(snapshot([ban("a", "203.0.113.7")], status=status(leaks=(leak,))), Pane.BANS)
    assert row.cells()[2] == "STILL ARRIVES"
    assert "an ACCEPT stands ahead of us" in row.detail()


def test_what_only_the_kernel_holds_is_shown_and_can_be_lifted() -> None:
    seen = snapshot([], kernel=KernelSnapshot(1.0, held([ban("lost", "203.0.113.7")], 9)))
    (row,) = rows_of(seen, Pane.BANS)
    assert (row.cells()[2], row.ban_id, row.target) == ("NOT IN LEDGER", "lost", "203.0.113.7")
    assert rows_of(replace(seen, bans=None), Pane.BANS)[0].cells()[2] == "banned"


def test_a_ban_that_expired_since_the_look_is_gone() -> None:
    seen = replace(snapshot([ban("a", "203.0.113.7", seconds=5)]), at=NOW + timedelta(seconds=6))
    assert rows_of(seen, Pane.BANS) == []


def test_bans_sort_by_what_ends_first_what_stops_most_and_by_address() -> None:
    made = [
        ban("a", "203.0.113.9", seconds=900),
        ban("b", "203.0.113.10", seconds=60),
        ban("c", "2.0.0.1", seconds=None),
    ]
    seen = snapshot(
        made, kernel=KernelSnapshot(1.0, held(made[:1], 9) | held(made[1:2], 70) | held(made[2:], 1)), counted={}
    )
    assert bans_by(seen, "left") == ["b", "a", "c"]
    assert bans_by(seen, "left", other_way=True) == ["c", "a", "b"]
    assert bans_by(seen, "packets") == ["b", "a", "c"]
    assert bans_by(seen, "target") == ["c", "a", "b"]


@pytest.mark.parametrize("pane", Pane)
def test_every_order_of_every_table_sorts(pane: Pane) -> None:
    made = [ban("a", "203.0.113.9"), ban("b", "2001:db8::/64"), ban("c", "203.0.113.0/24", seconds=None)]
    says = status(
        pressure=(listener(80, 9), listener(443)), targets=(target("203.0.113.9"), target("2001:db8::1", 3.0))
    )
    rows = rows_of(
        snapshot(made, status=says, kernel=KernelSnapshot(1.0, held(made[:2], 5) | held([ban("x", "9.9.9.9")], 1))),
        pane,
    )
    for by in ORDERS[pane]:
        assert len(arranged(rows, (by, False), "")) == len(rows) > 1


def test_a_filter_keeps_rows_that_hold_the_text_anywhere_in_any_case() -> None:
    seen = snapshot([ban("a", "203.0.113.9"), ban("b", "198.51.100.1", seconds=None)])
    assert bans_by(seen, "left", "203.0") == ["a"]
    assert bans_by(seen, "left", "HAND") == ["b"]
    assert bans_by(seen, "left", "nothing") == []


def test_a_full_queue_is_told_as_full_and_its_count_as_a_floor() -> None:
    (row,) = rows_of(snapshot(status=status(pressure=(listener(80, 129),))), Pane.LISTENERS)
    _, _, half_open, fill, _ = row.cells()
    assert (half_open, "FULL" in fill, row.grade) == ("129+/128", True, Grade.BAD)


def test_a_slow_application_is_to_be_watched_though_its_syn_queue_is_empty() -> None:
    (row,) = rows_of(snapshot(status=status(pressure=(listener(80, accept_queue=128),))), Pane.LISTENERS)
    assert row.grade is Grade.WATCH


def test_a_target_shows_evidence_against_its_limit_and_knows_the_ban_that_holds_it() -> None:
    seen = snapshot([ban("a", "203.0.113.9")], status=status(targets=(target("203.0.113.9", reason="banned by a"),)))
    (row,) = rows_of(seen, Pane.TARGETS)
    assert row.cells() == ("120", "203.0.113.9", "watch", "web", "syn_rate 90/s / 25; banned by a")
    assert (row.ban_id, row.forgeable) == ("a", True)


def test_without_an_agent_the_socket_table_speaks_and_nobody_is_scored() -> None:
    sockets = SnapshotSockets(
        (listener(80, 5),), 5, (target("203.0.113.9", 5.0, reason="5 half-open sockets", evidence=()),)
    )
    seen = snapshot(running=False, status=None, sockets=sockets)
    assert rows_of(seen, Pane.LISTENERS)[0].cells()[2] == "5/128"
    (row,) = rows_of(seen, Pane.TARGETS)
    assert row.cells()[0] == "-"
    assert "not scored" in row.detail()[0]


def test_the_last_words_of_a_dead_agent_are_not_the_present() -> None:
    says = status(pressure=(listener(80, 129),), targets=(target("203.0.113.9"),))
    seen = snapshot(running=False, status=says)
    assert rows_of(seen, Pane.LISTENERS) == rows_of(seen, Pane.TARGETS) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "-"), (0, "0"), (0.4, "0"), (87, "87"), (9999, "9,999"), (9999.6, "10.0k"), (98_712, "98.7k"),
     (123_456, "123k"), (999_600, "1.0M"), (12_345_678, "12.3M"), (5e9, "5.0G")],
)  # fmt: skip
def test_a_figure_takes_at_most_six_places(value: float | None, said: str) -> None:
    assert figure(value) == said
    assert len(said) <= 6


def test_a_bar_shows_what_is_not_nothing_and_never_overflows() -> None:
    assert bar(0.0) == "░" * 10
    assert bar(0.001).count("█") == 1
    assert bar(17.0) == "█" * 10


def test_what_a_terminal_would_obey_or_draw_wide_is_escaped() -> None:
    assert narrow("evil\x1b]0;x\x07\n") == "evil\\x1b]0;x\\x07\\n"
    assert narrow("日") == "\\u65e5"
    assert narrow("e\u0301") == "e\\u0301"
    assert narrow("±…é") == "±…é"


def test_text_is_cut_with_a_mark_and_told_in_ascii_of_the_same_length() -> None:
    assert clipped("abcdef", 4) == "abc…"
    assert clipped("abcd", 4) == "abcd"
    assert plain("█░…±") == "#.~~"
