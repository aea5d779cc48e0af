"""Who must be protected, as the agent last read it; not knowing suspends automatic bans, loudly."""

from __future__ import annotations

import logging
from dataclasses import replace
from ipaddress import IPv6Network
from pathlib import Path
from typing import Final

from synguard.addresses import EMBEDDING
from synguard.agent.sensor_scheduler import SensorScheduler
from synguard.logs import event
from synguard.plain import count
from synguard.readings import Protected
from synguard.status.protected_file import ProtectedFile, read_protected_file

log: Final = logging.getLogger(__name__)


class ProtectedList:
    """Keeps the last reading of who must be protected, also for the next agent; logs what is not known.

    What a source said before it could not be read any more stays protected. It lies in the state directory, where a
    restart and the verbs find it.
    """

    def __init__(self, state_dir: Path) -> None:
        before = read_protected_file(state_dir)
        unread = ("the protected list has not been read yet",)
        self.known = replace(before, problems=unread, gaps=()) if before else Protected({}, unread)
        self.embedding: tuple[IPv6Network, ...] = EMBEDDING
        """Prefixes whose addresses embed IPv4 ones, as configured."""
        self._file = ProtectedFile(state_dir)
        self._unwritten = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """Why automatic bans are suspended, one sentence each; empty while they are not."""
        return tuple(f"automatic bans are suspended: {problem}" for problem in self.known.problems)

    def notes(self) -> tuple[str, ...]:
        """Return what is not known of who must be protected although automatic bans go on."""
        return (*self.known.gaps, self._unwritten)

    def follow(self, scheduler: SensorScheduler, now: float) -> bool:
        """Read anew if that is due; return whether it was. Where it fails, those who were known stay protected."""
        seen = scheduler.protected(now, self.known.parts)
        if seen is None:
            if "protected" not in scheduler.failing:
                return False
            seen = replace(self.known, problems=(scheduler.health["protected"].detail,))
        seen = replace(seen, embedding=self.embedding)
        if self.known.problems and not seen.problems:
            known = len(seen.networks)
            text = "protected list loaded: %s"
            log.info(text, count(known, "network"), extra=event("protected", count=known))
        if seen != self.known or self._unwritten:
            self._keep(seen)
        self.known = seen
        return True

    def _keep(self, seen: Protected) -> None:
        try:
            self._file.write(seen)
        except OSError as error:
            self._unwritten = f"the protected list cannot be kept for verbs and the next agent: {error.strerror}"
        else:
            self._unwritten = ""
