"""What hangs at an interface, asked over rtnetlink: libbpf tells only of filters that are known already."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

from synguard.errors import PlaneError

_RTM_GETQDISC: Final = 38
_RTM_GETTFILTER: Final = 46
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE: Final = 3
_ERROR: Final = 2
_KIND: Final = 1
_INGRESS_HANDLE: Final = 0xFFFF0000
_PARENTS: Final = (0xFFFFFFF2, 0xFFFFFFF3)
"""Where filters of a clsact qdisc hang: ingress, egress (linux/pkt_sched.h)."""
_HEADER: Final = struct.Struct("=IHHII")
_TC: Final = struct.Struct("=BxHiIII")
_ATTRIBUTE: Final = struct.Struct("=HH")


def ingress_qdisc(ifindex: int) -> str:
    """Return the kind of the interface's qdisc for arriving packets, ``clsact`` or ``ingress``; empty for none."""
    for index, handle, kind in _dump(_RTM_GETQDISC, ifindex, 0):
        if index == ifindex and handle == _INGRESS_HANDLE:
            return kind
    return ""


def any_clsact() -> bool:
    """Return whether any interface has a clsact qdisc; True where the kernel does not say."""
    try:
        return any(kind == "clsact" for _, _, kind in _dump(_RTM_GETQDISC, 0, 0))
    except (PlaneError, OSError):
        return True


def has_filters(ifindex: int) -> bool:
    """Return whether any filter hangs at the interface's clsact qdisc."""
    return any(True for parent in _PARENTS for _ in _dump(_RTM_GETTFILTER, ifindex, parent))


def _dump(kind: int, ifindex: int, parent: int) -> Iterator[tuple[int, int, str]]:
    """Yield (interface, handle, kind) of each object."""
    body = _TC.pack(0, 0, ifindex, 0, parent, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as link:
        link.send(_HEADER.pack(_HEADER.size + len(body), kind, _DUMP, 1, 0) + body)
        while True:
            data = link.recv(1 << 16)
            at = 0
            while at + _HEADER.size <= len(data):
                length, message, *_ = _HEADER.unpack_from(data, at)
                if message == _DONE:
                    return
                if message == _ERROR:
                    raise PlaneError("asking for traffic control filters", _why(data, at))
                _, _, index, handle, _, _ = _TC.unpack_from(data, at + _HEADER.size)
                yield index, handle, _kind(data[at + _HEADER.size + _TC.size : at + length])
                at += (length + 3) & ~3


def _kind(attributes: bytes) -> str:
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if kind == _KIND:
            return attributes[at + _ATTRIBUTE.size : at + length].rstrip(b"\0").decode(errors="replace")
        at += max((length + 3) & ~3, _ATTRIBUTE.size)
    return ""


def _why(data: bytes, at: int) -> str:
    return os.strerror(-struct.unpack_from("=i", data, at + _HEADER.size)[0])
