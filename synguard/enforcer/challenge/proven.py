"""Proven peers as the program looks for them: a table, and a bit for each that spares nearly all others the look-up."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np

from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.every_map import Maps

_MIX: Final = np.array([3_266_489_917, 668_265_263, 374_761_393, 1], np.uint32)
_MIX_AGAIN: Final = np.uint32(2_654_435_761)


class ProvenTable:
    """Addresses as the program holds them, 16 bytes each; who changes them holds the lock of those that change bans."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps

    def read(self) -> set[bytes]:
        """Return the addresses that are held."""
        return {key.tobytes() for key in self._maps.proven.read()[0]}

    def change(self, add: Collection[bytes], remove: Collection[bytes]) -> None:
        """Hold these addresses too, and those no more; a bit is there for as long as its address."""
        if not (add or remove):
            return
        bits = self._maps.proven_bits
        bits[0] = bits[0] | proven_bits(add)
        for address in remove:
            self._maps.proven.remove((np.frombuffer(address, np.uint8),))
        for address in add:
            self._maps.proven.put((np.frombuffer(address, np.uint8),), 0)
        if remove:
            bits[0] = proven_bits(self.read())


def proven_bits(addresses: Collection[bytes]) -> layout.Words:
    """Return the bits of these addresses, as ``proven_peer`` in bpf/challenge.bpf.c looks at them."""
    words = np.frombuffer(b"".join(addresses), np.uint32).reshape(-1, 4)
    mixed = np.bitwise_xor.reduce(words * _MIX, axis=1) * _MIX_AGAIN
    bits = np.zeros(1 << layout.PROVEN_BITS, np.uint8)
    bits[mixed >> np.uint32(32 - layout.PROVEN_BITS)] = 1
    return np.packbits(bits, bitorder="little").view(np.uint64)
