"""What a SYN flood is asked to be: sources, look, rate; plain data that crosses to the generator as JSON."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

LONGEST_S: Final = 120.0
FASTEST_PPS: Final = 2_000_000.0


class _Plan(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Look(_Plan):
    """The fields of a SYN that tell one sender's system from another's."""

    ttl: tuple[int, int] = (44, 60)
    """Lowest and highest TTL or hop limit as sent; a source always has the same one. The router takes one off."""
    windows: tuple[int, ...] = (64240,)
    """TCP windows to draw from."""
    options: Literal["none", "mss", "linux", "windows"] = "linux"
    """TCP options, in the order that system writes them."""
    headers: Annotated[tuple[int, ...], Field(max_length=32)] = ()
    """IPv6 destination-options headers in front of TCP, each of so many bytes, a multiple of eight."""
    fragment: Annotated[int, Field(ge=0, le=40, multiple_of=8)] = 0
    """Bytes of TCP in the first of two IPv4 fragments; 0: whole."""


class SourceGroup(_Plan):
    """Some sources and their share of the flood; exactly one of ``addresses``, ``prefix``, ``anywhere``."""

    weight: Annotated[float, Field(gt=0)] = 1.0
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    """Exactly these, all of one family, in turn."""
    prefix: str | None = None
    """Hosts of one network: all of them at random, or ``distinct`` of them."""
    distinct: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    """How many different hosts of ``prefix``, spread evenly over it and taken in turn; None: any host each time."""
    anywhere: Literal[4, 6] | None = None
    """Public addresses over the whole space of this IP version; none reserved, private or of the lab."""
    look: Look = Look()

    @model_validator(mode="after")
    def _one_kind(self) -> SourceGroup:
        if sum((bool(self.addresses), self.prefix is not None, self.anywhere is not None)) != 1:
            raise ValueError("a source group names addresses, a prefix, or anywhere: exactly one of them")
        if len({address.version for address in self.addresses}) > 1:
            raise ValueError("the addresses of one source group are of one family")
        return self

    @property
    def version(self) -> int:
        """4 or 6."""
        if self.anywhere is not None:
            return self.anywhere
        if self.prefix is not None:
            return ip_network(self.prefix).version
        return self.addresses[0].version


class FloodPlan(_Plan):
    """A whole SYN flood."""

    groups: Annotated[tuple[SourceGroup, ...], Field(min_length=1, max_length=64)]
    pps: Annotated[float, Field(gt=0, le=FASTEST_PPS)] = 10_000.0
    duration_s: Annotated[float, Field(gt=0, le=LONGEST_S)] = 5.0
    count: Annotated[int, Field(gt=0)] | None = None
    """Stop after this many packets, if that comes first."""
    ports: Annotated[tuple[int, ...], Field(min_length=1)] = (80,)
    """Destination ports, at random."""
    seed: int | None = None
    """Makes sources, ports and sequence numbers repeatable."""
    cpu: int | None = None
    """Pin the generator, and with it the softirq work of router and victim for its packets, to this CPU."""


def hosts(*addresses: str | IPv4Address | IPv6Address, weight: float = 1.0, look: Look | None = None) -> SourceGroup:
    """Return a group of exactly these sources."""
    listed = tuple(ip_address(str(address)) for address in addresses)
    return SourceGroup(addresses=listed, weight=weight, look=look or Look())


def prefix(network: str, distinct: int | None = None, weight: float = 1.0, look: Look | None = None) -> SourceGroup:
    """Return a group of hosts of one network: ``distinct`` fixed ones in turn, or any of them at random."""
    return SourceGroup(prefix=str(ip_network(network)), distinct=distinct, weight=weight, look=look or Look())


def anywhere(version: Literal[4, 6] = 4, weight: float = 1.0, look: Look | None = None) -> SourceGroup:
    """Return sources drawn from all over the address space, as forged ones are."""
    return SourceGroup(anywhere=version, weight=weight, look=look or Look())
