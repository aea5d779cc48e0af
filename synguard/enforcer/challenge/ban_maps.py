"""Bans in the program's maps: a place for each, and the lists by which the program finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from synguard.addresses import Network
from synguard.ban_columns import microseconds
from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.every_map import Maps
from synguard.enforcer.challenge.layout import Family
from synguard.enforcer.challenge.lists import Lists, Places, family_of, header_key, lists, step_of
from synguard.enforcer.challenge.proven import ProvenTable
from synguard.enforcer.challenge.slots import Slots
from synguard.enforcer.challenge.stored_bans import stored_bans, stored_lists, stored_proven
from synguard.enforcer.plane import Delta
from synguard.enforcer.reconcile.delta import as_kernel_bans
from synguard.errors import CapacityError
from synguard.model import NO_HITS, Ban, Hits, KernelBan

_US: Final = timedelta(microseconds=1)
_NS_PER_S: Final = 1_000_000_000
_BURST_S: Final = 0.1
"""A limited target may use so much of its rate at once, and 8 SYNs at least: one page of a browser."""
_LEAST_BURST: Final = 8
_LONGEST_CHANGE_NS: Final = 2 * _NS_PER_S
"""A change takes less, some tenths of a millisecond a ban; one that takes longer was cut short."""


class BanMaps:
    """What the program holds: kept beside the kernel's, and read anew once another process has changed bans.

    One process changes them at a time: those that apply hold a lock. Any process reads at any time, so nothing that
    reads writes. The agent gives slots to ports at any time. Of a change that is cut short, by a signal or an error,
    the next one writes what is missing, whichever process makes it.
    """

    def __init__(
        self, maps: Maps, utcnow: Callable[[], datetime], monotonic_ns: Callable[[], int], limit_per_second: float
    ) -> None:
        self._maps, self._utcnow, self._monotonic_ns = maps, utcnow, monotonic_ns
        self._limit_per_second = limit_per_second
        self._seen = -1, 0
        """The number of changes, odd while one is under way, and when this process first saw it (monotonic ns)."""
        self.protected: frozenset[Network] = frozenset()
        """Networks no ban concerns."""
        self.proven: frozenset[Network] = frozenset()
        """Peers that pass,"""
        self.exceptions: frozenset[Network] = frozenset()
        """and those of them that no drop stops."""
        self._follow()

    @property
    def cut_short(self) -> bool:
        """Whether the last read found a change under way for so long that it has failed: the next change mends it."""
        changes, since = self._seen
        return changes % 2 == 1 and self._monotonic_ns() - since >= _LONGEST_CHANGE_NS

    def read(self) -> dict[str, KernelBan]:
        """Return ban id → the ban with its counts, of those whose deadline is ahead."""
        self._follow()
        highest = max(self._held, default=0) + 1
        deadlines = self._maps.bans.read(highest)["deadline"]
        counts = self._maps.ban_counts.read(highest).reshape(highest, -1)  # by place and CPU
        totals = np.stack([counts[name].sum(axis=1) for name in layout.BAN_COUNT.names or ()], axis=1).tolist()
        now = self._monotonic_ns()
        return {
            ban.ban_id: _with_hits(ban, totals[place]) for place, ban in self._held.items() if deadlines[place] > now
        }

    def change(self, change: Delta) -> None:
        """Make the change: bans first, then the lists that name them, then what is gone.

        What goes is first only where there is no room for both, in places or ports.

        Raises:
            CapacityError: The program would hold more bans or ports than it can. Nothing has been changed.
        """
        self._follow()
        idle = self._drop_expired()
        now = self._utcnow()
        adding = {ban.id: ban for ban in change.add if ban.active(now)}
        leaving = {held.ban_id for held in change.remove}.difference(ban.id for ban in change.add) & self._places.keys()
        there = {held.ban_id: held.ports for held in self._held.values()}
        coming = {ban.id: ban.ports for ban in adding.values()}
        if why := _excess(({ban_id: there[ban_id] for ban_id in there.keys() - leaving} | coming).items()):
            raise CapacityError(f"the challenge program {why}")
        begun = self._begin()
        self._clear(idle)
        self.protected = (self.protected - change.allow_remove) | change.allow_add
        if _excess((*there.items(), *coming.items())):
            self._take_out(leaving | {ban_id for ban_id in there.keys() & coming if there[ban_id] != coming[ban_id]})
        self._slots.ensure(port for ban in adding.values() for port in ban.ports)
        free = self._free(len(adding.keys() - self._places.keys()))
        fresh = {ban_id: free.pop() for ban_id in adding if ban_id not in self._places}
        for ban in adding.values():
            self._put(fresh.get(ban.id) or self._places[ban.id], ban, now, fresh=ban.id in fresh)
        self._take_out(leaving & self._places.keys(), frozenset(fresh.values()))
        self._change_proven(change)
        self._number(begun + 1)

    def _take_out(self, ban_ids: Iterable[str], fresh: Set[int] = frozenset()) -> None:
        """Forget these bans, write the lists of those that are held, and then free the places."""
        places = [self._places.pop(ban_id) for ban_id in ban_ids]
        for place in places:
            del self._held[place]
        self._write(self._wanted(), fresh)
        self._clear(places)

    def _begin(self) -> int:
        """Tell every process that a change begins, and return its number; until it has ended, all read anew."""
        begun = (int(self._maps.settings[0]["changes"]) + 1) | 1
        self._number(begun, self._monotonic_ns() - _LONGEST_CHANGE_NS)  # if this process sees it, the change has failed
        return begun

    def _number(self, changes: int, seen_ns: int = 0) -> None:
        """Write the number of changes, and whether there is anything to look up.

        At one go, and at the end: the agent writes settings of its own, and with them what it read before of these. If
        it does so after the end, that is a change cut short.
        """
        settings = self._maps.settings[0]
        settings["changes"] = changes % 2**32
        settings["bans"], settings["headers"] = len(self._held), len(self._lists.headers)
        self._maps.settings[0] = settings
        self._seen = int(settings["changes"]), seen_ns

    def _follow(self) -> None:
        """Take in which ports have slots, and what another process has changed; write nothing."""
        self._slots = Slots(self._maps, self._monotonic_ns)
        changes = int(self._maps.settings[0]["changes"])
        if changes != self._seen[0]:
            self._seen = changes, self._monotonic_ns()
        elif changes % 2 == 0:
            return
        self._held = stored_bans(self._maps, self._slots, self._monotonic_ns())
        self._places = {ban.ban_id: place for place, ban in self._held.items()}
        self._lists = stored_lists(self._maps)
        self.protected = frozenset(of for of, place in self._lists.networks.items() if place == layout.PROTECTED)
        self.proven = stored_proven(self._maps)

    def _put(self, place: int, ban: Ban, now: datetime, *, fresh: bool) -> None:
        record, note = np.zeros(1, layout.BAN)[0], np.zeros(1, layout.NOTE)[0]
        left = ban.left(now)
        record["deadline"] = layout.NEVER if left is None else self._monotonic_ns() + left // _US * 1000
        record["ports"] = self._slots.bits(ban.ports)
        record["interval"] = round(_NS_PER_S / self._limit_per_second)
        burst = max(_LEAST_BURST, round(self._limit_per_second * _BURST_S))
        record["burst"] = (burst - 1) * int(record["interval"])
        record["step"] = step_of(ban)
        record["targeted"] = ban.target.prefixlen > 0
        record["refuses_proven"] = ban.refuses_proven
        note["expires_us"] = microseconds(ban.expires_at)
        note["target"] = _key(ban.target)
        note["family"] = family_of(ban.target)
        note["id"] = ban.id.encode()
        if ban.header is not None:
            record["ttl_low"], record["ttl_high"] = ban.header.ttl
            record["network"], record["mask"] = _masked(ban.target)
            note["header"], note["has_header"] = header_key(ban.header, family_of(ban.target)), 1
        if fresh:
            self._maps.ban_counts[place] = np.zeros(1, layout.BAN_COUNT)[0]
            self._maps.tokens[place] = 0
        self._maps.bans[place], self._maps.notes[place] = record, note
        hits = self._held[place].hits if place in self._held else NO_HITS
        self._held[place] = as_kernel_bans(ban, hits)
        self._places[ban.id] = place

    def _drop_expired(self) -> list[int]:
        """Forget the bans whose deadline has passed; return the places that hold a ban which is none any more."""
        deadlines = self._maps.bans.read()["deadline"]
        now = self._monotonic_ns()
        for place in [place for place in self._held if deadlines[place] <= now]:
            del self._places[self._held.pop(place).ban_id]
        return [place for place in np.flatnonzero(deadlines).tolist() if place not in self._held]

    def _clear(self, places: Iterable[int]) -> None:
        """Let these places name neither a ban nor ports; chains may still lead past them."""
        no_ban, no_note = np.zeros(1, layout.BAN)[0], np.zeros(1, layout.NOTE)[0]
        for place in places:
            self._maps.bans[place], self._maps.notes[place] = no_ban, no_note

    def _free(self, count: int) -> list[int]:
        """Return so many free places; those come last that chains still lead to, as other bans were there."""
        free = [place for place in range(layout.BANS - 1, 0, -1) if place not in self._held]
        chained = self._lists.places if count else frozenset()
        free.sort(key=chained.__contains__, reverse=True)
        return free[len(free) - count :]

    def _wanted(self) -> Lists:
        return lists(self._held, self.protected)

    def _write(self, new: Lists, fresh: Set[int]) -> None:
        """Write what differs, the new before what is gone.

        How a new ban's chain goes on is written before anything leads to that ban, and whatever was there before. The
        chain of a ban that is gone goes on to wider ones until nothing leads to it.
        """
        old, there = self._lists, new.places
        for place in sorted(there, key=lambda place: place in old.after and place not in fresh):
            if (following := new.after.get(place, 0)) != old.after.get(place, 0) or place in fresh:
                self._maps.after[place] = following
        for network, place in new.networks.items():
            if old.networks.get(network) != place:
                self._networks(network).put(_key(network), place)
        for header, place in new.headers.items():
            if old.headers.get(header) != place:
                self._maps.headers.put(header, place)
        self._write_everybody(new.everybody)
        for network in old.networks.keys() - new.networks.keys():
            self._networks(network).remove(_key(network))
        for header in old.headers.keys() - new.headers.keys():
            self._maps.headers.remove(header)
        for place in (old.after.keys() | fresh) - there:
            self._maps.after[place] = 0
        self._lists = new

    def _write_everybody(self, everybody: Mapping[Family, Places]) -> None:
        bits = {place: self._slots.bits(self._held[place].ports) for places in everybody.values() for place in places}
        ports = self._maps.ports.read()
        for slot in (0, *self._slots.of_port.values()):
            value = ports[slot].copy()
            for family in Family:
                here = (place for place in everybody.get(family, ()) if layout.has_bit(bits[place], slot))
                value["everybody"][family] = next(here, 0)
            if value != ports[slot]:
                self._maps.ports[slot] = value

    def _change_proven(self, change: Delta) -> None:
        add = [layout.packed(peer) for peer in change.proven_add]
        remove = [layout.packed(peer) for peer in change.proven_remove & self.proven]
        ProvenTable(self._maps).change(add, remove)
        self.proven = (self.proven - change.proven_remove) | change.proven_add
        self.exceptions = (self.exceptions - change.proven_remove) | change.proven_add

    def _networks(self, network: Network) -> Any:
        return self._maps.networks[family_of(network)]


def _excess(bans: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    """Return why the program cannot hold these bans, each with its ports; nothing where it can."""
    bans = [*bans]
    if len({ban_id for ban_id, _ in bans}) >= layout.BANS:
        return f"holds {layout.BANS - 1:,} bans, and more are to be added"
    if len({port for _, ports in bans for port in ports}) >= layout.SLOTS:
        return f"tells {layout.SLOTS - 1} ports apart, and more are named"
    return ""


def _with_hits(ban: KernelBan, totals: list[int]) -> KernelBan:
    answered, passed, dropped, octets = totals
    return replace(ban, hits=Hits(answered + dropped, octets, answered, passed))


def _key(network: Network) -> tuple[int, Any]:
    address = network.network_address.packed
    return network.prefixlen, np.frombuffer(address + bytes(16 - len(address)), np.uint8)


def _address(peer: Network) -> Any:
    return np.frombuffer(layout.packed(peer), np.uint8)


def _masked(network: Network) -> tuple[Any, Any]:
    length = network.prefixlen + 128 - network.max_prefixlen
    mask = ((1 << length) - 1) << (128 - length)
    return _address(network), np.frombuffer(mask.to_bytes(16, "big"), np.uint8)
