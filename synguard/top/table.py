"""Rows as lines under titles, in a given width: what matters least goes first, an address is never cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from synguard.plain import clipped
from synguard.top.ban_rows import BanRow
from synguard.top.rows import Grade, Order, Pane, Row
from synguard.top.spans import Line, Span, Style, filled, fitted
from synguard.top.text import narrow

_GAP: Final = 2
_REST_AT_LEAST: Final = 12
"""A column that takes what is left is not shown in less."""


@dataclass(frozen=True, slots=True)
class ScreenColumn:
    """One column."""

    title: str
    least: int
    """Its width, so that columns stand still while what they hold changes; it grows for what is wider."""
    align: Literal["left", "right"] = "left"
    spare: int = 0
    """Columns with the highest number are left out first where the terminal is narrow; 0 always stays."""
    order: str = ""
    """The word of the order that sorts by it."""
    rest: bool = False
    """Whether it takes what the others leave, as far as it needs it, and is cut there."""


COLUMNS: Final[Mapping[Pane, tuple[ScreenColumn, ...]]] = {
    Pane.LISTENERS: (
        ScreenColumn("LISTENERS", 12, order="port"),
        ScreenColumn("PROCESS", 12, spare=2, rest=True),
        ScreenColumn("HALF-OPEN", 12, "right", order="half-open"),
        ScreenColumn("FILL", 21, order="fill"),
        ScreenColumn("ACCEPT", 9, "right", spare=1, order="accept"),
    ),
    Pane.TARGETS: (
        ScreenColumn("SCORE", 6, "right", order="score"),
        ScreenColumn("SOURCES", 18, order="target"),
        ScreenColumn("VERDICT", 7, spare=2),
        ScreenColumn("POLICY", 8, spare=3, order="policy"),
        ScreenColumn("EVIDENCE / LIMIT", 16, spare=1, rest=True),
    ),
    Pane.BANS: (
        ScreenColumn("LEFT", 7, "right", order="left"),
        ScreenColumn("BANS", 18, order="target"),
        ScreenColumn("STATE", 9),
        ScreenColumn("SCOPE", 6, spare=4),
        ScreenColumn("BY", 7, spare=5),
        ScreenColumn("PACKETS", 8, "right", spare=2, order="packets"),
        ScreenColumn("PER S", 6, "right", order="rate"),
        ScreenColumn("LAST HIT", 11, "right", spare=3),
        ScreenColumn("ID", 9, spare=6),
        ScreenColumn("REASON", _REST_AT_LEAST, spare=1, rest=True),
    ),
}

_GRADES: Final = {
    Grade.USUAL: Style.USUAL,
    Grade.GOOD: Style.GOOD,
    Grade.WATCH: Style.WATCH,
    Grade.BAD: Style.BAD,
}


@dataclass(frozen=True, slots=True)
class ScreenTable:
    """What a table shows at one moment."""

    pane: Pane
    rows: Sequence[Row]
    of: int
    """How many rows there are without the filter."""
    order: Order
    chosen: int | None
    """The row that the keys go to; None where they go to another table, or nowhere."""


def table_lines(table: ScreenTable, width: int, height: int) -> list[Line]:
    """Return titles and as many rows as fit, the chosen one among them; never more than ``height`` lines."""
    if height <= 0:
        return []
    shown, first = _window(table, height - 1)
    cells = [[narrow(cell) for cell in row.cells()] for row in shown]
    columns = COLUMNS[table.pane]
    widths = _widths(columns, cells, width)
    titles = [_title(column, table) for column in columns]
    head = filled(_joined(titles, columns, widths, Style.TITLE), width, _title_style(table))
    lines = [head]
    for number, (row, texts) in enumerate(zip(shown, cells, strict=True), start=first):
        one = _joined(texts, columns, widths, _GRADES[row.grade])
        lines.append(filled(one, width, Style.CHOSEN) if number == table.chosen else fitted(one, width))
    if not shown and height > 1:
        lines.append((Span(clipped(_nothing(table), width), Style.FAINT),))
    return lines


def _window(table: ScreenTable, height: int) -> tuple[Sequence[Row], int]:
    """Return the rows that are in sight, and the number of the first one."""
    chosen = table.chosen or 0
    first = max(min(chosen - height // 2, len(table.rows) - height), 0)
    return table.rows[first : first + height], first


def _title(column: ScreenColumn, table: ScreenTable) -> str:
    title = column.title
    if table.rows and title == "BANS" and all(isinstance(row, BanRow) and row.ban.dry_run for row in table.rows):
        return f"WOULD BAN {len(table.rows):,}"
    if title.lower() in (table.pane.value, "sources"):
        title += f" {len(table.rows):,}" + (f" of {table.of:,}" if len(table.rows) < table.of else "")
    by, other_way = table.order
    return title + ("↑" if other_way else "↓") if column.order == by else title


def _title_style(table: ScreenTable) -> Style:
    return Style.TITLE if table.chosen is None else Style.FOCUS


def _nothing(table: ScreenTable) -> str:
    if table.of:
        return "no row matches the filter"
    return {
        Pane.LISTENERS: "no listeners, or they are not known",
        Pane.TARGETS: "no source is over a limit",
        Pane.BANS: "no active bans",
    }[table.pane]


def _widths(columns: Sequence[ScreenColumn], cells: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """Return column → width for the columns that are shown."""
    widths = {
        index: column.least if column.rest else max([column.least, *(len(row[index]) for row in cells)])
        for index, column in enumerate(columns)
    }
    while sum(widths.values()) + _GAP * (len(widths) - 1) > width:
        least = max(widths, key=lambda index: columns[index].spare)
        if columns[least].spare == 0:
            break
        del widths[least]
    for index in widths:
        if columns[index].rest:
            room = widths[index] + width - sum(widths.values()) - _GAP * (len(widths) - 1)
            widths[index] = min(room, max([columns[index].least, *(len(row[index]) for row in cells)]))
    return widths


def _joined(texts: Sequence[str], columns: Sequence[ScreenColumn], widths: Mapping[int, int], style: Style) -> Line:
    parts = []
    for index, width in widths.items():
        text = clipped(texts[index], width) if columns[index].rest else texts[index]
        parts.append(text.rjust(width) if columns[index].align == "right" else text.ljust(width))
    return (Span((" " * _GAP).join(parts), style),)
