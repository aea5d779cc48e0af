"""In which order lists of bans are shown."""

from __future__ import annotations

from enum import StrEnum


class BanOrder(StrEnum):
    """What lists of bans are sorted by; times soonest first, numbers largest first."""

    EXPIRES = "expires"
    LEFT = "left"
    CREATED = "created"
    PACKETS = "packets"
    SCORE = "score"
    TARGET = "target"
