"""What hangs at an interface, asked over rtnetlink: libbpf tells only of filters that are known already."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from synguard.errors import PlaneError, SensorError
from synguard.netlink import ROUTE, attributes, dump

_RTM_GETQDISC: Final = 38
_RTM_GETTFILTER: Final = 46
_KIND: Final = 1
_INGRESS_HANDLE: Final = 0xFFFF0000
_PARENTS: Final = (0xFFFFFFF2, 0xFFFFFFF3)
"""Where filters of a clsact qdisc hang: ingress, egress (linux/pkt_sched.h)."""
_TC: Final = struct.Struct("=BxHiIII")  # struct tcmsg


class _Object(NamedTuple):
    """A qdisc or a filter."""

    ifindex: int
    handle: int
    priority: int
    kind: str


def ingress_qdisc(ifindex: int) -> str:
    """Return the kind of the interface's qdisc for arriving packets, ``clsact`` or ``ingress``; empty for none."""
    found = (one for one in _objects(_RTM_GETQDISC, ifindex, 0) if one.ifindex == ifindex)
    return next((one.kind for one in found if one.handle == _INGRESS_HANDLE), "")


def any_clsact() -> bool:
    """Return whether any interface has a clsact qdisc; True where the kernel does not say."""
    try:
        return any(one.kind == "clsact" for one in _objects(_RTM_GETQDISC, 0, 0))
    except PlaneError:
        return True


def has_filters(ifindex: int) -> bool:
    """Return whether any filter hangs at the interface's clsact qdisc."""
    return any(True for parent in _PARENTS for _ in filters_at(ifindex, parent))


def filters_at(ifindex: int, parent: int) -> Iterator[tuple[int, str]]:
    """Yield (priority, kind) of the filters at one place of an interface."""
    return ((one.priority, one.kind) for one in _objects(_RTM_GETTFILTER, ifindex, parent))


def _objects(what: int, ifindex: int, parent: int) -> Iterator[_Object]:
    """Yield the qdiscs, or the filters.

    Raises:
        PlaneError: The kernel does not say.
    """
    whose = "traffic control filters"
    try:
        bodies = dump(ROUTE, what, _TC.pack(0, 0, ifindex, 0, parent, 0), whose)
    except SensorError as error:
        raise PlaneError(f"asking for {whose}", str(error)) from error
    for body in bodies:
        _, _, index, handle, _, info = _TC.unpack_from(body)
        kind = dict(attributes(body, _TC.size)).get(_KIND, b"").rstrip(b"\0").decode(errors="replace")
        yield _Object(index, handle, info >> 16, kind)
