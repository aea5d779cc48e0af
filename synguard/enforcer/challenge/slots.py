"""Which local ports have a slot in the program: those that are watched, and those that bans name."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Final

import numpy as np

from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.every_map import Maps
from synguard.errors import CapacityError

_MANNERS: Final = len(layout.Family) * layout.MANNERS
_ALL: Final = np.full(layout.SLOTS // 64, 2**64 - 1, np.uint64)


class Slots:
    """Port → slot, as the kernel holds it."""

    def __init__(self, maps: Maps, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._maps, self._monotonic_ns = maps, monotonic_ns
        numbers = maps.ports.read()["number"]
        self.of_port = {int(numbers[slot]): int(slot) for slot in np.flatnonzero(numbers)}

    def watch(self, onset_by_port: Mapping[int, int]) -> None:
        """Give each of these ports a slot and its onset threshold; free the slots that neither they nor bans need.

        Of more ports than there are slots the lowest numbers get one. The caller holds the lock of those that change
        bans: between the slot that a ban's port is given and the ban itself the slot is no one's.
        """
        wanted = {port: onset for port, onset in onset_by_port.items() if port}
        named = self._named_by_bans()
        for port in [port for port, slot in self.of_port.items() if port not in wanted and not named[slot]]:
            self._free(port)
        room = layout.SLOTS - 1 - len(self.of_port)
        new = sorted(wanted.keys() - self.of_port.keys())[:room]
        self.ensure(new)
        for port, slot in {0: 0, **self.of_port}.items():
            self._set_onset(slot, onset_by_port.get(port, 0))

    def ensure(self, ports: Iterable[int]) -> None:
        """Give each of these ports a slot if it has none; one that is watched, and named by no ban, gives way.

        Raises:
            CapacityError: There are no more slots.
        """
        ports = dict.fromkeys(ports)
        for port in ports:
            if port in self.of_port:
                continue
            slot = self._unused(ports)
            value = np.zeros(1, layout.PORT)[0]
            value["everybody"] = self._maps.ports[0]["everybody"]  # bans of everybody on all ports
            value["number"] = port
            for number in range(slot * _MANNERS, (slot + 1) * _MANNERS):
                self._maps.manners[number] = np.zeros(1, layout.MANNER)[0]
            self._maps.ports[slot] = value
            self._maps.slot_of_port[port] = slot
            self.of_port[port] = slot

    def bits(self, ports: Iterable[int]) -> layout.Words:
        """Return the bits of these ports' slots, which they must have; all bits for no ports."""
        chosen = [self.of_port[port] for port in ports]
        if not chosen:
            return _ALL.copy()
        words = np.zeros_like(_ALL)
        for slot in chosen:
            words[slot // 64] |= np.uint64(1 << slot % 64)
        return words

    def ports(self, bits: layout.Words) -> tuple[int, ...]:
        """Return the ports of these bits, in order; none for all."""
        if (bits == _ALL).all():
            return ()
        return tuple(sorted(port for port, slot in self.of_port.items() if layout.has_bit(bits, slot)))

    def _named_by_bans(self) -> list[bool]:
        bans = self._maps.bans.read()
        bits = bans["ports"][bans["deadline"] > self._monotonic_ns()]
        some = bits[~(bits == _ALL).all(axis=1)]
        joined = np.bitwise_or.reduce(some, axis=0) if len(some) else np.zeros_like(_ALL)
        return [layout.has_bit(joined, slot) for slot in range(layout.SLOTS)]

    def _unused(self, wanted: Container[int]) -> int:
        taken = set(self.of_port.values())
        for slot in range(1, layout.SLOTS):
            if slot not in taken:
                return slot
        named = self._named_by_bans()
        for port, slot in self.of_port.items():
            if not named[slot] and port not in wanted:
                self._free(port)
                return slot
        raise CapacityError(f"the challenge program tells {layout.SLOTS - 1} ports apart, and more are named")

    def _set_onset(self, slot: int, onset: int) -> None:
        value = self._maps.ports[slot]
        if value["onset"] != onset:
            value["onset"] = onset
            self._maps.ports[slot] = value

    def _free(self, port: int) -> None:
        slot = self.of_port.pop(port)
        self._maps.slot_of_port[port] = 0
        self._maps.ports[slot] = np.zeros(1, layout.PORT)[0]
