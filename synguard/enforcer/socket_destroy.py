"""Sockets that a ban made useless, taken out of the SYN queue and out of the service.

A ban stops new SYNs; those already in the queue stay until their SYN-ACKs have been repeated in vain, seconds to a
minute, and hold places that clients need. Connections of a source of which everything is stopped stay for as long as
the service waits for them, even after the source has gone: its FINs are stopped too. ``SOCK_DESTROY`` frees both.

Source: include/uapi/linux/inet_diag.h, sock_diag.h; net/ipv4/tcp.c ``tcp_abort`` (half-open since Linux 4.5).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.addresses import V4_PREFIX
from synguard.errors import PlaneError
from synguard.netlink import open_sock_diag
from synguard.socket_table import CONNECTED, SocketTable, TcpState

MOST_AT_ONCE: Final = 8192
"""Sockets destroyed in one call; the rest are still there at the next."""

_SOCK_DESTROY: Final = 21
_REQUEST: Final = 1
_BATCH: Final = 256
"""Messages in one send: 18 KiB."""
_MESSAGE: Final = np.dtype(
    [
        ("length", "=u4"), ("type", "=u2"), ("flags", "=u2"), ("sequence", "=u4"), ("port_id", "=u4"),
        ("family", "u1"), ("protocol", "u1"), ("extensions", "u1"), ("padding", "u1"), ("states", "=u4"),
        ("local_port", ">u2"), ("remote_port", ">u2"),
        ("local", "u1", 16), ("remote", "u1", 16),
        ("interface", "=u4"), ("cookie_low", "=u4"), ("cookie_high", "=u4"),
    ]
)  # fmt: skip
"""``struct nlmsghdr`` and ``struct inet_diag_req_v2``."""
MAY_BE_DESTROYED: Final = (TcpState.SYN_RECV, *sorted(CONNECTED - {TcpState.FIN_WAIT2}))
"""Not ``FIN_WAIT2``, which the kernel also calls what it keeps of a socket that is gone and cannot destroy."""
_SETTLED: Final = frozenset({0, errno.ENOENT, errno.ESTALE})
"""Destroyed, or gone by itself in the meantime."""


def destroy_sockets(sockets: SocketTable, opener: Callable[[], socket.socket] = open_sock_diag) -> int:
    """Destroy these sockets, at most ``MOST_AT_ONCE``; return how many were asked for.

    ``opener`` opens a socket in the network namespace that they live in.

    Each is named by its cookie: where a half-open socket is gone, the kernel would else find the *listener* by the
    same addresses and destroy that. Rows without a cookie are left alone. The remote end of a half-open socket is sent
    nothing, that of a connection a reset; other sockets of theirs are not touched.

    Raises:
        PlaneError: The kernel was built without ``CONFIG_INET_DIAG_DESTROY``, or the process lacks CAP_NET_ADMIN.
        ValueError: A row is in a state other than ``MAY_BE_DESTROYED``.
    """
    if not np.isin(sockets.state, MAY_BE_DESTROYED).all():
        raise ValueError("only half-open sockets and connections are destroyed")
    messages = _messages(sockets.where(sockets.cookie != 0).head(MOST_AT_ONCE))
    try:
        with opener() as kernel:
            for start in range(0, len(messages), _BATCH):
                kernel.send(messages[start : start + _BATCH].tobytes())
                _read_errors(kernel)
    except OSError as error:
        raise PlaneError("freeing sockets of banned sources", error.strerror or str(error)) from error
    return len(messages)


def _messages(table: SocketTable) -> npt.NDArray[np.void]:
    messages = np.zeros(len(table), _MESSAGE)
    messages["length"], messages["type"], messages["flags"] = _MESSAGE.itemsize, _SOCK_DESTROY, _REQUEST
    messages["sequence"] = np.arange(len(table))
    ipv4 = (table.remote_high == 0) & (table.remote_low >> np.uint64(32) == V4_PREFIX)
    messages["family"] = np.where(ipv4, socket.AF_INET, socket.AF_INET6)
    messages["protocol"] = socket.IPPROTO_TCP
    messages["states"] = 0xFFFF_FFFF
    messages["local_port"], messages["remote_port"] = table.local_port, table.remote_port
    messages["local"] = _wire(table.local_high, table.local_low, ipv4)
    messages["remote"] = _wire(table.remote_high, table.remote_low, ipv4)
    messages["cookie_low"] = table.cookie & np.uint64(0xFFFF_FFFF)
    messages["cookie_high"] = table.cookie >> np.uint64(32)
    return messages


def _wire(
    high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64], ipv4: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return addresses as 16 bytes in network order; an IPv4 one stands in the first four."""
    wire = np.stack([high, low], axis=1).astype(">u8").view(np.uint8).reshape(-1, 16)
    wire[ipv4, :4] = wire[ipv4, 12:]
    wire[ipv4, 4:] = 0
    return wire


def _read_errors(kernel: socket.socket) -> None:
    """Read the kernel's answers, which it gives for failures only and before ``send`` returns."""
    with contextlib.suppress(BlockingIOError):
        while True:
            answer = kernel.recv(65536, socket.MSG_DONTWAIT)
            for offset in range(0, len(answer) - 19, struct.unpack_from("=I", answer)[0] or len(answer)):
                code = -struct.unpack_from("=i", answer, offset + 16)[0]
                if code not in _SETTLED:
                    raise OSError(code, errno_text(code))


def errno_text(code: int) -> str:
    """Return what an operator needs to know of an error number from the kernel."""
    if code == errno.EOPNOTSUPP:
        return "this kernel cannot destroy sockets (CONFIG_INET_DIAG_DESTROY is off)"
    if code == errno.EPERM:
        return "it needs CAP_NET_ADMIN"
    return f"the kernel answered {errno.errorcode.get(code, str(code))}"
