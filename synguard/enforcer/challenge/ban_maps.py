"""Bans in the program's maps: a place for each, and the lists by which the program finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any, Final

import numpy as np

from synguard.addresses import Network, host_network, unmapped
from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.every_map import Maps
from synguard.enforcer.challenge.layout import Family
from synguard.enforcer.challenge.lists import (
    HeaderKey,
    Lists,
    Places,
    family_of,
    header_key,
    lists,
    step_of,
)
from synguard.enforcer.challenge.proven import ProvenTable
from synguard.enforcer.challenge.slots import Slots
from synguard.enforcer.plane import Delta
from synguard.enforcer.reconcile.delta import as_kernel_bans
from synguard.errors import CapacityError
from synguard.model import NO_HITS, Action, Ban, Hits, KernelBan, Scope
from synguard.packed_bans import microseconds, moment
from synguard.syn_header import SynHeader

_ACTIONS: Final = {
    layout.ProgramStep.CHALLENGE: Action.CHALLENGE,
    layout.ProgramStep.LIMIT: Action.LIMIT,
    layout.ProgramStep.DROP: Action.DROP,
    layout.ProgramStep.LEAVE: Action.REJECT,
}
_US: Final = timedelta(microseconds=1)
_NS_PER_S: Final = 1_000_000_000
_BURST_S: Final = 0.1
"""A limited target may use so much of its rate at once, and 8 SYNs at least: one page of a browser."""
_LEAST_BURST: Final = 8


class BanMaps:
    """What the program holds: kept beside the kernel's, and read anew once another process has changed bans.

    One process changes them at a time: those that apply hold a lock. The agent gives slots to ports at any time.
    """

    def __init__(
        self, maps: Maps, utcnow: Callable[[], datetime], monotonic_ns: Callable[[], int], limit_per_second: float
    ) -> None:
        self._maps, self._utcnow, self._monotonic_ns = maps, utcnow, monotonic_ns
        self._limit_per_second = limit_per_second
        self._changes = -1
        self.protected: frozenset[Network] = frozenset()
        """Networks no ban concerns."""
        self.proven: frozenset[Network] = frozenset()
        """Peers that pass,"""
        self.exceptions: frozenset[Network] = frozenset()
        """and those of them that no drop stops."""
        self._follow()

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

        Raises:
            CapacityError: More bans, ports or networks than the program holds. Nothing has been changed.
        """
        self._follow()
        self._drop_expired()
        staying = {ban.id for ban in change.add}
        leaving = [self._places[held.ban_id] for held in change.remove if held.ban_id in self._places]
        leaving = [place for place in leaving if self._held[place].ban_id not in staying]
        now = self._utcnow()
        adding = [ban for ban in change.add if ban.active(now)]
        free = self._free(len([ban for ban in adding if ban.id not in self._places]))
        self._slots.ensure(port for ban in adding for port in ban.ports)
        for ban in adding:
            place = self._places.get(ban.id) or free.pop()
            self._put(place, ban, now, fresh=ban.id not in self._places)
        for place in leaving:
            del self._places[self._held.pop(place).ban_id]
        self.protected = (self.protected - change.allow_remove) | change.allow_add
        self._write(self._lists, self._wanted())
        for place in leaving:
            self._maps.bans[place] = np.zeros(1, layout.BAN)[0]
            self._maps.notes[place] = np.zeros(1, layout.NOTE)[0]
        self._change_proven(change)
        settings = self._maps.settings[0]
        settings["changes"] += 1
        self._maps.settings[0] = settings
        self._changes = int(settings["changes"])

    def _follow(self) -> None:
        """Take in which ports have slots, and what another process has changed."""
        self._slots = Slots(self._maps)
        changes = int(self._maps.settings[0]["changes"])
        if changes == self._changes:
            return
        self._held = self._stored()
        self._places = {ban.ban_id: place for place, ban in self._held.items()}
        self.protected = self._stored_protected()
        self.proven = frozenset(_network(address) for address in ProvenTable(self._maps).read())
        self._write(Lists(self._stored_networks(), {}, self._stored_headers(), self._stored_after()), self._wanted())
        self._changes = changes

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

    def _drop_expired(self) -> None:
        """Forget the bans whose deadline has passed: their places are free."""
        deadlines = self._maps.bans.read()["deadline"]
        now = self._monotonic_ns()
        for place in [place for place in self._held if deadlines[place] <= now]:
            del self._places[self._held.pop(place).ban_id]

    def _free(self, count: int) -> list[int]:
        """Return so many free places; those come last that chains still lead to, as other bans were there."""
        free = [place for place in range(layout.BANS - 1, 0, -1) if place not in self._held]
        chained = self._lists.places if count else frozenset()
        free.sort(key=chained.__contains__, reverse=True)
        if len(free) < count:
            raise CapacityError(f"the challenge program holds {layout.BANS - 1:,} bans, and more are to be added")
        return free[len(free) - count :]

    def _wanted(self) -> Lists:
        return lists(self._held, self.protected)

    def _write(self, old: Lists, new: Lists) -> None:
        """Write what differs, the new before what is gone, and say whether there is anything to look up.

        How a new ban's chain goes on is written before anything leads to that ban.
        """
        for place in sorted(new.after.keys() | old.after.keys(), key=old.after.__contains__):
            if (following := new.after.get(place, 0)) != old.after.get(place, 0):
                self._maps.after[place] = following
        for network, place in new.networks.items():
            if old.networks.get(network) != place:
                self._networks(network).put(_key(network), place)
        for header, place in new.headers.items():
            if old.headers.get(header) != place:
                self._maps.headers.put(header, place)
        self._write_everybody(new.everybody)
        settings = self._maps.settings[0]
        before = settings.copy()
        settings["bans"], settings["headers"] = len(self._held), len(new.headers)
        if settings != before:
            self._maps.settings[0] = settings
        for network in old.networks.keys() - new.networks.keys():
            self._networks(network).remove(_key(network))
        for header in old.headers.keys() - new.headers.keys():
            self._maps.headers.remove(header)
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

    def _stored(self) -> dict[int, KernelBan]:
        notes, records = self._maps.notes.read(), self._maps.bans.read()
        now = self._monotonic_ns()
        return {
            int(place): _held(notes[place], records[place], self._slots)
            for place in np.flatnonzero((notes["id"] != b"") & (records["deadline"] > now))
        }

    def _stored_after(self) -> dict[int, int]:
        after = self._maps.after.read()
        return {int(place): int(after[place]) for place in np.flatnonzero(after)}

    def _stored_networks(self) -> dict[Network, int]:
        found: dict[Network, int] = {}
        for family in Family:
            keys, values = self._maps.networks[family].read()
            for key, value in zip(keys, values, strict=True):
                found[_stored_network(key, family)] = int(value)
        return found

    def _stored_protected(self) -> frozenset[Network]:
        stored = self._stored_networks()
        return frozenset(network for network, place in stored.items() if place == layout.PROTECTED)

    def _stored_headers(self) -> dict[HeaderKey, int]:
        keys, values = self._maps.headers.read()
        return {
            tuple(int(part) for part in key): int(value)  # type: ignore[misc]  # five parts
            for key, value in zip(keys, values, strict=True)
        }


def _held(note: Any, record: Any, slots: Slots) -> KernelBan:
    header = None
    if note["has_header"]:
        options, window, mss, length, _ = (int(part) for part in note["header"])
        header = SynHeader((int(record["ttl_low"]), int(record["ttl_high"])), window, mss, options, length)
    return KernelBan(
        ban_id=note["id"].decode(),
        target=_stored_network(note["target"], Family(note["family"])),
        scope=Scope.NEW,
        action=_ACTIONS[layout.ProgramStep(record["step"])],
        ports=slots.ports(record["ports"]),
        expires_at=moment(int(note["expires_us"])),
        header=header,
        refuses_proven=bool(record["refuses_proven"]),
    )


def _with_hits(ban: KernelBan, totals: list[int]) -> KernelBan:
    answered, passed, dropped, octets = totals
    return replace(ban, hits=Hits(answered + dropped, octets, answered, passed))


def _key(network: Network) -> tuple[int, Any]:
    address = network.network_address.packed
    return network.prefixlen, np.frombuffer(address + bytes(16 - len(address)), np.uint8)


def _stored_network(key: Any, family: Family) -> Network:
    octets = key["address"].tobytes()
    return ip_network((octets[:4] if family is Family.V4 else octets, int(key["length"])))


def _address(peer: Network) -> Any:
    return np.frombuffer(layout.packed(peer), np.uint8)


def _network(packed: bytes) -> Network:
    return host_network(unmapped(ip_address(packed)))


def _masked(network: Network) -> tuple[Any, Any]:
    length = network.prefixlen + 128 - network.max_prefixlen
    mask = ((1 << length) - 1) << (128 - length)
    return _address(network), np.frombuffer(mask.to_bytes(16, "big"), np.uint8)
