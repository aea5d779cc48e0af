"""Bans in the program's maps: a place for each, and the lists by which the program finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from synguard.addresses import Network
from synguard.ban_columns import microseconds
from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.chains import Chains, network_key
from synguard.enforcer.challenge.every_map import Maps
from synguard.enforcer.challenge.lists import family_of, header_key, step_of
from synguard.enforcer.challenge.proven import ProvenTable
from synguard.enforcer.challenge.slots import Slots
from synguard.enforcer.challenge.stored_bans import stored_bans, stored_proven
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

    One process changes them at a time: those that apply, and the agent that watches ports, hold a lock. Any process
    reads at any time, so nothing that reads writes. Of a change that is cut short, by a signal or an error, the next
    one writes what is missing, whichever process makes it.
    """

    def __init__(
        self, maps: Maps, utcnow: Callable[[], datetime], monotonic_ns: Callable[[], int], limit_per_second: float
    ) -> None:
        self._maps, self._utcnow, self._monotonic_ns = maps, utcnow, monotonic_ns
        self._limit_per_second = limit_per_second
        self._seen = -1, 0
        """The number of changes, odd while one is under way, and when this process first saw it (monotonic ns)."""
        self._held: dict[int, KernelBan]
        self._places: dict[str, int]
        self.proven: frozenset[Network] = frozenset()
        """Peers that pass,"""
        self.exceptions: frozenset[Network] = frozenset()
        """and those of them that no drop stops."""
        self._follow()

    @property
    def protected(self) -> frozenset[Network]:
        """Networks no ban concerns."""
        return self._chains.lists.protected

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
        """Make the change: bans first, then the chains that lead to them, then what is gone.

        A ban that changes has a new place, and keeps its counts. Where there is no room for both, in places or ports,
        what goes is first, and nothing is carried out meanwhile.

        Raises:
            CapacityError: The program would hold more bans or ports than it can. Nothing has been changed.
        """
        self._follow()
        idle = self._drop_expired()
        now = self._utcnow()
        adding = {ban.id: ban for ban in change.add if ban.active(now)}
        gone = {held.ban_id for held in change.remove}.difference(ban.id for ban in change.add)
        staying = {
            place: held
            for place, held in self._held.items()
            if self._places[held.ban_id] == place
            and held.ban_id not in gone
            and (held.ban_id not in adding or _shape(held) == _shape(adding[held.ban_id]))
        }
        if why := _excess({**{held.ban_id: held for held in staying.values()}, **adding}):
            raise CapacityError(f"the challenge program {why}")
        counted = {held.ban_id: place for place, held in self._held.items() if place not in staying}
        kept = {
            one: (self._maps.ban_counts[counted[one]], self._maps.tokens[counted[one]])
            for one in counted & adding.keys()
        }
        there = {held.ban_id for held in staying.values()}
        fresh = [ban for ban in adding.values() if ban.id not in there]
        protected = (self.protected - change.allow_remove) | change.allow_add

        begun = self._begin(headers=any(ban.header for ban in fresh))
        self._clear(idle)
        self._change_proven(change.proven_add, frozenset())
        if _excess({**self._held, **dict(enumerate(fresh, layout.BANS))}):
            self._number(begun, carried_out=False)
            self._follow_chains(staying, protected)
        self._slots.ensure(port for ban in adding.values() for port in ban.ports)
        after = {
            place: self._put(place, adding[held.ban_id], now) if held.ban_id in adding else held
            for place, held in staying.items()
        }
        for place, ban in zip(self._free(len(fresh)), fresh, strict=True):
            counts, tokens = kept.get(ban.id, (np.zeros(1, layout.BAN_COUNT)[0], 0))
            self._maps.ban_counts[place], self._maps.tokens[place] = counts, tokens
            after[place] = self._put(place, ban, now)
        self._follow_chains(after, protected)
        self._change_proven(frozenset(), change.proven_remove)
        self._number(begun + 1)

    def _follow_chains(self, after: dict[int, KernelBan], protected: frozenset[Network]) -> None:
        """Have the program carry out these bans, and free the places of those that are held and not among them."""
        self._chains.change(self._slots, self._held, after, protected)
        self._clear(self._held.keys() - after.keys())
        self._held = after
        self._places = {held.ban_id: place for place, held in after.items()}

    def _begin(self, *, headers: bool) -> int:
        """Tell every process that a change begins, and return its number; until it has ended, all read anew."""
        begun = (int(self._maps.held[0]["changes"]) + 1) | 1
        self._number(
            begun, self._monotonic_ns() - _LONGEST_CHANGE_NS, headers
        )  # if this process sees it, it has failed
        return begun

    def _number(self, changes: int, seen_ns: int = 0, headers: bool = False, *, carried_out: bool = True) -> None:
        """Write the number of changes, and whether there is anything to look up."""
        held = np.zeros(1, layout.HELD)[0]
        held["changes"] = changes % 2**32
        if carried_out:
            held["bans"], held["headers"] = len(self._held), len(self._chains.lists.headers) or headers
        self._maps.held[0] = held
        self._seen = int(held["changes"]), seen_ns

    def _follow(self) -> None:
        """Take in which ports have slots, and what another process has changed; write nothing."""
        self._slots = Slots(self._maps, self._monotonic_ns)
        changes = int(self._maps.held[0]["changes"])
        if changes != self._seen[0]:
            self._seen = changes, self._monotonic_ns()
        elif changes % 2 == 0:
            return
        self._held = stored_bans(self._maps, self._slots, self._monotonic_ns())
        self._places = {ban.ban_id: place for place, ban in self._held.items()}
        """Of a change that was cut short two places may hold one ban; that which is not here is freed by the next."""
        self._chains = Chains(self._maps)
        self.proven = stored_proven(self._maps)

    def _put(self, place: int, ban: Ban, now: datetime) -> KernelBan:
        """Write a ban and what the next process needs to know of it; return it as it is held."""
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
        note["target"] = network_key(ban.target)
        note["family"] = family_of(ban.target)
        note["id"] = ban.id.encode()
        if ban.header is not None:
            record["ttl_low"], record["ttl_high"] = ban.header.ttl
            record["network"], record["mask"] = _masked(ban.target)
            note["header"], note["has_header"] = header_key(ban.header, family_of(ban.target)), 1
        self._maps.bans[place], self._maps.notes[place] = record, note
        return as_kernel_bans(ban, NO_HITS)

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
        """Return so many free places, to which no chain leads."""
        free = [place for place in range(1, layout.BANS) if place not in self._held]
        chained = self._chains.lists.reached if count else set()
        unchained = [place for place in free if place not in chained]
        if len(unchained) >= count:
            return unchained[:count]
        self._follow_chains(self._held, self.protected)  # past bans that have expired
        return free[:count]

    def _change_proven(self, add: frozenset[Network], remove: frozenset[Network]) -> None:
        """Let peers pass before anyone is challenged who was not, and no more once it is so no longer."""
        packed = [[layout.packed(peer) for peer in peers] for peers in (add, remove & self.proven)]
        ProvenTable(self._maps).change(*packed)
        self.proven = (self.proven - remove) | add
        self.exceptions = (self.exceptions - remove) | add


def _shape(ban: Ban | KernelBan) -> tuple[object, ...]:
    """Return what decides which SYNs meet a ban, and where in a chain it stands."""
    return ban.target, ban.action, frozenset(ban.ports), ban.header


def _excess(bans: Mapping[Any, Ban | KernelBan]) -> str:
    """Return why the program cannot hold these bans; nothing where it can."""
    if len(bans) >= layout.BANS:
        return f"holds {layout.BANS - 1:,} bans, and more are to be added"
    if len({port for ban in bans.values() for port in ban.ports}) >= layout.SLOTS:
        return f"tells {layout.SLOTS - 1} ports apart, and more are named"
    return ""


def _with_hits(ban: KernelBan, totals: list[int]) -> KernelBan:
    answered, passed, dropped, octets = totals
    return replace(ban, hits=Hits(answered + dropped, octets, answered, passed))


def _address(peer: Network) -> Any:
    return np.frombuffer(layout.packed(peer), np.uint8)


def _masked(network: Network) -> tuple[Any, Any]:
    length = network.prefixlen + 128 - network.max_prefixlen
    mask = ((1 << length) - 1) << (128 - length)
    return _address(network), np.frombuffer(mask.to_bytes(16, "big"), np.uint8)
