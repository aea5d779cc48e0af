"""Recordings written in one go, without an agent."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from synguard import __version__
from synguard.readings import Protected, Readings
from synguard.recording.encoder import Encoder
from synguard.recording.frames import FIRST, FrameWriter
from synguard.recording.heads import file_head
from synguard.recording.shape import columns_written

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def recorded(
    ticks: Iterable[tuple[Readings, Protected]], *, mode: str = "dry-run", utc: datetime = START, at: float = 0.0
) -> bytes:
    """Return the bytes of a recording that begins at ``utc`` by the calendar and ``at`` by the monotonic clock."""
    frames, encoder = FrameWriter(), Encoder()
    head = file_head(__version__, mode, utc, at, columns_written())
    data = [FIRST, frames.frame(head.model_dump_json().encode())]
    data.extend(frames.frame(encoder.write(readings, protected)) for readings, protected in ticks)
    return b"".join(data)


def write_recording(
    path: Path, readings: Iterable[Readings], protected: Protected | None = None, mode: str = "dry-run"
) -> Path:
    """Write a recording in which the same parties are protected all the time."""
    path.write_bytes(recorded(((one, protected or Protected({})) for one in readings), mode=mode))
    return path
