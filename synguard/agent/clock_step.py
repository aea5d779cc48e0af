"""A clock that was set back must not make bans last longer than they were meant to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from synguard.model import Ban, Origin

SLACK: Final = timedelta(seconds=5)
"""What time servers correct now and then; a ban that began so little ahead of now is left as it is."""


def shortened(bans: Iterable[Ban], now: datetime) -> dict[str, datetime]:
    """Return the expiry to give each automatic ban that began in what is now the future: its whole length from ``now``.

    Expiries are times of day, because they must outlive a reboot. A clock set back by an hour would so let a ban of
    two minutes stand for an hour and two. Whoever once had its expiry moved has one ahead of its beginning, and is left
    alone. A person's orders are left alone too: they named a time, or can be asked.
    """
    return {
        ban.id: now + (ban.expires_at - ban.created_at)
        for ban in bans
        if ban.origin is Origin.AUTO and ban.expires_at is not None and now + SLACK < ban.created_at < ban.expires_at
    }
