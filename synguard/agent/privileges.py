"""Giving up what the agent does not need, once it holds what it does: capabilities, and any way to get them back.

What is kept, and what for, is argued in docs/security.md. A compromised agent, or a tool that it runs, has no more: no
loading of modules, no changing of users, no writing past file permissions.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Iterable
from typing import Final

from synguard.logs import event

log: Final = logging.getLogger(__name__)

BITS: Final = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
}
"""Source: linux/capability.h."""

_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_VERSION_3: Final = 0x20080522
_MOST: Final = 64

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    """Bits 0 to 31, or 32 to 63, of the three sets."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def needed(*, enforces: bool, enters_containers: bool) -> frozenset[str]:
    """Return the capabilities that an agent needs for as long as it runs.

    ``enforces`` is whether it ever may; an agent told ``--dry-run`` never does, and cannot then change the firewall.
    """
    kept = {"CAP_NET_RAW", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"}
    if enforces:
        kept.add("CAP_NET_ADMIN")
    if enters_containers:
        kept.add("CAP_SYS_ADMIN")
    return frozenset(kept)


def give_up_all_but(kept: Iterable[str]) -> None:
    """Keep these capabilities of the calling thread, and of threads and programs that it starts from now on.

    Capabilities that the process does not have are not gained. Nothing is raised: an agent that cannot give up more
    protects all the same, and says so.
    """
    mask = sum(1 << BITS[name] for name in kept)
    for bit in range(_MOST):
        if not mask >> bit & 1 and _LIBC.prctl(_PR_CAPBSET_READ, bit, 0, 0, 0) == 1:
            _LIBC.prctl(_PR_CAPBSET_DROP, bit, 0, 0, 0)  # refused in a service, whose bounding set is narrow already
    _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header, halves = _Header(_VERSION_3, 0), (_Half * 2)()
    if _failed(_LIBC.capget(ctypes.byref(header), halves)):
        log.warning("capabilities cannot be given up: the kernel does not tell them", extra=event("service"))
        return
    for half, part in zip(halves, (mask & 0xFFFFFFFF, mask >> 32), strict=True):
        half.permitted &= part
        half.effective = half.permitted
        half.inheritable = 0
    if code := _failed(_LIBC.capset(ctypes.byref(header), halves)):
        log.warning("capabilities cannot be given up: %s", os.strerror(code), extra=event("service"))


def _failed(result: int) -> int:
    """Return the errno of a call that failed, else 0."""
    return ctypes.get_errno() if result else 0
