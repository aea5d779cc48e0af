"""What a process that speaks to strangers may still do: little."""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress
from typing import Final

MEMORY: Final = 512 * 1024 * 1024
"""Bytes of address space."""
CPU_S: Final = 15
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def confine() -> None:
    """Take from this process every capability, new privileges, and more than its share of memory and CPU.

    It keeps its user, so that root's own files, such as certificates, stay readable. What the system does not allow
    is left out: it is a second wall, not the first.

    Source: capset(2), prctl(2) ``PR_SET_NO_NEW_PRIVS``.
    """
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CPU, CPU_S)
    _limit(resource.RLIMIT_CORE, 0)
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    library.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), ctypes.byref((_Sets * 2)()))


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(what, (bounded, bounded))
