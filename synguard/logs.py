"""How a log line looks: text for people, with priorities for journald, or JSON with stable keys.

A line is made with ``log.warning("repaired: %s", drift, extra=event("repair"))``. Whatever it says is put on one line,
control characters escaped, and cut at ``LONGEST``: nobody who names a process can write a line of his own.
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

EVENTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "start": ("the agent watches this host", ("mode", "policies", "version")),
    "stop": ("the agent received a signal to stop, or has cleaned up", ("signal",)),
    "reload": ("config and policies were read again", ("policies",)),
    "reload-refused": ("a fault of the new config or policies; the running ones are kept", ()),
    "mode": ("the agent enforces now, or is in dry-run again, and why", ()),
    "plane": ("which plane holds bans, or why none does", ("plane",)),
    "clock": ("the clock was set back, and bans were shortened to what they were meant to last", ()),
    "not-in-kernel": ("in dry-run: active bans are no longer in the kernel, or are again", ()),
    "repair": ("another tool removed our rules; they are back, or repairs wait because it happens again and again", ()),
    "incident-start": ("an incident begins", ("incident", "kind")),
    "incident-phase": ("pressure is gone, or back, within an incident", ("incident", "phase")),
    "incident-end": (
        "an incident is over",
        ("incident", "kind", "seconds", "bans", "spared", "peak_half_open", "peak_syn_pps"),
    ),
    "ban": (
        "a target is banned, or would be",
        ("target", "ban", "scope", "ports", "seconds", "policy", "reason", "dry_run"),
    ),
    "bans": ("the number of further bans of the same tick", ("count", "dry_run")),
    "not-banning": ("a budget or the share of served clients forbids further bans", ()),
    "suspended": ("it is not known which addresses to protect, so automatic bans are suspended", ()),
    "protected": ("the protected list was loaded", ("count",)),
    "protected-gap": ("further protected addresses cannot be known here, or cannot be kept for a restart", ()),
    "config-drift": ("the configuration file is no longer what runs", ()),
    "flood": ("a verdict about the whole flood: forged, or no flood but a slow application", ("verdict",)),
    "leak": ("a banned target still arrives, or no longer does", ("target", "ban")),
    "leaks": ("the number of further leaks", ("count",)),
    "cookies": ("SYN cookies were turned on or put back, or could not be", ()),
    "sensor": ("a sensor cannot read, or reads again", ("sensor", "ok")),
    "containers": ("which other network namespaces are watched", ()),
    "ceiling": ("the kernel nears what it may hold, has no room for more bans, or holds all of them again", ()),
    "sampler-blind": ("the kernel turns away more SYNs than are sampled, or that is over", ()),
    "challenge": ("SYNs cannot be challenged on this host, or no longer", ()),
    "eviction": ("sockets of banned sources cannot be freed here", ()),
    "ledger": ("the ledger cannot be written, or can be again", ()),
    "readers": ("the group of `read_group` cannot be let read", ()),
    "history": ("the history of pressure is not kept, or is kept again", ()),
    "status-file": ("the status file cannot be written", ()),
    "recording": ("a recording ended", ("file",)),
    "notify": ("a message could not be delivered, or can be again", ("service", "about")),
    "metrics": ("where metrics are served, or why they are not", ("listen",)),
    "fleet": ("a peer of the fleet answers, or does not", ("peer",)),
    "service": ("the service manager cannot be notified how the agent is, or capabilities cannot be given up", ()),
    "other": ("whatever has no word of its own, such as a line of a library", ()),
}
"""Event → (what it tells, the fields it may carry); docs/logs.md is checked against this."""

_KEY: Final = "synguard_event"
_PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def event(word: str, **fields: Value) -> dict[str, object]:
    """Return what names a line's event and its fields: the ``extra`` of a log call."""
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
