"""What the text of ``ipset save`` tells of our bans, without a line of it becoming an object."""

from __future__ import annotations

import re
from typing import Final

from synguard.addresses import format_network
from synguard.enforcer.names import SET_PREFIX, Kind
from synguard.enforcer.plane import Stopped
from synguard.model import Hits
from synguard.network_words import network_of_word

_BANS: Final = "|".join(kind for kind in Kind if kind.action is not None)
_TARGET: Final = re.compile(rf"^add {SET_PREFIX}(?:{_BANS})-[46] ([^ ,]+)", re.MULTILINE)
_COUNTED: Final = re.compile(r'packets ([1-9]\d{0,19}) bytes (\d{1,20}) comment "synguard ban (\S+) until ')


def stopped_in(text: str) -> Stopped:
    """Return what the bans in the output of ``ipset save`` stop; a ban's counts are summed over its members."""
    hits: dict[str, Hits] = {}
    for packets, octets, ban_id in _COUNTED.findall(text):
        hits[ban_id] = hits.get(ban_id, Hits(0, 0)) + Hits(int(packets), int(octets))
    targets = {
        format_network(network_of_word(one)) if "." in one and ":" in one else one for one in _TARGET.findall(text)
    }
    return Stopped(targets, hits)
