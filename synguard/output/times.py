"""Times as people read them, in their own zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from synguard.units import format_duration


def clock_time(moment: datetime, now: datetime) -> str:
    """Return ``14:02:11`` for a time of today, ``Mar 01 14:02`` for one further away; the local zone."""
    local = moment.astimezone()
    if local.date() == now.astimezone().date():
        return f"{local:%H:%M:%S}"
    if local.year == now.astimezone().year:
        return f"{local:%b %d %H:%M}"
    return f"{local:%Y-%m-%d}"


def both_zones(moment: datetime) -> str:
    """Return a time in the local zone and in UTC: ``2026-03-01 14:02:11 CET (13:02:11 UTC)``."""
    local, utc = moment.astimezone(), moment.astimezone(UTC)
    if local.utcoffset() == timedelta(0):
        return f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    day = f"{utc:%Y-%m-%d} " if utc.date() != local.date() else ""
    return f"{local:%Y-%m-%d %H:%M:%S %Z} ({day}{utc:%H:%M:%S} UTC)"


def left(span: timedelta | None) -> str:
    """Return the time left, or ``permanent`` where there is no end."""
    return "permanent" if span is None else format_duration(max(span.total_seconds(), 0.0))


def ago(moment: datetime | None, now: datetime) -> str:
    """Return ``2m 5s ago``, or ``never``."""
    if moment is None:
        return "never"
    seconds = (now - moment).total_seconds()
    return "now" if seconds < 1 else f"{format_duration(seconds)} ago"
