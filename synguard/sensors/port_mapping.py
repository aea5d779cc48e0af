"""Which ports of this host lead to a port of a container, asked of the kernel's connection tracking.

Rules that publish a port are written in many tongues (iptables, nftables, IPVS, a service mesh); what they did to a
connection stands in one place. For one socket seen in the container, the tracked connection is looked up by what its
answers look like (container to peer), and the port that the peer first wrote is read: one question of some 30 µs, no
dump of a table that a flood has filled.

Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h; net/netfilter/nf_conntrack_netlink.c, which looks both
directions up.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.addresses import V4_PREFIX
from synguard.errors import SensorError
from synguard.netlink import NESTED, NETFILTER, attribute, attributes, query
from synguard.socket_table import SocketTable, local_ports

ASKED_PER_PORT: Final = 4
"""Sockets looked up for one port at a time: one port may be published as several."""
PORTS_AT_ONCE: Final = 16
"""Ports looked up in one call; the others come in the next."""
ASK_AGAIN_S: Final = 10.0
ASK_UNKNOWN_S: Final = 0.5
FORGET_S: Final = 3600.0
MOST_MAPPINGS: Final = 16
"""Host ports remembered for one port of a container."""

_TRACKED: Final = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_CT_GET: Final = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_NFGENMSG_BYTES: Final = 4
_TUPLE_ORIG: Final = 1
_TUPLE_REPLY: Final = 2
_TUPLE_IP: Final = 1
_TUPLE_PROTO: Final = 2
_PROTO_NUM: Final = 1
_PROTO_SRC_PORT: Final = 2
_PROTO_DST_PORT: Final = 3


@dataclass(slots=True)
class _Port:
    """What is known of one port in one namespace."""

    host_ports: dict[int, float] = field(default_factory=dict)
    """Port of this host → when it was last seen to lead here."""
    asked_at: float = float("-inf")


class PortMappings:
    """Remembers which host ports lead to which port of which namespace."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], _Port] = {}

    def learn(self, namespace: str, table: SocketTable, now: float) -> None:
        """Look up a few sockets of each port that is due; ``table`` holds sockets of one namespace."""
        due = [port for port in local_ports(table) if self._is_due(namespace, port, now)]
        for port in due[:PORTS_AT_ONCE]:
            known = self._known.setdefault((namespace, port), _Port())
            rows = np.flatnonzero(table.local_port == port)
            chosen = rows[np.unique(np.linspace(0, len(rows) - 1, ASKED_PER_PORT, dtype=np.int64))]
            answers = {original_port(table, row) for row in chosen.tolist()} - {None}
            known.asked_at = now
            known.host_ports.update((answer, now) for answer in answers if answer is not None)
            known.host_ports = {
                published_port: seen
                for published_port, seen in sorted(known.host_ports.items(), key=lambda item: -item[1])[:MOST_MAPPINGS]
                if now - seen < FORGET_S
            }

    def forget_but(self, namespaces: Iterable[str]) -> None:
        """Forget the ports of all other namespaces."""
        kept = set(namespaces)
        self._known = {key: port for key, port in self._known.items() if key[0] in kept}

    def port_mapping(self) -> dict[tuple[str, int], tuple[int, ...]]:
        """Return (namespace, port) → host ports that lead there, ascending; empty where they are not known."""
        return {key: tuple(sorted(known.host_ports)) for key, known in self._known.items()}

    def ports_of(self, namespace: str) -> list[int]:
        """Return the ports of one namespace of which anything is known."""
        return [port for owner, port in self._known if owner == namespace]

    def written(self, namespace: str, ports: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return a mask of the ports that clients write for those of a namespace, as far as they are known."""
        known = [port for port in self.ports_of(namespace) if ports[port]]
        found = ports.copy()
        found[known] = False
        found[[self.written_for(namespace, port) for port in known]] = True
        return found

    def written_for(self, namespace: str, port: int) -> int:
        """Return the port that clients write for a port of a namespace; that port itself until it is known."""
        return next(iter(self.of(namespace, port)), port)

    def of(self, namespace: str, port: int) -> tuple[int, ...]:
        """Return the host ports that lead to one port of one namespace, as far as they are known."""
        known = self._known.get((namespace, port))
        return tuple(sorted(known.host_ports)) if known else ()

    def _is_due(self, namespace: str, port: int, now: float) -> bool:
        known = self._known.get((namespace, port))
        if known is None:
            return True
        return now - known.asked_at >= (ASK_AGAIN_S if known.host_ports else ASK_UNKNOWN_S)


def is_tracking() -> bool:
    """Return whether this network namespace tracks connections; to ask it otherwise would load modules."""
    try:
        return int(_TRACKED.read_text(encoding="ascii")) > 0
    except (OSError, ValueError):
        return False


def original_port(table: SocketTable, row: int) -> int | None:
    """Return the port that the peer of one socket wrote its packets to, before any translation; None if not tracked."""
    high, low = int(table.remote_high[row]), int(table.remote_low[row])
    ipv4 = high == 0 and low >> 32 == V4_PREFIX
    local = _wire(int(table.local_high[row]), int(table.local_low[row]), ipv4)
    ports = int(table.local_port[row]), int(table.remote_port[row])
    family = socket.AF_INET if ipv4 else socket.AF_INET6
    request = struct.pack("=BBH", family, 0, 0) + _reply(local, _wire(high, low, ipv4), ports, ipv4=ipv4)
    try:
        answer = query(NETFILTER, _CT_GET, request, "a tracked connection")
    except SensorError:  # no such connection, or no connection tracking at all
        return None
    found = (_original(dict(attributes(body, _NFGENMSG_BYTES))) for body in answer)
    return next((port for port in found if port is not None), None)


def _reply(local: bytes, remote: bytes, ports: tuple[int, int], *, ipv4: bool) -> bytes:
    source, destination = (1, 2) if ipv4 else (3, 4)  # CTA_IP_V4_SRC …, CTA_IP_V6_SRC …
    addresses = attribute(source, local) + attribute(destination, remote)
    protocol = (
        attribute(_PROTO_NUM, bytes([socket.IPPROTO_TCP]))
        + attribute(_PROTO_SRC_PORT, struct.pack(">H", ports[0]))
        + attribute(_PROTO_DST_PORT, struct.pack(">H", ports[1]))
    )
    whole = attribute(_TUPLE_IP | NESTED, addresses) + attribute(_TUPLE_PROTO | NESTED, protocol)
    return attribute(_TUPLE_REPLY | NESTED, whole)


def _original(found: Mapping[int, bytes]) -> int | None:
    original = found.get(_TUPLE_ORIG, b"")
    protocol = dict(attributes(original)).get(_TUPLE_PROTO, b"")
    port = dict(attributes(protocol)).get(_PROTO_DST_PORT, b"")
    return int.from_bytes(port, "big") if len(port) == 2 else None


def _wire(high: int, low: int, ipv4: bool) -> bytes:
    return (low & 0xFFFF_FFFF).to_bytes(4, "big") if ipv4 else (high << 64 | low).to_bytes(16, "big")
