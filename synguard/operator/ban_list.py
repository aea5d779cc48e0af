"""A long list, banned at one go: columns for the ledger and for the kernel, and no object for each of its bans."""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from typing import Final

from synguard.addresses import Network, numbers_of
from synguard.enforcer.filling import into_ipsets, out_of_ipsets
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.plane import BriefPlane, Delta, Plane
from synguard.enforcer.split_plane import SplitPlane
from synguard.ledger import Ledger
from synguard.ledger.active_drops import ActiveDrop
from synguard.ledger.arrivals import Arrival, Arrivals
from synguard.model import Action, Ban, KernelBan, Origin, Scope
from synguard.network_words import network_of_word, word_of_network
from synguard.operator.ban import POLICY, BanRequest, Impact, new_id

LONG: Final = 1_000
"""Targets from which columns are worth it."""
_ID_BITS: Final = 48


@dataclass(frozen=True, slots=True)
class ListOrder:
    """What a long list comes to."""

    new: Arrivals
    renewed: Arrivals
    """Bans that are active and only get another end."""
    others: Sequence[Ban] = ()
    """Bans of targets that have another ban."""

    @property
    def ids(self) -> list[str]:
        """The ids of all of its bans."""
        return [*(ban.id for ban in self.others), *(one.id for one in (*self.renewed.bans, *self.new.bans))]

    @property
    def moved(self) -> tuple[list[str], int | None]:
        """The ids of the renewed bans, and when they end."""
        bans = self.renewed.bans
        return [one.id for one in bans], bans[0].expires_us if bans else None

    def first(self, count: int) -> list[Ban]:
        """Return the first bans of its columns."""
        some = chain.from_iterable(replace(of, bans=of.bans[:count]).as_bans() for of in (self.renewed, self.new))
        return [*islice(some, count)]

    def with_new(self, ended: Collection[str]) -> ListOrder:
        """Return it with those as new bans that another process has ended meanwhile."""
        ended = set(ended)
        still = [one for one in self.renewed.bans if one.id not in ended]
        anew = [one._replace(id=new_id()) for one in self.renewed.bans if one.id in ended]
        new = replace(self.new, bans=[*self.new.bans, *anew])
        return replace(self, new=new, renewed=replace(self.renewed, bans=still))


def with_same(order: BanRequest, ledger: Ledger, now: datetime) -> tuple[BanRequest, tuple[Ban, ...]]:
    """Return the order, a long one with those of its bans that are active already, and all other active bans."""
    if not _simple(order) or order.force or len(order.targets) <= LONG:
        return order, tuple(ledger.active_bans(now).values())
    usual = order.reason or "by hand"
    drops, others = ledger.active_drops(now, POLICY)
    if not drops:
        return order, tuple(others)
    named, same, rest = set(order.targets), dict[Network, ActiveDrop](), list[Ban]()
    for one in drops:
        target = network_of_word(one.target)
        if target in named and one.reason == ((order.reasons and order.reasons.get(target)) or usual):
            same[target] = one
        else:
            rest.append(one.as_ban(POLICY))
    return replace(order, same=same), (*others, *rest)


def bans_by_id(bans: Iterable[Ban], drops: Iterable[ActiveDrop]) -> dict[str, Ban]:
    """Return id → ban of both."""
    return {ban.id: ban for ban in chain(bans, (drop.as_ban(POLICY) for drop in drops))}


def whole(impact: Impact, order: BanRequest) -> Impact:
    """Return an impact with the active ban that is the same as what is asked for, if there is one."""
    drop = order.same.get(impact.target) if order.same else None
    return impact if drop is None else replace(impact, overlapping=(drop.as_ban(POLICY), *impact.overlapping))


def split(order: BanRequest, impacts: Iterable[Impact]) -> tuple[BanRequest, BanRequest, BanRequest]:
    """Return what of a long list of drops of everything is new, what is the same as before, and the rest.

    The rest has other bans already. Of any other order all is rest, and where force is needed.
    """
    nothing = replace(order, targets=())
    impacts = tuple(impacts)
    if not _simple(order) or any(one.refusals for one in impacts):
        return nothing, nothing, order
    banned = {one.target for one in impacts if any(ban.target == one.target for ban in one.overlapping)}
    if len(order.targets) - len(banned.difference(order.same)) <= LONG:
        return nothing, nothing, order
    if not banned and not order.same:
        return order, nothing, nothing
    parts = list[Network](), list[Network](), list[Network]()
    for target in order.targets:
        parts[1 if target in order.same else 2 if target in banned else 0].append(target)
    new, renewed, rest = (replace(order, targets=tuple(part)) for part in parts)
    return new, renewed, rest


def _simple(order: BanRequest) -> bool:
    return (order.scope, order.action) == (Scope.ALL, Action.DROP)


def list_for(order: BanRequest, now: datetime) -> Arrivals:
    """Return the bans that such an order asks for, in the order of their addresses; they end with a whole second.

    Table and indexes grow at their ends then: ids count upwards too, from where chance says.
    """
    ends = _end(order, now)
    usual, reasons = order.reason or "by hand", order.reasons
    bans = [
        Arrival(f"m{number:012x}", word_of_network(target), ends, (reasons and reasons.get(target)) or usual)
        for number, target in enumerate(sorted(order.targets, key=numbers_of), secrets.randbits(_ID_BITS - 1))
    ]
    return Arrivals(Origin.MANUAL, POLICY, now, bans)


def renewals_for(order: BanRequest, now: datetime) -> Arrivals:
    """Return the active bans of these targets, with the end that the order asks for."""
    ends = _end(order, now)
    drops = map(order.same.__getitem__, order.targets)
    return Arrivals(Origin.MANUAL, POLICY, now, [Arrival(one.id, one.target, ends, one.reason) for one in drops])


def _end(order: BanRequest, now: datetime) -> int | None:
    return None if order.lasts_s is None else math.ceil(now.timestamp() + order.lasts_s)


def takes_columns(plane: Plane) -> bool:
    """Return whether drops can be put into this plane, or renewed there, without an object for each."""
    return isinstance(_firewall(plane), IptablesSetsPlane)


def has_frame(plane: Plane) -> bool:
    """Return whether it is known that the frame is there which drops are put into."""
    firewall = _firewall(plane)
    return isinstance(firewall, BriefPlane) and not firewall.stopped_of(()).missing


def ready(plane: Plane, bans: Arrivals, renewed: Collection[str], now: datetime) -> Callable[[], None]:
    """Return what puts the bans into a plane whose frame is there; it holds those that are ``renewed`` already."""
    if takes_columns(plane):
        return into_ipsets((one[:3] for one in bans.bans), now)
    held = tuple(_held((one.id, one.target) for one in bans.bans if one.id in renewed))
    change = Delta(add=tuple(bans.as_bans()), remove=held)
    return lambda: plane.apply(change)


def taken_out(plane: Plane, drops: Sequence[ActiveDrop]) -> Callable[[], None]:
    """Return what takes drops out of a plane."""
    if takes_columns(plane):
        return out_of_ipsets([drop.target for drop in drops])
    change = Delta(remove=tuple(_held((drop.id, drop.target) for drop in drops)))
    return lambda: plane.apply(change)


def _held(drops: Iterable[tuple[str, str]]) -> Iterator[KernelBan]:
    """Yield what a plane holds of drops, (ban id, target as text), as far as it has to know to find it."""
    return (KernelBan(id_, network_of_word(target), Scope.ALL, Action.DROP) for id_, target in drops)


def _firewall(plane: Plane) -> Plane:
    """Return what alone holds the drops of a plane, if that is so."""
    return plane.firewall if isinstance(plane, SplitPlane) and not plane.copies else plane


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
