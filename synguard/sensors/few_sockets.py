"""The sockets of a few networks: the kernel is asked for these alone, and no column of numbers is made of its answer.

Source: include/uapi/linux/inet_diag.h; net/ipv4/inet_diag.c ``inet_diag_bc_run``.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

from synguard.addresses import Network, numbers_of
from synguard.errors import SensorError
from synguard.netlink import SOCK_DIAG, attribute, dump
from synguard.socket_table import CONNECTED, Presence, TcpState

if TYPE_CHECKING:
    from synguard.socket_table import SocketTable

FEW: Final = 4
"""Networks up to which asking for each costs less than to read all sockets there are."""
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_BYTECODE: Final = 1  # INET_DIAG_REQ_BYTECODE
_REMOTE_IN: Final = 8  # INET_DIAG_BC_D_COND
_NEW_SYN_RECV: Final = 12
_TCP: Final = sum(1 << one for one in TcpState if one is not TcpState.LISTEN) | 1 << _NEW_SYN_RECV
_UDP: Final = 1 << TcpState.ESTABLISHED | 1 << TcpState.CLOSE
_REMOTE_AT: Final = 24
"""Where the remote address stands in ``struct inet_diag_msg``."""


def sockets_of(networks: Collection[Network]) -> tuple[SocketTable | Mapping[Network, Presence], ...]:
    """Return TCP sockets, and UDP sockets: of a few networks what each holds, else, or of none, all there are.

    Raises:
        SensorError: They cannot be read.
    """
    if 0 < len(networks) <= FEW:
        with suppress(SensorError):  # there is another way
            return held_by(networks)
    from synguard.sensors.sockets import SocketTables

    with closing(SocketTables()) as sensor:
        return sensor.tcp(state for state in TcpState if state is not TcpState.LISTEN), sensor.udp()


def held_by(networks: Iterable[Network]) -> tuple[dict[Network, Presence], dict[Network, Presence]]:
    """Return network → its TCP sockets, and its UDP sockets; listening ones are left out.

    Raises:
        SensorError: The kernel refuses, or gave no whole answer.
    """
    every = tuple(networks)
    return (
        {one: _presence(one, socket.IPPROTO_TCP, _TCP) for one in every},
        {one: _presence(one, socket.IPPROTO_UDP, _UDP) for one in every},
    )


def _presence(network: Network, protocol: int, states: int) -> Presence:
    found = list(_sockets(network, protocol, states))
    names = Counter(TcpState(state).name for state, _ in found)
    peers = {remote for state, remote in found if state in CONNECTED}
    return Presence(dict(names.most_common()), len(peers))


def _sockets(network: Network, protocol: int, states: int) -> Iterator[tuple[int, bytes]]:
    """Yield (state, remote address) of each; an IPv4 peer of an IPv6 socket is one of IPv4."""
    condition = attribute(_BYTECODE, _condition(network))
    families = (socket.AF_INET, socket.AF_INET6) if network.version == 4 else (socket.AF_INET6,)
    for family in families:
        asked = struct.pack("=BBBxI48x", family, protocol, 0, states) + condition
        for body in dump(SOCK_DIAG, _BY_FAMILY, asked, "connections"):
            state = TcpState.SYN_RECV if body[1] == _NEW_SYN_RECV else body[1]
            at = _REMOTE_AT + (12 if network.version == 4 and body[0] == socket.AF_INET6 else 0)
            yield state, body[at : at + (4 if network.version == 4 else 16)]


def _condition(network: Network) -> bytes:
    """Return the program that the kernel runs on each socket: one condition, whether its remote end is in a network."""
    version, start, prefixlen = numbers_of(network)
    family, size = (socket.AF_INET, 4) if version == 4 else (socket.AF_INET6, 16)
    length = 4 + 8 + size
    operation = struct.pack("=BBH", _REMOTE_IN, length, length + 4)  # beyond the end: not this socket
    return operation + struct.pack("=BBxxi", family, prefixlen, -1) + start.to_bytes(size, "big")  # -1: any port
