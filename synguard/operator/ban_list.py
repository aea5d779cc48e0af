"""A long list, banned at one go: columns for the ledger and for the kernel, and no object for each of its bans."""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from synguard.addresses import Network, numbers_of
from synguard.enforcer.iptables import set_filling
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.plane import Delta, Plane
from synguard.enforcer.split_plane import SplitPlane
from synguard.ledger.arrivals import Arrival, Arrivals
from synguard.model import Action, Origin, Scope
from synguard.network_words import word_of_network
from synguard.operator.ban import POLICY, BanRequest, Impact

LONG: Final = 1_000
"""Targets from which columns are worth it."""
AT_ONCE: Final = 10_000
"""Bans that are put in while the lock is held: the agent waits for it no longer than a tenth of a second."""
_ID_BITS: Final = 48


def split(order: BanRequest, impacts: Iterable[Impact]) -> tuple[BanRequest, BanRequest]:
    """Return what of a long list of drops of everything can be done as columns, and the rest, which has bans already.

    Of any other order all is rest, and where force is needed.
    """
    nothing = replace(order, targets=())
    impacts = tuple(impacts)
    if (order.scope, order.action) != (Scope.ALL, Action.DROP) or any(one.refusals for one in impacts):
        return nothing, order
    banned = {one.target for one in impacts if any(ban.target == one.target for ban in one.overlapping)}
    if len(order.targets) - len(banned) <= LONG:
        return nothing, order
    if not banned:
        return order, nothing
    new, rest = list[Network](), list[Network]()
    for target in order.targets:
        (rest if target in banned else new).append(target)
    return replace(order, targets=tuple(new)), replace(order, targets=tuple(rest))


def list_for(order: BanRequest, now: datetime) -> Arrivals:
    """Return the bans that such an order asks for, in the order of their addresses; they end with a whole second.

    Table and indexes grow at their ends then: ids count upwards too, from where chance says.
    """
    ends = None if order.lasts_s is None else math.ceil(now.timestamp() + order.lasts_s)
    usual, reasons = order.reason or "by hand", order.reasons
    bans = [
        Arrival(f"m{number:012x}", word_of_network(target), ends, (reasons and reasons.get(target)) or usual)
        for number, target in enumerate(sorted(order.targets, key=numbers_of), secrets.randbits(_ID_BITS - 1))
    ]
    return Arrivals(Origin.MANUAL, POLICY, now, bans)


def fill(plane: Plane, bans: Arrivals, now: datetime) -> None:
    """Put the bans into a plane whose frame is there.

    Raises:
        PlaneError: It does not take them; what came before may be in.
    """
    firewall = plane.firewall if isinstance(plane, SplitPlane) and not plane.copies else plane
    if isinstance(firewall, IptablesSetsPlane):
        set_filling.put(set_filling.members_of(((one.id, one.target, one.expires_at) for one in bans.bans), now))
    else:
        plane.apply(Delta(add=tuple(bans.as_bans())))


def room_of(plane: Plane, bans: Arrivals) -> Counter[str]:
    """Return place → members that the bans take there: all of one family and prefix length share a place."""
    examples: dict[tuple[bool, str], Arrival] = {}
    sizes: Counter[tuple[bool, str]] = Counter()
    for one in bans.bans:
        shape = ":" in one.target, one.target.partition("/")[2]
        examples.setdefault(shape, one)
        sizes[shape] += 1
    counts: Counter[str] = Counter()
    for shape, size in sizes.items():
        (example,) = replace(bans, bans=[examples[shape]]).as_bans()
        counts[plane.place(example)[0]] += size
    return counts
