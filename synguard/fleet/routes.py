"""What is announced upstream: FlowSpec routes (RFC 8955, 8956) and blackholes (RFC 7999), in the words of two speakers.

One route has one text. ExaBGP answers ``done`` also for a withdrawal that names the parts in another order and removes
nothing; and what is ``[ syn&!=ack ]`` there is ``S&!=A`` in GoBGP and ``!0x0/0x2 && !0x10/0x10`` in BIRD, all the same.
GoBGP's ``=S`` matches SYN-ACK too, and its ``S&!A`` is another route than ``S&!=A``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

from synguard.addresses import Network

BLACKHOLE: str = "65535:666"
"""The well-known community that asks for a blackhole: RFC 7999."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route: packets that match all of its parts are dropped or limited upstream."""

    source: Network | None = None
    destination: Network | None = None
    port: int | None = None
    """Destination port of TCP; None for every packet."""
    syns_only: bool = False
    """SYN set and ACK not set."""
    rate_bytes: int = 0
    """Bytes a second that pass; 0 drops all."""
    next_hop: str = ""
    """Set for a blackhole of ``destination`` by an ordinary route; empty for FlowSpec."""

    def __post_init__(self) -> None:
        versions = {one.version for one in (self.source, self.destination) if one is not None}
        if len(versions) != 1:
            raise ValueError("a route names a source or a destination of one address family")
        if self.next_hop and (self.destination is None or self.source is not None or self.port is not None):
            raise ValueError("a blackhole names a destination alone")

    @property
    def version(self) -> int:
        """4 or 6."""
        return (self.source or self.destination).version  # type: ignore[union-attr]  # one of them is there

    @property
    def matched(self) -> Route:
        """The route less its rate: what a speaker tells routes apart by."""
        return replace(self, rate_bytes=0)

    def __str__(self) -> str:
        if self.next_hop:
            return f"blackhole {self.destination}"
        parts = [f"from {self.source}"] if self.source else []
        parts += [f"to {self.destination}"] if self.destination else []
        parts += [f"port {self.port}"] if self.port is not None else []
        parts += ["SYN and not ACK"] if self.syns_only else []
        fate = f"at most {self.rate_bytes} bytes/s" if self.rate_bytes else "discard"
        return f"{' '.join(parts)}: {fate}"


def from_json(item: dict[str, Any]) -> Route:
    """Return the route of an object that ``jsonable`` made.

    Raises:
        ValueError: It is none.
    """
    try:
        source, destination = (
            None if item[name] is None else ip_network(item[name]) for name in ("source", "destination")
        )
        port = None if item["port"] is None else int(item["port"])
        rest = bool(item["syns_only"]), int(item["rate_bytes"]), str(item["next_hop"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a route: {error}") from error
    return Route(source, destination, port, *rest)


def exabgp_command(route: Route, *, announce: bool) -> str:
    """Return the line of ExaBGP's process API that announces or withdraws a route."""
    verb = "announce" if announce else "withdraw"
    if route.next_hop:
        return f"{verb} route {route.destination} next-hop {route.next_hop} community [{BLACKHOLE}]"
    parts = [f"source {route.source}"] if route.source else []
    parts += [f"destination {route.destination}"] if route.destination else []
    if route.port is not None or route.syns_only:
        parts.append("protocol tcp" if route.version == 4 else "next-header tcp")
    parts += [f"destination-port ={route.port}"] if route.port is not None else []
    parts += ["tcp-flags [ syn&!=ack ]"] if route.syns_only else []
    then = f"rate-limit {route.rate_bytes}" if route.rate_bytes else "discard"
    match = " ".join(f"{part};" for part in parts)
    return f"{verb} flow route {{ match {{ {match} }} then {{ {then}; }} }}"


def gobgp_arguments(route: Route, *, announce: bool) -> list[str]:
    """Return the arguments of ``gobgp`` that add or delete a route."""
    verb = "add" if announce else "del"
    if route.next_hop:
        family = "ipv4" if route.version == 4 else "ipv6"
        where = ["global", "rib", verb, "-a", family, str(route.destination)]
        return [*where, "nexthop", route.next_hop, "community", "blackhole"] if announce else where
    words = ["source", str(route.source)] if route.source else []
    words += ["destination", str(route.destination)] if route.destination else []
    if route.port is not None or route.syns_only:
        words += ["protocol", "tcp"]
    words += ["destination-port", f"=={route.port}"] if route.port is not None else []
    words += ["tcp-flags", "S&!=A"] if route.syns_only else []
    then = ["rate-limit", str(route.rate_bytes)] if route.rate_bytes else ["discard"]
    family = "ipv4-flowspec" if route.version == 4 else "ipv6-flowspec"
    return ["global", "rib", verb, "-a", family, "match", *words, "then", *then]
