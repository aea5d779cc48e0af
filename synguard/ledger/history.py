"""The history table: pressure on the whole host over time, coarser with age, so that a year takes a bounded room.

A row holds sums and seconds, so that rows are added up by SQL alone: to thin the table, and for a chart that has
room for a few hundred points. What was not known for a moment adds no seconds, and never counts as zero.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from synguard.ledger.records import Figure, Stretch, Track
from synguard.ledger.rows import Row, from_us, to_us

THINNED: Final = ((6 * 3600, 60), (8 * 86400, 600))
"""(age, grain) in seconds: rows older than the age are made one per grain. So an hour can be looked at by the second
that an attack has, a week by the minute, and what is older by ten minutes."""

_AT_ONCE: Final = 10_000
"""Rows that one call makes coarser: some 50 ms during which no one else can write."""

_S: Final = 1_000_000
_HEAD: Final = ("grain", "at", "until", "watched", "censored", "fill")
_SUMMED: Final = ("min(at)", "max(until)", "sum(watched)", "sum(censored)", "max(fill)")
_PARTS: Final = (("s", "sum"), ("total", "sum"), ("least", "min"), ("most", "max"))
"""Column of a figure → how several of it become one."""

_FIGURES: Final = tuple(f"{figure}_{part}" for figure in Figure for part, _ in _PARTS)
_MERGED: Final = ", ".join((*_SUMMED, *(f"{how}({figure}_{part})" for figure in Figure for part, how in _PARTS)))
_FINER: Final = "grain < :grain AND at < :before"
_INSERT: Final = f"INSERT INTO history ({', '.join((*_HEAD, *_FIGURES))}) "
_ADD: Final = _INSERT + f"VALUES ({', '.join('?' * (len(_HEAD) + len(_FIGURES)))})"
_BETWEEN: Final = f"SELECT {_MERGED} FROM history WHERE at >= ? AND at < ? GROUP BY at / ? ORDER BY at / ?"  # noqa: S608  # constants only
_FOLD: Final = f"{_INSERT} SELECT :grain, {_MERGED} FROM history WHERE {_FINER} GROUP BY at / (:grain * {_S})"  # noqa: S608  # constants only
_FOLDED: Final = f"DELETE FROM history WHERE {_FINER}"  # noqa: S608  # constants only
_NTH: Final = f"SELECT at FROM history WHERE {_FINER} ORDER BY at LIMIT 1 OFFSET :most"  # noqa: S608  # constants only


def add(db: sqlite3.Connection, stretches: Sequence[Stretch]) -> None:
    """Insert stretches as they were seen."""
    db.executemany(_ADD, [_row(one) for one in stretches])


def between(db: sqlite3.Connection, since: datetime, until: datetime, grain_s: float) -> list[Stretch]:
    """Return stretches that begin between two times, earliest first, those of one ``grain_s`` made one."""
    grain = max(round(grain_s * _S), 1)
    return [_stretch(row) for row in db.execute(_BETWEEN, (to_us(since), to_us(until), grain, grain))]


def thin(db: sqlite3.Connection, now: datetime) -> int:
    """Make what has aged coarser, a bounded piece a call; return how many rows fewer there are."""
    return sum(_fold(db, to_us(now - timedelta(seconds=age)), grain) for age, grain in THINNED)


def _fold(db: sqlite3.Connection, before: int, grain: int) -> int:
    values = {"grain": grain, "before": before, "most": _AT_ONCE}
    nth = db.execute(_NTH, values).fetchone()
    # whole grains only: what comes later would otherwise make a second row of the same minute
    values["before"] = (nth[0] if nth else before) // (grain * _S) * (grain * _S)
    made = db.execute(_FOLD, values).rowcount
    return db.execute(_FOLDED, values).rowcount - made


def _row(one: Stretch) -> Row:
    head = (0, to_us(one.at), to_us(one.until), one.watched_s, one.censored_s, one.fill)
    tracks = (one.tracks.get(figure) for figure in Figure)
    figures = (
        (None,) * 4 if track is None else (track.seconds, track.total, track.least, track.most) for track in tracks
    )
    return (*head, *(value for four in figures for value in four))


def _stretch(row: Row) -> Stretch:
    at, until, watched, censored, fill, *figures = row
    fours = (figures[start : start + 4] for start in range(0, len(figures), 4))
    tracks = {figure: Track(*four) for figure, four in zip(Figure, fours, strict=True) if four[0]}
    return Stretch(from_us(at), (until - at) / _S, watched, censored, fill, tracks)
