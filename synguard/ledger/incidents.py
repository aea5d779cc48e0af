"""The incident table: one row an incident, written again as it goes on."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Final

from synguard.incidents import Incident, Phase
from synguard.ledger.rows import from_us, maybe_time, maybe_us, to_us

_COLUMNS: Final = (
    "id, phase, kind, started_at, ended_at, peak_half_open, peak_syn_pps, peak_connections, sources, bans, spared, note"
)
_NAMES: Final = _COLUMNS.split(", ")
_SAVE: Final = (
    f"INSERT INTO incident ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))}) "  # noqa: S608  # constants only
    "ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _NAMES[1:])
)
_SINCE: Final = (
    f"SELECT {_COLUMNS} FROM incident WHERE ended_at IS NULL OR ended_at >= ? "  # noqa: S608  # constants only
    "ORDER BY started_at DESC, seq DESC LIMIT ?"
)


def save_incident(db: sqlite3.Connection, incident: Incident) -> None:
    """Write an incident, or its present state over what was written of it before."""
    times = {"started_at": to_us(incident.started_at), "ended_at": maybe_us(incident.ended_at)}
    db.execute(_SAVE, [times.get(name, getattr(incident, name)) for name in _NAMES])


def incidents_since(db: sqlite3.Connection, since: datetime, limit: int) -> list[Incident]:
    """Return incidents that were under way at ``since`` or later, the latest begun first."""
    found = []
    for id_, phase, kind, started_at, ended_at, *figures in db.execute(_SINCE, (to_us(since), limit)):
        found.append(Incident(id_, Phase(phase), kind, from_us(started_at), maybe_time(ended_at), *figures))
    return found
