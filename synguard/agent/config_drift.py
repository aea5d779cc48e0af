"""Whether the configuration file still says what runs: an edit that was never taken in protects no address."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from synguard.errors import ConfigError
from synguard.logs import event
from synguard.policy.load import load_config
from synguard.policy.models import Config

log: Final = logging.getLogger(__name__)

OVERRULED: Final = "mode"
"""The one key that an option or ``synguard enable`` outranks."""


class ConfigDrift:
    """Compares the file with what was last taken in, whenever the file has changed; one ``stat`` a status else."""

    def __init__(self, path: Path | None, running: Config) -> None:
        self._path = path
        self._running = running
        self._seen = self._signature()
        self._note = ""

    def taken(self, running: Config) -> None:
        """Note that this configuration has been read to be run with."""
        self._running, self._seen, self._note = running, self._signature(), ""

    def notes(self) -> tuple[str, ...]:
        """Return what differs, one sentence; nothing where the file is as it was taken in."""
        signature = self._signature()
        if signature != self._seen:
            self._seen = signature
            note = self._compared()
            if note and note != self._note:
                log.warning("%s", note, extra=event("config-drift"))
            self._note = note
        return (self._note,) if self._note else ()

    def _signature(self) -> tuple[int, ...]:
        if self._path is None:
            return ()
        try:
            found = self._path.stat()
        except OSError as error:
            return (error.errno or 0,)
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _compared(self) -> str:
        try:
            config = load_config(self._path)
        except ConfigError as error:
            return f"the configuration file cannot be used, the running configuration stays: {error.problems[0]}"
        changed = [
            name
            for name in Config.model_fields
            if name != OVERRULED and getattr(config, name) != getattr(self._running, name)
        ]
        if not changed:
            return ""
        return f"the configuration file differs from what runs ({', '.join(changed)}): reload the agent"
