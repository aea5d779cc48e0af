"""Addresses and networks, where IPv4-mapped IPv6 is IPv4, always."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
    summarize_address_range,
)
from typing import Final, TypeAlias

from synguard.compact_networks import CompactIPv4Network, CompactIPv6Network
from synguard.compact_networks import compact_network as compact_network  # for those who make networks
from synguard.compact_networks import start_of as start_of

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

WIDEST_BY_VERSION: Final = {4: 8, 6: 32}
"""Prefix lengths below these are absurd as a ban: a /7 is 1/128 of the IPv4 internet."""

EMBEDDING: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""Where translators (NAT64, SIIT) put IPv4 addresses, in the last 32 bits: RFC 6052, and any /96 of RFC 8215."""
EMBEDDED: Final = 64
"""Stands for the family of such addresses, beside 4 and 6: they are IPv6 in the kernel, and judged as IPv4."""

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
V4_PREFIX: Final = 0xFFFF
"""``low >> 32`` of an IPv4 address in two halves, whose ``high`` is 0."""
_BITS: Final = {4: 32, 6: 128}
_LENGTH_BITS: Final = 8
_LENGTH_MASK: Final = (1 << _LENGTH_BITS) - 1
"""Room for a prefix length below an address, where the two are one number."""


def parse_address(text: str) -> Address:
    """Return the address, with an IPv4-mapped one as IPv4 and a zone (``%eth0``) dropped.

    Raises:
        ValueError: The text is not an address.
    """
    return unmapped(ip_address(text.strip().split("%", 1)[0]))


def parse_network(text: str) -> Network:
    """Return the network for an address or prefix, with a zone (``%eth0``) dropped.

    Host bits are an error, since they are mostly typing slips.

    Raises:
        ValueError: The text is neither, or has host bits set; the text suggests the network.
    """
    host, slash, length = text.strip().partition("/")
    word = host.split("%", 1)[0]
    try:
        network = unmapped_network(ip_network(f"{word}{slash}{length}", strict=False))
        address = ip_address(word)
    except ValueError:
        raise ValueError(f'"{text[:60]}" is not an address or prefix, like 192.0.2.7 or 2001:db8::/64') from None
    if slash and unmapped(address) != network.network_address and address != network.network_address:
        raise ValueError(f'"{text[:60]}" has bits beyond its prefix length; did you mean {network}?')
    return compact_network(network.version, int(network.network_address), network.prefixlen)


def unmapped(address: Address) -> Address:
    """Return ``192.0.2.1`` for ``::ffff:192.0.2.1``, and any other address as it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def unmapped_network(network: Network) -> Network:
    """Return ``192.0.2.0/24`` for ``::ffff:192.0.2.0/120``, and any other network as it is."""
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.subnet_of(_MAPPED):
        low = int(network.network_address) & 0xFFFFFFFF
        return IPv4Network((low, network.prefixlen - 96))
    return network


def embedded(network: Network, embedding: Iterable[IPv6Network] = EMBEDDING) -> IPv4Network | None:
    """Return ``192.0.2.0/24`` for ``64:ff9b::192.0.2.0/120``; None for what embeds no IPv4 address."""
    if network.version == 4 or network.prefixlen < 96 or not any(covers(one, network) for one in embedding):
        return None
    return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))


def forms(network: Network, embedding: Iterable[IPv6Network] = EMBEDDING) -> tuple[Network, ...]:
    """Return a network, and the IPv4 network that it embeds if it does: a ban of it hits both."""
    inner = embedded(network, embedding)
    return (network,) if inner is None else (network, inner)


def first_found(look: Callable[[Network], Network | None], networks: Iterable[Network]) -> Network | None:
    """Return what is found first of some networks, or None."""
    return next((found for one in networks if (found := look(one)) is not None), None)


def widest(network: Network, embedding: Iterable[IPv6Network] = EMBEDDING) -> int:
    """Return the prefix length below which a ban of this network is absurd: where IPv4 is embedded, that of IPv4."""
    usual = WIDEST_BY_VERSION[network.version]
    if network.version == 4:
        return usual
    embeds = network.prefixlen >= usual and any(overlaps(one, network) for one in embedding)
    return 96 + WIDEST_BY_VERSION[4] if embeds else usual


def one_party(network: Network, embedding: Iterable[IPv6Network] = EMBEDDING) -> bool:
    """Return whether a network is one holder's: an address, or an IPv6 /64, which is one network's choice of addresses.

    Of translated addresses each is another holder's.
    """
    if network.version == 4 or embedded(network, embedding) is not None:
        return network.prefixlen == network.max_prefixlen
    return network.prefixlen >= 64


def address_of(high: int, low: int) -> Address:
    """Return the address whose IPv6 form has these halves; an IPv4-mapped one as IPv4."""
    if high == 0 and low >> 32 == V4_PREFIX:
        return IPv4Address(low & 0xFFFF_FFFF)
    return IPv6Address(high << 64 | low)


def host_at(high: int, low: int) -> Network:
    """Return the /32 or /128 of the address whose IPv6 form has these halves."""
    if high == 0 and low >> 32 == V4_PREFIX:
        return compact_network(4, low & 0xFFFF_FFFF, 32)
    return compact_network(6, high << 64 | low, 128)


def host_network(address: Address) -> Network:
    """Return the /32 or /128 of one address."""
    return compact_network(address.version, int(address), address.max_prefixlen)


def numbers_of(network: Network) -> tuple[int, int, int]:
    """Return version, first address and prefix length; of compact networks without an object more."""
    if type(network) is CompactIPv4Network:
        return 4, network._start, network._prefixlen
    if type(network) is CompactIPv6Network:
        return 6, network._start, network._prefixlen
    return network.version, int(network.network_address), network.prefixlen


def covers(outer: Network, inner: Network) -> bool:
    """Return whether every address of ``inner`` lies in ``outer``; families never cover each other."""
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)


def range_cover(first: Address, last: Address) -> Iterator[Network]:
    """Yield the prefixes that cover a range of addresses and nothing else.

    Raises:
        ValueError: The ends are of two families, or in the wrong order.
    """
    if isinstance(first, IPv4Address) and isinstance(last, IPv4Address):
        return summarize_address_range(first, last)
    if isinstance(first, IPv6Address) and isinstance(last, IPv6Address):
        return summarize_address_range(first, last)
    raise ValueError("the ends of a range are of one family")


def overlaps(one: Network, other: Network) -> bool:
    """Return whether the two networks share an address."""
    return covers(one, other) or covers(other, one)


def format_network(network: Network) -> str:
    """Return ``192.0.2.7`` for a single address and ``192.0.2.0/24`` for a wider network."""
    if type(network) is CompactIPv4Network:
        start = network._start
        text = f"{start >> 24}.{start >> 16 & 255}.{start >> 8 & 255}.{start & 255}"
        return text if network.prefixlen == 32 else f"{text}/{network.prefixlen}"
    if network.prefixlen == network.max_prefixlen:
        return str(network.network_address)
    return str(network)


class NetworkIndex:
    """Which of many networks cover, or lie inside, a given one; a lookup costs one probe per prefix length.

    Built once and asked often: the allow-list may hold thousands of networks and each is asked of every
    candidate for a ban.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        found: dict[tuple[int, int], dict[int, Network]] = {}
        for network in networks:
            version, start, length = numbers_of(network)
            found.setdefault((version, length), {})[start] = network
        self.by_length: Final[Mapping[tuple[int, int], Mapping[int, Network]]] = dict(sorted(found.items()))
        """IP version and prefix length → first address → network; the widest first."""
        self._sorted: dict[int, list[int]] = {}
        """Version → first address and prefix length as one number; a version is absent until it is asked for."""

    def covering(self, network: Network) -> Network | None:
        """Return the widest indexed network that covers all of ``network``, or None."""
        return next(self._covering(*numbers_of(network)), None)

    def inside(self, network: Network) -> Network | None:
        """Return one indexed network that lies inside ``network``, or None."""
        return next(self.all_inside(network), None)

    def overlapping(self, network: Network) -> Network | None:
        """Return one indexed network that shares an address with ``network``, or None."""
        return next(self.all_overlapping(network), None)

    def all_overlapping(self, network: Network) -> Iterator[Network]:
        """Yield the indexed networks that cover ``network``, the widest first, then those that lie inside it."""
        version, start, length = numbers_of(network)
        yield from self._covering(version, start, length)
        yield from (one for one in self.all_inside(network) if one.prefixlen > length)

    def all_inside(self, network: Network) -> Iterator[Network]:
        """Yield the indexed networks that lie inside ``network``, by their first address."""
        version, start, length = numbers_of(network)
        bits = _BITS[version]
        if length == bits:
            yield from filter(None, (self.by_length.get((version, bits), {}).get(start),))
            return
        order, last = self._in_order(version), start + (1 << (bits - length)) - 1
        at = bisect_left(order, start << _LENGTH_BITS | length)
        while at < len(order) and order[at] >> _LENGTH_BITS <= last:
            first, narrower = order[at] >> _LENGTH_BITS, order[at] & _LENGTH_MASK
            if narrower >= length:
                yield self.by_length[version, narrower][first]
            at += 1

    def _covering(self, version: int, start: int, length: int) -> Iterator[Network]:
        bits = _BITS[version]
        for (of, wider), networks in self.by_length.items():
            if of == version and wider <= length:
                found = networks.get(start >> (bits - wider) << (bits - wider))
                if found is not None:
                    yield found

    def _in_order(self, version: int) -> list[int]:
        if version not in self._sorted:
            widths = [(length, starts) for (of, length), starts in self.by_length.items() if of == version]
            self._sorted[version] = sorted(
                start << _LENGTH_BITS | length for length, starts in widths for start in starts
            )
        return self._sorted[version]
