"""Messages of the kernel's ``inet_diag`` dumps as numpy columns: pure, no socket here.

One row is ``struct nlmsghdr`` (16 bytes), ``struct inet_diag_msg`` (72 bytes) and attributes no one asked for
(mark, shutdown, cgroup …: 8 bytes on a half-open socket, 36 on a connected one, 44 on an IPv6 listener in 6.18).
Source: include/uapi/linux/inet_diag.h, sock_diag.h, netlink.h.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.addresses import V4_PREFIX
from synguard.columns import U32, ColumnTable
from synguard.errors import SensorError
from synguard.netlink import DUMP, DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NO_ERRNO, request
from synguard.socket_table import SocketTable, TcpState

Starts: TypeAlias = npt.NDArray[np.int64]

_TRANSIENT: Final = frozenset({errno.EINTR, errno.ENOBUFS, errno.ENOMEM, errno.EBUSY})
_REFUSALS: Final = frozenset(
    {
        errno.EACCES,
        errno.EAFNOSUPPORT,
        errno.ECONNREFUSED,  # no one in the kernel answers NETLINK_SOCK_DIAG
        errno.EINVAL,
        errno.ENOENT,  # no tcp_diag or udp_diag
        errno.ENOSYS,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTONOSUPPORT,
    }
)

AF_UNSPEC: Final = 0
AF_INET: Final = 2
AF_INET6: Final = 10
UDP_STATES: Final = frozenset({TcpState.ESTABLISHED, TcpState.CLOSE})
"""A connected UDP socket is ``ESTABLISHED`` to the kernel, any other ``CLOSE``."""

_NEW_SYN_RECV: Final = 12
"""The kernel's own number for a half-open socket. 6.18 answers either bit with state 3; older ones differ, so both
are asked for and 3 is reported. ``SYN_RECV`` proper is left to TCP Fast Open."""
_END_WORDS: Final = 5
_ROW_WORDS: Final = 22
_ROW_BYTES: Final = 4 * _ROW_WORDS
_INFO: Final = 2
"""``INET_DIAG_INFO``: behind its header of one word ``struct tcp_info``, of which bytes 120 to 160 are read."""
_INFO_WORDS: Final = 41


TCPDIAG_GETSOCK: Final = 18
"""The request of before Linux 3.3: still served, and the only one that dumps both families in one walk of the
kernel's hash, which is most of a dump's fixed cost."""
SOCK_DIAG_BY_FAMILY: Final = 20


class UnavailableError(SensorError):
    """The kernel refuses socket dumps altogether: the reaction is another source, not another try."""


class InterruptedDumpError(SensorError):
    """The dump is not whole; another try may be."""


@dataclass(frozen=True, slots=True)
class DumpRequest:
    """What a dump asks for: sockets of one protocol, of one family or of both."""

    message: int
    family: int
    protocol: int

    def encode(self, states: Iterable[TcpState], sequence: int) -> bytes:
        """Return the netlink request for sockets in ``states``."""
        mask = sum(1 << state for state in states)
        if mask & 1 << TcpState.SYN_RECV:
            mask |= 1 << _NEW_SYN_RECV
        if self.message is TCPDIAG_GETSOCK:  # struct inet_diag_req
            body = struct.pack("=BBBB48xII", self.family, 0, 0, 0, mask, 0)
        else:  # struct inet_diag_req_v2
            body = struct.pack("=BBBxI48x", self.family, self.protocol, 0, mask)
        return request(self.message, DUMP, body, sequence)


@dataclass(frozen=True, slots=True)
class SocketRows(ColumnTable):
    """Rows of a dump: the table that others see, and each socket's inode (0 where it has none)."""

    table: SocketTable
    inode: U32


@dataclass(frozen=True, slots=True)
class Part:
    """What one stretch of a dump held."""

    sockets: SocketRows
    done: bool
    """The dump's end was in it."""


def ends_dump(words: U32, sequence: int) -> bool:
    """Return whether a datagram looks like the last of a dump: a cheap guess, made good by ``decode``.

    The kernel sends the end alone, or behind the last rows where it fits (since 4.20), then 20 bytes long.
    """
    kinds = words.view(np.uint16)
    if len(words) < _END_WORDS or kinds[2] in (NLMSG_DONE, NLMSG_ERROR):
        return True
    return bool(words[-5] == 4 * _END_WORDS and kinds[-8] == NLMSG_DONE and words[-3] == sequence)


def decode(words: U32, sequence: int) -> Part:
    """Return the rows in ``words`` (uint32, whole messages, native order) that answer request ``sequence``.

    Raises:
        UnavailableError: The kernel answered with a refusal.
        InterruptedDumpError: The kernel said that the dump is not consistent.
        SensorError: The bytes are no dump.
    """
    starts = _message_starts(words, sequence)
    halves = words.view(np.uint16)
    kinds = halves[2 * starts + 2]
    ends = np.flatnonzero((kinds == NLMSG_DONE) | (kinds == NLMSG_ERROR))
    if len(ends):
        starts, kinds = starts[: ends[0] + 1], kinds[: ends[0] + 1]
        _check_end(words, int(starts[-1]))
    if np.any(halves[2 * starts + 3] & DUMP_INTR) or np.any(kinds == NLMSG_OVERRUN):
        raise InterruptedDumpError("the socket table changed while the kernel was dumping it")
    rows = starts[(kinds == TCPDIAG_GETSOCK) | (kinds == SOCK_DIAG_BY_FAMILY)]
    if len(rows) + bool(len(ends)) != len(starts):
        raise SensorError("the kernel's socket dump cannot be read: it holds messages of an unknown type")
    return Part(_columns(words, rows) if len(rows) else _NOTHING, done=bool(len(ends)))


def turned_away(words: U32, starts: Starts) -> U32:
    """Return 1 for each message of a destroyed socket that this host closed without a byte of an answer, else 0.

    It sent no data, and data came or its own end came first. Messages whose ``struct tcp_info`` (4.6 and later) is not
    where that of the first is count as answered. Source: include/uapi/linux/tcp.h; ``inet_diag_handler_get_info``.
    """
    nothing = np.zeros(len(starts), np.uint32)
    at, end = _ROW_WORDS, int(words[starts[0]]) // 4 if len(starts) else 0
    halves = words.view(np.uint16)
    while at < end and halves[2 * (starts[0] + at) + 1] != _INFO:
        at += max((int(halves[2 * (starts[0] + at)]) + 3) // 4, 1)
    if at + _INFO_WORDS > end:
        return nothing
    alike = (words[starts + at] == words[starts[0] + at]) & (words[starts] == words[starts[0]])
    info = words[starts[alike, None] + at + np.arange(_INFO_WORDS)]
    acked, received, data_in, data_out = (
        info[:, column] | info[:, column + wide] for column, wide in ((31, 1), (33, 1), (39, 0), (40, 0))
    )
    nothing[alike] = (data_out == 0) & ((data_in > 0) | ((acked > 0) & (received == 0)))
    return nothing


def refusal(number: int) -> SensorError:
    """Return what errno ``number``, from a dump or from its socket, means to us."""
    text = os.strerror(number) if 0 < number < NO_ERRNO else f"error {number}"
    if number in _TRANSIENT:
        return InterruptedDumpError(f"the kernel broke a socket dump off ({text})")
    if number in _REFUSALS:
        return UnavailableError(f"the kernel refuses sock_diag to this process ({text})")
    return SensorError(f"the kernel cannot dump its sockets ({text})")


def join(parts: Sequence[SocketRows]) -> SocketRows:
    """Return the rows of all parts, in order."""
    parts = [part for part in parts if len(part)] or parts[:1]
    return parts[0] if len(parts) == 1 else SocketRows.joined(parts)


def _message_starts(words: U32, sequence: int) -> Starts:
    """Return the word index of every message.

    All headers carry the same random sequence number, so one vector comparison finds them; the chain of lengths
    then proves that these are all the messages and nothing else. If it does not, the messages are walked.
    """
    starts = np.flatnonzero(words == np.uint32(sequence)) - 2
    if len(starts) and starts[0] == 0:
        lengths = words[starts].astype(np.int64)
        ends = starts + (lengths + 3) // 4
        if lengths.min() >= 16 and ends[-1] == len(words) and np.array_equal(ends[:-1], starts[1:]):
            return starts
    return _walk(words, sequence)


def _walk(words: U32, sequence: int) -> Starts:
    starts = []
    at = 0
    while at < len(words):
        length = int(words[at])
        if length < 16 or at + (length + 3) // 4 > len(words) or words[at + 2] != sequence:
            raise SensorError("the kernel's socket dump cannot be read: a message is cut short or not ours")
        starts.append(at)
        at += (length + 3) // 4
    return np.array(starts, np.int64)


def _check_end(words: U32, at: int) -> None:
    """Return if the ERROR or DONE message at ``at`` ends the dump well: with error number 0, or with none."""
    number = -int(words.view(np.int32)[at + 4]) if words[at] >= 4 * _END_WORDS else 0
    if number:
        raise refusal(number)
    if words.view(np.uint16)[2 * at + 2] == NLMSG_ERROR:
        raise SensorError("the kernel answered the request for a socket dump without a dump")


def _columns(words: U32, rows: Starts) -> SocketRows:
    if words[rows].min() < _ROW_BYTES:
        raise SensorError("the kernel's socket dump cannot be read: a socket's message is too short")
    matrix = _matrix(words, rows)
    head = np.ascontiguousarray(matrix[:, 4:14])  # family, state, ports, addresses: 40 bytes
    family, state = head.view(np.uint8)[:, 0], head.view(np.uint8)[:, 1]
    if np.any((family != AF_INET) & (family != AF_INET6)) or np.any((state < 1) | (state > _NEW_SYN_RECV)):
        raise SensorError("the kernel's socket dump cannot be read: unknown address family or TCP state")
    ports = head.view(">u2")
    halves = head.view(">u8")[:, 1:].astype(np.uint64)
    local_high, local_low, remote_high, remote_low = halves.T
    v4 = family == AF_INET
    if v4.any():
        local_low, remote_low = (
            np.where(v4, np.uint64(V4_PREFIX << 32) | high >> np.uint64(32), low)
            for high, low in ((local_high, local_low), (remote_high, remote_low))
        )
        local_high, remote_high = (np.where(v4, np.uint64(0), high) for high in (local_high, remote_high))
    half_open = (state == _NEW_SYN_RECV) | (state == TcpState.SYN_RECV)
    queues = matrix[:, 18].copy(), matrix[:, 19].copy()
    if half_open.any():  # the kernel gives such sockets no queues: idiag_retrans and idiag_expires are in their place
        retransmits = head.view(np.uint8)[:, 3].astype(np.uint32)
        queues = np.where(half_open, retransmits, queues[0]), np.where(half_open, matrix[:, 17], queues[1])
    table = SocketTable(
        state=np.where(half_open, np.uint8(TcpState.SYN_RECV), state),
        local_high=np.ascontiguousarray(local_high),
        local_low=np.ascontiguousarray(local_low),
        local_port=ports[:, 2].astype(np.uint16),
        remote_high=np.ascontiguousarray(remote_high),
        remote_low=np.ascontiguousarray(remote_low),
        remote_port=ports[:, 3].astype(np.uint16),
        recv_queue=queues[0],
        send_queue=queues[1],
        cookie=np.ascontiguousarray(matrix[:, 15:17]).view(np.uint64)[:, 0],
    )
    return SocketRows(table, matrix[:, 21].copy())


def _matrix(words: U32, rows: Starts) -> U32:
    """Return the fixed part of each row, uint32 of shape (rows, 22): a view where rows are of one size."""
    if len(rows) > 1:
        stride = int(rows[1] - rows[0])
        if np.all(np.diff(rows) == stride) and int(rows[0]) + stride * len(rows) <= len(words):
            block: U32 = words[rows[0] : rows[0] + stride * len(rows)].reshape(len(rows), stride)
            return block[:, :_ROW_WORDS]
    gathered: U32 = words[rows[:, None] + np.arange(_ROW_WORDS)]
    return gathered


_NOTHING: Final = SocketRows(SocketTable.none(), np.empty(0, np.uint32))
