"""Who must be protected, as the agent last read it; not knowing suspends automatic bans, loudly."""

from __future__ import annotations

import logging
from typing import Final

from synguard.agent.senses import Senses
from synguard.logs import event
from synguard.readings import Protected

log: Final = logging.getLogger(__name__)


class Protecting:
    """Keeps the last reading of who must be protected, and tells when it is no longer known, and when it is again."""

    def __init__(self) -> None:
        self.known = Protected({}, ("who must be protected has not been read yet",))

    @property
    def problems(self) -> tuple[str, ...]:
        """Why automatic bans are suspended, one sentence each; empty while they are not."""
        return tuple(f"automatic bans are suspended: {problem}" for problem in self.known.problems)

    def follow(self, senses: Senses, now: float) -> bool:
        """Read anew if that is due; return whether it was. Where it fails, those who were known stay protected."""
        seen = senses.protected(now)
        if seen is None:
            failure = senses.health["protected"]
            if failure.ok:
                return False
            seen = Protected(self.known.networks, (failure.detail,))
        for problem in set(seen.problems) - set(self.known.problems):
            log.error("automatic bans are suspended: %s", problem, extra=event("suspended"))
        if self.known.problems and not seen.problems:
            known = len(seen.networks)
            text = "who must be protected is known: %d addresses and networks"
            log.info(text, known, extra=event("protected", count=known))
        self.known = seen
        return True
