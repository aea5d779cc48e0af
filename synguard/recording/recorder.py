"""The agent's side of a recording: never in a tick's way, and at its first failure at an end."""

from __future__ import annotations

import logging
import os
import stat
import threading
from datetime import datetime
from pathlib import Path
from queue import Full, Queue
from typing import Final

from synguard import __version__
from synguard.errors import NotPermittedError, RefusedError, UsageError
from synguard.logs import event
from synguard.readings import Protected, Readings
from synguard.recording.encoder import Encoder
from synguard.recording.frames import FIRST, FrameWriter
from synguard.recording.heads import file_head
from synguard.recording.shape import columns_written
from synguard.units import format_duration, format_size

log: Final = logging.getLogger(__name__)

PENDING_TICKS: Final = 256
"""Ticks that may wait for the disk: 12 s of an attack; then the recording ends rather than the memory."""
PENDING_ROWS: Final = 1_000_000
"""Rows that may wait for the disk, some 40 MB."""
_LAST_WORDS_S: Final = 10.0


class Recorder:  # wide: a thread and its bounds, a name each
    """Writes readings to a file from a thread of its own; a context manager."""

    def __init__(self, path: Path, limit: int, mode: str, *, force: bool = False) -> None:
        """Make the file, readable by its owner only.

        Raises:
            NotPermittedError: It may not be made there.
            RefusedError: It is there already, and ``force`` is not given.
            UsageError: It cannot be made there.
        """
        self._path, self._limit, self._mode = path, limit, mode
        self._fd = _created(path, force)
        self._queue: Queue[tuple[datetime, Readings, Protected] | None] = Queue(PENDING_TICKS)
        self._ending = threading.Lock()
        self._pending_rows = 0
        self._frames, self._encoder = FrameWriter(), Encoder()
        self._size = 0
        self._first_at: float | None = None
        self._last_at = 0.0
        self.ended = ""
        """Why nothing more is recorded, one sentence; empty while the recording goes on."""
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()  # not earlier: a thread keeps the capabilities that its process had when it began
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, utc: datetime, readings: Readings, protected: Protected) -> None:
        """Note one tick; returns at once and never raises."""
        if self.ended:
            return
        rows = _rows(readings)
        if self._pending_rows + rows > PENDING_ROWS:
            self._end("the disk cannot keep up with the recording")
            return
        try:
            self._queue.put_nowait((utc, readings, protected))
        except Full:
            self._end("the disk cannot keep up with the recording")
        else:
            self._pending_rows += rows

    def close(self) -> None:
        """Write what is pending and close the file; where the disk hangs, give up after 10 s."""
        try:
            self._queue.put(None, timeout=_LAST_WORDS_S)
        except Full:
            return
        self._thread.join(_LAST_WORDS_S)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            self._pending_rows -= _rows(item[1])
            if not self.ended:
                self._try_to_write(*item)
        os.close(self._fd)
        if not self.ended and self._first_at is not None:
            self.ended = "closed"
            done = event("recording", file=str(self._path))
            log.info("recorded %s to %s (%s)", self._span(), self._path, format_size(self._size), extra=done)

    def _try_to_write(self, utc: datetime, readings: Readings, protected: Protected) -> None:
        try:
            self._write(utc, readings, protected)
        except Exception as error:  # a mistake of ours ends the recording, never the agent, and is reported
            log.debug("the recorder failed", exc_info=True, extra=event("recording"))
            self._end(f"a tick could not be written down ({type(error).__name__}: {error})")

    def _write(self, utc: datetime, readings: Readings, protected: Protected) -> None:
        data = b""
        if self._first_at is None:
            self._first_at = readings.at
            head = file_head(__version__, self._mode, utc, readings.at, columns_written())
            data = FIRST + self._frames.frame(head.model_dump_json().encode())
        data += self._frames.frame(self._encoder.write(readings, protected))
        if self._size + len(data) > self._limit:
            self._end(f"the recording has reached its limit of {format_size(self._limit)} (--record-limit)")
            return
        try:
            _write_all(self._fd, data)
        except OSError as error:
            self._cut()
            self._end(f"{self._path} cannot be written: {error.strerror}")
            return
        self._size += len(data)
        self._last_at = readings.at

    def _cut(self) -> None:
        """Take half a record off the end again, which a full disk leaves."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            text = "%s keeps half a record at its end, which readers pass over"
            log.debug(text, self._path, extra=event("recording"))

    def _end(self, why: str) -> None:
        with self._ending:
            if not self.ended:
                self.ended = why
                text = "recording ends, the agent goes on: %s; %s holds %s"
                log.error(text, why, self._path, self._span(), extra=event("recording", file=str(self._path)))

    def _span(self) -> str:
        return format_duration(self._last_at - (self._first_at or self._last_at))


def _rows(readings: Readings) -> int:
    tables = [reading.table for reading in (readings.half_open, readings.connections) if reading is not None]
    peers = 0 if readings.proven is None else len(readings.proven[0])
    return sum(map(len, tables)) + peers + (0 if readings.syns is None else len(readings.syns))


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _created(path: Path, force: bool) -> int:
    """Return the descriptor of a new file; an old one is unlinked first, so that no link is followed."""
    try:
        if force and path.is_file():
            path.unlink()
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        if not stat.S_ISREG(path.lstat().st_mode) and not path.is_file():
            raise UsageError(f"{path} is no file that can be recorded to: name a new one") from error
        raise RefusedError(f"{path} is there already: name a new file, or add --force to replace it") from error
    except PermissionError as error:
        raise NotPermittedError(f"{path} may not be written: name a file in a directory of your own") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be made: {getattr(error, 'strerror', None) or error}") from error
