"""The whole screen as lines: a function of the look, the view, and the size of the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from synguard.model import Scope
from synguard.plain import count
from synguard.top.ban_rows import rows_of
from synguard.top.header import head_lines
from synguard.top.keys import HELP
from synguard.top.rows import Pane, Row, arranged
from synguard.top.snapshot import Snapshot
from synguard.top.spans import Line, Span, Style, filled, fitted, line
from synguard.top.table import ScreenTable, table_lines
from synguard.top.view_state import BanWish, Detail, Dialog, Help, Notice, Prompt, Typing, ViewState

FOOT = "? help  TAB table  ENTER more  / filter  s sort  b ban  u unban  p pause  q quit"


@dataclass(frozen=True, slots=True)
class Tables:
    """The rows of the three tables as the view wants them, and how many there are without the filter."""

    rows: Mapping[Pane, Sequence[Row]]
    of: Mapping[Pane, int]


def tables_of(snapshot: Snapshot, view_state: ViewState) -> Tables:
    """Return the rows of every table, arranged."""
    every = {pane: rows_of(snapshot, pane) for pane in Pane}
    rows = {pane: arranged(every[pane], view_state.order(pane), view_state.needle) for pane in Pane}
    return Tables(rows, {pane: len(every[pane]) for pane in Pane})


def frame(snapshot: Snapshot, view_state: ViewState, tables: Tables, width: int, height: int) -> list[Line]:
    """Return at most ``height`` lines of at most ``width`` places."""
    if width < 1 or height < 1:
        return []
    foot = _foot(view_state, width)
    if isinstance(view_state.dialog, Help):
        return [*_help(width)[: height - 1], foot][:height]
    head = [fitted(one, width) for one in head_lines(snapshot, paused=view_state.paused)][: max(height // 3, 1)]
    dialog = _dialog(view_state.dialog, view_state.chosen(tables.rows[view_state.pane]), width)[: height // 2]
    room = height - len(head) - len(dialog) - 1
    body = _body(view_state, tables, width, room)
    return [*head, *body, *[()] * (room - len(body)), *dialog, foot][:height]


def plain_lines(snapshot: Snapshot, most_bans: int, width: int) -> list[Line]:
    """Return everything for a pipe, bans up to a number."""
    view_state = ViewState()
    tables = tables_of(snapshot, view_state)
    lines = head_lines(snapshot)
    for pane in Pane:
        rows = tables.rows[pane][: most_bans if pane is Pane.BANS else None]
        lines += [
            (),
            *table_lines(ScreenTable(pane, rows, tables.of[pane], view_state.order(pane), None), width, len(rows) + 2),
        ]
    hidden = tables.of[Pane.BANS] - most_bans
    return [*lines, line(f"and {count(hidden, 'more ban')}, see synguard bans")] if hidden > 0 else lines


def _body(view_state: ViewState, tables: Tables, width: int, room: int) -> list[Line]:
    wanted = {pane: max(len(tables.rows[pane]), 1) + 1 for pane in Pane}
    airy = room >= sum(wanted.values()) + len(wanted)
    heights = shared_out(wanted, view_state.pane, room)
    lines: list[Line] = []
    for pane in Pane:
        lines += [()] * airy
        rows = tables.rows[pane]
        chosen = view_state.number(pane, rows) if pane is view_state.pane else None
        lines += table_lines(
            ScreenTable(pane, rows, tables.of[pane], view_state.order(pane), chosen), width, heights[pane]
        )
    return lines


def shared_out(wanted: Mapping[Pane, int], focus: Pane, room: int) -> dict[Pane, int]:
    """Return table → lines: round by round one for each that wants more, and three for the one in use."""
    heights = dict.fromkeys(wanted, 0)
    turns = [focus, *(pane for pane in wanted if pane is not focus), focus, focus]
    while room > 0 and any(heights[pane] < wanted[pane] for pane in wanted):
        for pane in turns:
            if room > 0 and heights[pane] < wanted[pane]:
                heights[pane] += 1
                room -= 1
    return heights


def _foot(view_state: ViewState, width: int) -> Line:
    text = FOOT
    match view_state.dialog:
        case Typing(purpose="filter", text=typed):
            text = f"show only what holds: {typed}_   ENTER keeps it, ESC shows all"
        case Typing(text=typed):
            text = f"ban which address or prefix? {typed}_   ESC: none"
        case Prompt(wish=BanWish()):
            text = "y yes, do it   n no   s which packets   + - how long"
        case Prompt():
            text = "y yes, do it   n no"
        case Help() | Notice():
            text = "press any key to go back"
        case Detail():
            text = "ENTER closes   arrows: the next one   b ban   u unban"
        case None if view_state.needle:
            text = f"filter: {view_state.needle}   ESC shows all   {FOOT}"
    return filled(line(text), width, Style.TITLE)


def _dialog(dialog: Dialog, row: Row | None, width: int) -> list[Line]:
    match dialog:
        case Prompt():
            lines = [Span(f"{dialog.wish}?", Style.STRONG), *map(Span, dialog.lines), *map(Span, _hints(dialog))]
        case Notice():
            lines = [Span(text, Style.BAD if dialog.bad else Style.STRONG) for text in dialog.lines]
        case Detail():
            lines = [Span(text) for text in (row.detail() if row else ("the row is gone",))]
        case _:
            return []
    rule: Line = (Span("─" * width, Style.FAINT),)
    return [rule, *(piece for span in lines for piece in _wrapped(span, width))]


def _hints(asking: Prompt) -> list[str]:
    wish = asking.wish
    if isinstance(wish, BanWish) and wish.forgeable and wish.scope is Scope.ALL:
        return ["all evidence against it can be forged: new connections only (s) does less harm if it is innocent"]
    return []


def _wrapped(span: Span, width: int) -> list[Line]:
    """Return a sentence in up to three lines; what a terminal would obey is escaped."""
    pieces = textwrap.wrap("".join(one.text for one in line(span)), width)[:3]
    return [(Span(piece, span.style),) for piece in pieces]


_EXPLAINED: Final = (
    "Listeners: half-open sockets / backlog; + and FULL: the queue is full and hides the true count. ACCEPT: "
    "connections that wait for the application; many of them are no flood.",
    "Bars on top: SYN/s and half-open sockets of five minutes, 10 s a bar.",
    "Sources: a score of 100 acts. Evidence reads: signal value / limit.",
    "Bans: PACKETS stopped so far, PER S since the last refresh. NOT IN KERNEL: it stops nothing.",
    "More: synguard why ADDRESS, synguard bans, synguard review.",
)


def _help(width: int) -> list[Line]:
    lines = [line(Span("synguard top: keys", Style.STRONG)), ()]
    lines += [line(Span(f"{keys:<12}", Style.STRONG), text) for keys, text in HELP]
    explained = [piece for text in _EXPLAINED for piece in _wrapped(Span(text), width)]
    return [fitted(one, width) for one in (*lines, (), *explained)]
