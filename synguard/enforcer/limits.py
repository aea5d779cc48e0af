"""What no plane can hold, refused before anything is sent."""

from __future__ import annotations

import re
from typing import Final

from synguard.enforcer.plane import Delta
from synguard.errors import PlaneError

BANS_AT_INTERFACE: Final = 4_095
"""Bans that the challenge program carries out itself; the other half of its places is for copies of the firewall's."""
PORTS_AT_INTERFACE: Final = 128
"""Ports that these may name; half of those that the program tells apart, as copies name some too."""

_BAN_ID: Final = re.compile(r"[a-z0-9-]{1,32}")


def ensure_possible(change: Delta, *, at_interface: bool = False) -> None:
    """Return if every added ban and exception can be written to the kernel, or ``at_interface`` to a program too.

    Raises:
        PlaneError: A ban that no firewall carries out, a network of length 0 (sets cannot hold it, and it would be
            everybody), or an id that does not fit the comment by which a rule is recognised again. Nothing has been
            changed.
    """
    for network in (*(ban.target for ban in change.add if not ban.at_interface), *change.allow_add, *change.proven_add):
        if network.prefixlen == 0:
            raise PlaneError(
                f"adding {network}", "a network of length 0 cannot be held; name two halves if you mean it"
            )
    for ban in change.add:
        if ban.at_interface and not at_interface:
            what = "a drop of one SYN header" if ban.header else f'the action "{ban.action}"'
            raise PlaneError(f"adding {ban.target}", f"{what} needs the challenge program")
        if not _BAN_ID.fullmatch(ban.id):
            raise PlaneError(f'adding the ban "{ban.id[:40]}"', "its id is not 1 to 32 of a-z, 0-9 and -")
