"""How a log line looks: text for people, with priorities for journald, or JSON with stable keys.

A line is made with ``log.warning("repaired: %s", drift, extra=event("repair"))``. Whatever it says is put on one line,
control characters escaped, and cut at ``LONGEST``: no one who names a process can write a line of his own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Final, Literal

from synguard.plain import clipped, printable

Format = Literal["text", "json"]
Value = str | int | float | bool | None

LONGEST: Final = 4096
"""Characters of a message or of a field; a traceback is allowed as many."""

_KEY: Final = "synguard_event"
_PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def event(word: str, **fields: Value) -> dict[str, object]:
    """Return what names a line's event and its fields, as docs/logs.md has them: the ``extra`` of a log call."""
    return {_KEY: (word, fields)}


class Lines(logging.Formatter):
    """Makes one line of each record; for ``journald``, which stamps it, with a priority in front and no time."""

    def __init__(self, form: Format = "text", *, journald: bool = False) -> None:
        super().__init__()
        self._form = form
        self._journald = journald

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        prefix = f"<{_priority(record.levelno)}>" if self._journald else ""
        return prefix + (self._json(record) if self._form == "json" else self._text(record))

    def _text(self, record: logging.LogRecord) -> str:
        line = _message(record)
        if record.exc_info:
            line += f" | {_clean(self.formatException(record.exc_info))}"
        if self._journald:
            return line
        when = datetime.fromtimestamp(record.created).astimezone()
        return f"{when:%Y-%m-%dT%H:%M:%S%z} {record.levelname} {line}"

    def _json(self, record: logging.LogRecord) -> str:
        word, fields = getattr(record, _KEY, ("other", {}))
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Value] = {
            "ts": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": word,
            "message": _message(record),
        }
        line.update({name: _clean(value) if isinstance(value, str) else value for name, value in fields.items()})
        if record.exc_info:
            line["traceback"] = _clean(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=True)


@contextmanager
def logging_to_stderr(form: Format = "text", *, verbose: bool = False) -> Iterator[None]:
    """Send what is logged to stderr meanwhile, in this form."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(form, journald=reaches_journald(sys.stderr, os.environ)))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def reaches_journald(stream: IO[str], environment: Mapping[str, str]) -> bool:
    """Return whether a stream is the socket to journald that ``JOURNAL_STREAM`` names, as ``device:inode``.

    A child of a service inherits the variable, whatever its stderr is by then.

    Source: systemd.exec(5), ``$JOURNAL_STREAM``; sd-daemon(3) for the priorities.
    """
    named = environment.get("JOURNAL_STREAM", "")
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{there.st_dev}:{there.st_ino}"


def _priority(level: int) -> int:
    return next((priority for at_least, priority in _PRIORITIES if level >= at_least), 7)


def _message(record: logging.LogRecord) -> str:
    return _clean(record.getMessage())


def _clean(text: str) -> str:
    return clipped(printable(text), LONGEST)
