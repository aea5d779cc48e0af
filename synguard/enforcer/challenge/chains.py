"""The chains of bans in the program's maps, changed while the program follows them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby
from typing import Any, Final, TypeAlias

import numpy as np

from synguard.addresses import Network
from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.every_map import Maps
from synguard.enforcer.challenge.layout import Family
from synguard.enforcer.challenge.lists import Lists, family_of, lists, step_of
from synguard.enforcer.challenge.slots import Slots
from synguard.enforcer.challenge.stored_bans import stored_lists
from synguard.model import KernelBan

Bans: TypeAlias = Mapping[int, KernelBan]
"""Place → ban."""


class Chains:
    """What the program looks up. Of the writes of a change none lets a SYN meet a harder step than both before the
    change and after it, nor a milder one.

    The program looks at the bans of a header, else at those of the source, else at those of everybody on the port, and
    carries out the hardest. So bans are added in this order, the hardest first, and those that leave are taken out the
    other way round. Chains are in one order, by target, step and place: a ban that changes has a new place, so that no
    two bans of a chain ever change sides.
    """

    def __init__(self, maps: Maps) -> None:
        self._maps: Final = maps
        self.lists = stored_lists(maps)

    def change(self, slots: Slots, before: Bans, after: Bans, protected: frozenset[Network]) -> None:
        """Have the program follow the chains of the bans ``after``, where it followed those ``before``.

        The bans of both are in the maps, and a place that is in both has the same one.
        """
        now, meanwhile = {**before}, self.lists.protected | protected
        coming, leaving = _in_order(after, before), _in_order(before, after)[::-1]
        if meanwhile != self.lists.protected or not coming:
            self._write(slots, now, meanwhile)
        for places in coming:
            now |= {place: after[place] for place in places}
            self._write(slots, now, meanwhile)
        for places in leaving:
            for place in places:
                del now[place]
            self._write(slots, now, meanwhile)
        if meanwhile != protected:
            self._write(slots, now, protected)

    def _write(self, slots: Slots, bans: Bans, protected: Collection[Network]) -> None:
        """Write what differs; how chains go on that nothing leads to yet comes first."""
        old, new = self.lists, lists(bans, protected)
        after, reached, there = dict(old.after), old.reached, new.reached

        def lead(places: Iterable[int]) -> None:
            for place in places:
                if (following := new.after.get(place, 0)) != after.get(place, 0):
                    self._maps.after[place] = after[place] = following

        lead(there - reached)
        lead(there & reached)
        _exchange(old.headers, new.headers, lambda _: self._maps.headers, lambda header: header)
        _exchange(old.networks, new.networks, lambda network: self._maps.networks[family_of(network)], network_key)
        self._write_everybody(slots, bans, new)
        lead(after.keys() - there)
        self.lists = new

    def _write_everybody(self, slots: Slots, bans: Bans, new: Lists) -> None:
        bits = {place: slots.bits(bans[place].ports) for places in new.everybody.values() for place in places}
        ports = self._maps.ports.read()
        for slot in (0, *slots.of_port.values()):
            value = ports[slot].copy()
            for family in Family:
                here = (place for place in new.everybody.get(family, ()) if layout.has_bit(bits[place], slot))
                value["everybody"][family] = next(here, 0)
            if value != ports[slot]:
                self._maps.ports[slot] = value


def _in_order(bans: Bans, less: Bans) -> list[list[int]]:
    """Return the places of bans, less some, by whether they come first to the program, and the harder before."""
    places = sorted(bans.keys() - less.keys(), key=lambda place: _order(bans[place]))
    return [list(group) for _, group in groupby(places, lambda place: _order(bans[place]))]


def _order(ban: KernelBan) -> tuple[bool, bool, int]:
    return ban.header is None, ban.target.prefixlen == 0, -step_of(ban)


def network_key(network: Network) -> tuple[int, Any]:
    """Return what a network is looked up by."""
    address = network.network_address.packed
    return network.prefixlen, np.frombuffer(address + bytes(16 - len(address)), np.uint8)


def _exchange(old: Mapping[Any, int], new: Mapping[Any, int], table: Any, key: Any) -> None:
    """Write where chains begin, and remove where none begins any more: a wider network's is found from then on."""
    for of, place in new.items():
        if old.get(of) != place:
            table(of).put(key(of), place)
    for of in old.keys() - new.keys():
        table(of).remove(key(of))
