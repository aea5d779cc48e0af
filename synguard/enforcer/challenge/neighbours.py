"""Programs of others that see a packet before the challenge program does, at one interface: XDP, tcx, and tc filters.

They are left alone. One that drops SYNs, or sends them elsewhere, keeps them from being challenged.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from synguard.enforcer.challenge import libbpf, program
from synguard.enforcer.challenge.filters import filters_at
from synguard.errors import PlaneError, SensorError
from synguard.netlink import ROUTE, attributes, query

_GETLINK: Final = 18
_LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg
_XDP, _ATTACHED, _XDP_ID = 43, 2, 4
_TCX_INGRESS: Final = 46  # enum bpf_attach_type
_PARENTS: Final = (0xFFFFFFF2, 0xFFFF0000)
"""Where filters for arriving packets hang: at clsact, and at the older ``ingress``."""


def programs_ahead(ifindex: int) -> list[str]:
    """Return what sees arriving packets first, each in a few words; nothing that cannot be asked for."""
    found: list[str] = []
    for look in (_xdp, _tcx, _filters):
        with suppress(SensorError, PlaneError):
            found += look(ifindex)
    return found


def _xdp(ifindex: int) -> Iterator[str]:
    for body in query(ROUTE, _GETLINK, _LINK.pack(0, 0, ifindex, 0, 0), "interfaces"):
        for kind, value in attributes(body, _LINK.size):
            if kind == _XDP:
                parts = dict(attributes(value, 0))
                if parts.get(_ATTACHED, b"\0") != b"\0":
                    number = int.from_bytes(parts.get(_XDP_ID, b""), "little")
                    yield f"XDP program {number}" if number else "an XDP program"


def _tcx(ifindex: int) -> Iterator[str]:
    numbers, count = (ctypes.c_uint32 * 64)(), ctypes.c_uint32(64)
    asked = libbpf.library().bpf_prog_query(ifindex, _TCX_INGRESS, 0, None, numbers, ctypes.byref(count))
    for number in numbers[: count.value] if asked == 0 else ():  # before Linux 6.6 there is no tcx
        name, _ = libbpf.program_name_and_maps(number)
        yield f"tcx program {number} ({name})" if name else f"tcx program {number}"


def _filters(ifindex: int) -> Iterator[str]:
    seen = set()
    for parent in _PARENTS:
        for priority, kind in filters_at(ifindex, parent):
            if 0 < priority < program.PRIORITY and (priority, kind) not in seen:
                seen.add((priority, kind))
                yield f"the tc filter of pref {priority} ({kind})"
