"""Questions about connections and their answers: for people as lines, for scripts as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from synguard.clock import rfc3339
from synguard.output.tables import Column, table_lines
from synguard.plain import count
from synguard.report.group_by import By
from synguard.report.listeners import Load, load_shape, loads
from synguard.report.socket_names import groups_shape
from synguard.report.sockets import NETWORKS, NO_PROCESS, Group, Groups, Lengths, SocketView, chosen, grouped
from synguard.socket_table import TcpState

ROWS: Final = 20
GLANCE_ROWS: Final = 5
"""Rows of each table where everything is shown at a glance."""

_KEYS: Final = {
    By.SOURCE: "source",
    By.PREFIX: "network",
    By.PORT: "port",
    By.STATE: "state",
    By.PROCESS: "process",
    By.REMOTE: "remote address",
}
_PLURALS: Final = {By.REMOTE: "remote addresses", By.PROCESS: "processes"}
_HALF_OPEN: Final = frozenset({TcpState.SYN_RECV})
_ESTABLISHED: Final = frozenset({TcpState.ESTABLISHED})
_GLANCE: Final = {
    "half_open": ("half-open by source", _HALF_OPEN),
    "half_open_by_prefix": ("half-open by network", _HALF_OPEN),
    "established": ("established by source", _ESTABLISHED),
}
"""Section of the answer at a glance → its heading and its state; shown while there are any."""


@dataclass(frozen=True, slots=True)
class ConnectionsQuery:
    """What was asked; without ``by`` and ``listening``, everything at a glance."""

    by: By | None = None
    states: frozenset[TcpState] = frozenset()
    ports: tuple[range, ...] = ()
    lengths: Lengths = NETWORKS
    limit: int | None = None
    """Rows; 0 for all, None for the usual number."""
    listening: bool = False
    udp: bool = False

    @property
    def tcp_states(self) -> frozenset[TcpState]:
        """The states that must be read to answer it."""
        if self.listening:
            return frozenset({TcpState.SYN_RECV})
        return self.states or frozenset(TcpState)


@dataclass(frozen=True, slots=True)
class ConnectionsAnswer:
    """What was found."""

    question: ConnectionsQuery
    sections: Mapping[str, Groups] = field(default_factory=dict)
    """``groups``, or at a glance ``states``, ``half_open``, ``half_open_by_prefix``, ``established``."""
    loads: tuple[Load, ...] | None = None
    loads_left_out: int = 0
    nameless: bool = False
    """A process that matters to the answer is not known."""


def answer(question: ConnectionsQuery, seen: SocketView) -> ConnectionsAnswer:
    """Return the answer that the sockets seen give."""
    if question.by is None:
        return _listening(question, seen) if question.listening else _glance(question, seen)
    rows = ROWS if question.limit is None else question.limit
    groups = grouped(chosen(seen, question.by, question.states, question.ports), question.by, rows, question.lengths)
    nameless = question.by is By.PROCESS and any(row.key == NO_PROCESS for row in groups.rows)
    return ConnectionsAnswer(question, {"groups": groups}, nameless=nameless)


def answer_shape(found: ConnectionsAnswer, at: datetime, read_by: str) -> dict[str, Any]:
    """Return the answer as JSON has it."""
    shape: dict[str, Any] = {"at": rfc3339(at), "read_by": read_by}
    if "groups" in found.sections:
        shape |= groups_shape(found.sections["groups"])
    else:
        shape |= {name: groups_shape(groups) for name, groups in found.sections.items()}
    if found.loads is not None:
        shape |= {"listeners": [load_shape(load) for load in found.loads], "listeners_left_out": found.loads_left_out}
    return shape


def answer_lines(found: ConnectionsAnswer, width: int) -> Iterator[str]:
    """Return the answer as lines for a terminal of ``width`` columns."""
    for name, groups in found.sections.items():
        if name not in _GLANCE:
            yield from _group_lines(groups, found.question, width)
        elif groups.rows:
            heading, states = _GLANCE[name]
            sources = "1 source" if groups.total.sources == 1 else f"{groups.total.sources} sources"
            yield from ("", f"{heading}: {groups.total.sockets} from {sources}")
            yield from _group_lines(groups, replace(found.question, states=states), width)
    if found.loads is not None:
        if found.sections:
            yield ""
        yield from _load_lines(found, width)


def _listening(question: ConnectionsQuery, seen: SocketView) -> ConnectionsAnswer:
    wanted = [
        listener
        for listener in seen.listeners
        if not question.ports or any(listener.port in ports for ports in question.ports)
    ]
    found = loads(wanted, seen.table)
    shown = tuple(found[: (ROWS if question.limit is None else question.limit) or None])
    return ConnectionsAnswer(question, {}, shown, len(found) - len(shown), any(not load.process for load in shown))


def _glance(question: ConnectionsQuery, seen: SocketView) -> ConnectionsAnswer:
    rows = GLANCE_ROWS if question.limit is None else question.limit
    half_open = chosen(seen, By.SOURCE, _HALF_OPEN, ())
    established = chosen(seen, By.SOURCE, _ESTABLISHED, ())
    listening = _listening(ConnectionsQuery(limit=question.limit, listening=True), seen)
    sections = {
        "states": grouped(seen, By.STATE, 0),
        "half_open": grouped(half_open, By.SOURCE, rows),
        "half_open_by_prefix": grouped(half_open, By.PREFIX, rows),
        "established": grouped(established, By.SOURCE, rows),
    }
    return ConnectionsAnswer(question, sections, listening.loads, listening.loads_left_out, listening.nameless)


def _group_lines(groups: Groups, question: ConnectionsQuery, width: int) -> Iterator[str]:
    if not groups.rows:
        yield "no sockets" if groups.by in (By.STATE, By.REMOTE) else "no sockets at any port that listens here"
        return
    columns = _group_columns(groups.by, question)
    yield from table_lines(columns, [_cells(row, columns) for row in groups.rows], width)
    if groups.left_out:
        kind = _KEYS[groups.by] if groups.left_out == 1 else _PLURALS.get(groups.by, _KEYS[groups.by] + "s")
        hold = "holds" if groups.left_out == 1 else "hold"
        yield f"{groups.left_out} more {kind} {hold} {count(groups.sockets_left_out, 'socket')}; --limit 0 shows all"


def _group_columns(by: By, question: ConnectionsQuery) -> list[Column]:
    """Return the columns of one grouping; those that say nothing about it are absent."""
    columns = [Column(_KEYS[by].upper()), Column("SOCKETS", "right")]
    if by is not By.STATE and len(question.states) != 1:
        columns += [Column(title, "right", spare) for title, spare in _COUNTS]
        if question.udp:
            columns.append(Column("UDP", "right"))
    if by not in (By.SOURCE, By.REMOTE):
        columns.append(Column("SOURCES", "right", 1))
    if by is By.PORT:
        columns.append(Column("PROCESS", spare=2))
    return columns


_COUNTS: Final = (("HALF-OPEN", 0), ("ESTABLISHED", 0), ("TIME-WAIT", 3), ("OTHER", 4))


def _cells(row: Group, columns: Sequence[Column]) -> list[str]:
    by_title = {
        "SOCKETS": str(row.sockets),
        "HALF-OPEN": str(row.half_open),
        "ESTABLISHED": str(row.established),
        "TIME-WAIT": str(row.time_wait),
        "OTHER": str(row.other),
        "UDP": str(row.udp),
        "SOURCES": str(row.sources),
        "PROCESS": row.process or NO_PROCESS,
    }
    return [row.key, *(by_title[column.title] for column in columns[1:])]


def _load_lines(found: ConnectionsAnswer, width: int) -> Iterator[str]:
    if not found.loads:
        yield "nothing listens here"
        return
    columns = (
        Column("LISTENS ON"),
        Column("PROCESS", spare=1),
        Column("HALF-OPEN", "right"),
        Column("ACCEPT QUEUE", "right"),
        Column("BACKLOG", "right"),
        Column("FILL", "right"),
    )
    rows = [
        (
            f"[{load.address}]:{load.port}" if load.address.version == 6 else f"{load.address}:{load.port}",
            load.process or NO_PROCESS,
            str(load.half_open),
            str(load.accept_queue),
            str(load.backlog),
            f"{100 * max(load.half_open_fill, load.accept_fill):.0f}%",
        )
        for load in found.loads
    ]
    yield from table_lines(columns, rows, width)
    if found.loads_left_out:
        yield f"{found.loads_left_out} more; --limit 0 shows all"
