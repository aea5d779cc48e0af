"""The challenge program's maps in memory, and the look-up that the program does in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, cast

import numpy as np

from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.every_map import Maps
from synguard.enforcer.challenge.layout import Family


class FakeMaps:
    """Has of ``Maps`` what bans need; ``called`` is told of each call: the map's name, and whether it wrote."""

    def __init__(self) -> None:
        self.called: Callable[[str, bool], None] = lambda name, wrote: None
        number = np.dtype(np.uint64)
        self.settings = FakeArray(self, "settings", layout.SETTINGS, 1)
        self.held = FakeArray(self, "held", layout.HELD, 1)
        self.ports = FakeArray(self, "ports", layout.PORT, layout.SLOTS)
        self.bans = FakeArray(self, "bans", layout.BAN, layout.BANS)
        self.after = FakeArray(self, "after", layout.PLACE, layout.BANS)
        self.notes = FakeArray(self, "notes", layout.NOTE, layout.BANS)
        self.port_counts = FakeArray(self, "port_counts", layout.PORT_COUNT, layout.SLOTS)
        self.tokens = FakeArray(self, "tokens", number, layout.BANS)
        self.manners = FakeArray(self, "manners", layout.MANNER, layout.SLOTS * len(Family) * layout.MANNERS)
        self.ban_counts = FakeArray(self, "ban_counts", layout.BAN_COUNT, layout.BANS)
        self.networks = tuple(FakeTable(self, f"networks{one}", layout.NETWORK, layout.PLACE) for one in (4, 6))
        self.headers = FakeTable(self, "headers", layout.HEADER, layout.PLACE)
        self.proven = FakeTable(self, "proven", layout.PEER, number)
        self.proven_bits = FakeArray(self, "perhaps_proven", np.dtype((np.uint64, (1 << layout.PROVEN_BITS) // 64)), 1)
        self.slot_of_port = np.zeros(layout.PORTS, np.uint8)

    @property
    def maps(self) -> Maps:
        """Itself, to those that take maps."""
        return cast(Maps, self)

    def step(self, source: str, port: int, now_ns: int, header: Any = None, ttl: int = 64) -> int:
        """Return what happens to a SYN, of a header if one is given, as ``ban_of`` in bpf/challenge.bpf.c has it."""
        address = ip_address(source)
        family = Family.V4 if address.version == 4 else Family.V6
        held = self.held.values[0]
        if not held["bans"]:
            return 0
        around = {network.prefixlen: place for network, place in self._networks(family).items() if address in network}
        first, slot = around[max(around)] if around else 0, int(self.slot_of_port[port])
        if first == layout.PROTECTED:
            return 0
        of_header = self.headers.values.get(np.array([header], layout.HEADER).tobytes(), 0) if header else 0
        everybody = int(self.ports.values[slot]["everybody"][family])
        octets = np.frombuffer(layout.packed(ip_network(source)), np.uint8)
        firsts = (of_header if held["headers"] else 0, first, everybody)
        return next(filter(None, (self._hardest(int(one), slot, now_ns, octets, ttl) for one in firsts)), 0)

    def _hardest(self, place: int, slot: int, now_ns: int, source: Any, ttl: int) -> int:
        found = passed = 0
        while place:
            ban = self.bans.values[place]
            alike = ban["ttl_low"] <= ttl <= ban["ttl_high"] and (source & ban["mask"] == ban["network"]).all()
            if ban["deadline"] > now_ns and layout.has_bit(ban["ports"], slot) and (alike or not ban["ttl_high"]):
                found = max(found, int(ban["step"]))
            place, passed = int(self.after.values[place]), passed + 1
            assert passed <= layout.BANS, "a chain that goes round"
        return found

    def _networks(self, family: Family) -> Mapping[Any, int]:
        found = {}
        for key, place in self.networks[family].values.items():
            record = np.frombuffer(key, layout.NETWORK)[0]
            octets = record["address"].tobytes()
            length = int(record["length"])
            found[ip_network((octets[:4] if family is Family.V4 else octets, length))] = int(place)
        return found


class FakeArray:
    """As ``ArrayMap``."""

    def __init__(self, of: FakeMaps, name: str, value: np.dtype[Any], entries: int) -> None:
        self._of, self.name = of, name
        self.values: Any = np.zeros(entries, value)

    def __getitem__(self, index: int) -> Any:
        self._of.called(self.name, False)
        return self.values[index].copy()

    def __setitem__(self, index: int, value: Any) -> None:
        self._of.called(self.name, True)
        self.values[index] = value

    def read(self, entries: int | None = None) -> Any:
        """Return copies of the first ``entries`` values, or of all."""
        self._of.called(self.name, False)
        return self.values[:entries].copy()


class FakeTable:
    """As ``HashMap``."""

    def __init__(self, of: FakeMaps, name: str, key: np.dtype[Any], value: np.dtype[Any]) -> None:
        self._of, self.name = of, name
        self._key, self._value = key, value
        self.values: dict[bytes, Any] = {}

    def put(self, key: Any, value: Any) -> None:
        """Write one value."""
        self._of.called(self.name, True)
        self.values[np.array([key], self._key).tobytes()] = value

    def remove(self, key: Any) -> None:
        """Remove one value, if it is there."""
        self._of.called(self.name, True)
        self.values.pop(np.array([key], self._key).tobytes(), None)

    def read(self) -> tuple[Any, Any]:
        """Return all keys and values."""
        self._of.called(self.name, False)
        return np.frombuffer(b"".join(self.values), self._key), np.array([*self.values.values()], self._value)
