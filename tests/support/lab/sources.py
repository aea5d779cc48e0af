"""Where the SYNs of a flood say they come from: arrays of addresses, drawn without a Python object for each."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from tests.support.lab.flood_plan import SourceGroup

U64 = npt.NDArray[np.uint64]
Pair = tuple[U64, U64]
"""High and low 64 bits; an IPv4 address is a low half below 2**32 and a high half of 0."""

NOT_PUBLIC4: Final = tuple(
    IPv4Network(text)
    for text in [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    ]
)
"""IPv4 that no flood from ``anywhere`` uses: reserved, private, multicast, and with them every address of the lab."""

_PUBLIC6: Final = np.array([0x2400, 0x2600, 0x2800, 0x2A00, 0x2C00], np.uint64)
"""First 16 bits of the /12s that the regional registries hand out."""


class Draw(Protocol):
    """A stream of source addresses."""

    def take(self, count: int) -> Pair:
        """Return the next ``count`` of them."""


def draw(group: SourceGroup, rng: np.random.Generator) -> Draw:
    """Return the stream that a source group asks for."""
    if group.addresses:
        return InTurn([int(address) for address in group.addresses])
    if group.prefix is not None:
        network = ip_network(group.prefix)
        return InTurn(_spread(network, group.distinct)) if group.distinct else AnyHost(network, rng)
    return Anywhere4(rng) if group.anywhere == 4 else Anywhere6(rng)


class InTurn:
    """A fixed list of addresses, one after the other, round and round."""

    def __init__(self, addresses: list[int]) -> None:
        self._high = np.array([address >> 64 for address in addresses], np.uint64)
        self._low = np.array([address & (2**64 - 1) for address in addresses], np.uint64)
        self._next = 0

    def take(self, count: int) -> Pair:
        """Return the next ``count`` addresses."""
        index = (self._next + np.arange(count)) % len(self._low)
        self._next = (self._next + count) % len(self._low)
        return self._high[index], self._low[index]


class AnyHost:
    """Any address of a network, at random."""

    def __init__(self, network: IPv4Network | IPv6Network, rng: np.random.Generator) -> None:
        self._base, self._host = int(network.network_address), int(network.hostmask)
        self._rng = rng

    def take(self, count: int) -> Pair:
        """Return ``count`` random hosts."""
        return self._half(count, 64), self._half(count, 0)

    def _half(self, count: int, shift: int) -> U64:
        low_mask = 2**64 - 1
        mask = np.uint64((self._host >> shift) & low_mask)
        base = np.uint64((self._base >> shift) & low_mask)
        return (_random64(self._rng, count) & mask) | base


class Anywhere4:
    """Public IPv4 addresses at random."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def take(self, count: int) -> Pair:
        """Return ``count`` addresses, none of them in ``NOT_PUBLIC4``."""
        low = self._rng.integers(0, 2**32, count, np.uint64)
        while (bad := _not_public(low)).any():
            low[bad] = self._rng.integers(0, 2**32, int(bad.sum()), np.uint64)
        return np.zeros(count, np.uint64), low


class Anywhere6:
    """Public IPv6 addresses at random, over the space that registries hand out."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def take(self, count: int) -> Pair:
        """Return ``count`` addresses."""
        block = self._rng.choice(_PUBLIC6, count) << np.uint64(48)
        high = (_random64(self._rng, count) & np.uint64(2**52 - 1)) | block
        return high, _random64(self._rng, count)


def _spread(network: IPv4Network | IPv6Network, distinct: int) -> list[int]:
    """Return ``distinct`` hosts at even steps, the network's own address not among them where there is room."""
    if distinct > network.num_addresses:
        raise ValueError(f"{network} has {network.num_addresses} addresses, not {distinct}")
    step = network.num_addresses // distinct
    first = int(network.network_address) + min(step - 1, 1)
    return [first + step * index for index in range(distinct)]


def _not_public(low: U64) -> npt.NDArray[np.bool_]:
    bad = np.zeros(len(low), np.bool_)
    for network in NOT_PUBLIC4:
        bad |= (low & np.uint64(int(network.netmask))) == np.uint64(int(network.network_address))
    return bad


def _random64(rng: np.random.Generator, count: int) -> U64:
    return rng.integers(0, 2**64 - 1, count, np.uint64, endpoint=True)
