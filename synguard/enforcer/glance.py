"""Whether somebody changed the kernel's rules, seen without reading them: a few system calls, whatever is in them.

A firewall script or firewalld that reloads takes our rules away. Reading them back costs too much to do every second;
this says when to.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final

from synguard.enforcer.challenge.rules_fingerprint import generation
from synguard.enforcer.iptables.xtables import existing_tables, families_here
from synguard.enforcer.names import Family
from synguard.errors import SynguardError

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SO_GET_INFO: Final = 64
_INFO: Final = struct.Struct("=32s13I")
"""``struct ipt_getinfo``: name, valid hooks, five entries, five underflows, how many rules, their bytes."""
_WATCHED: Final = frozenset({"raw", "filter"})


def glance(plane: str) -> object:
    """Return a value that is another one once the rules that a plane lives among have changed; None where unknown.

    Legacy xtables has no number that counts changes: how many rules the tables have is compared, and their size.
    """
    try:
        if not plane.startswith("iptables"):
            return generation()
        return tuple(_sizes(family, sorted(existing_tables(family) & _WATCHED)) for family in families_here())
    except (OSError, SynguardError):
        return None


def _sizes(family: Family, tables: Sequence[str]) -> tuple[object, ...]:
    """Return each table with how many rules it has, and their bytes."""
    domain, level = (socket.AF_INET, socket.SOL_IP) if family == 4 else (socket.AF_INET6, socket.IPPROTO_IPV6)
    found = []
    with socket.socket(domain, socket.SOCK_RAW, socket.IPPROTO_RAW) as there:
        for table in tables:
            answer = ctypes.create_string_buffer(table.encode(), _INFO.size)
            length = ctypes.c_uint32(_INFO.size)
            if _LIBC.getsockopt(there.fileno(), level, _SO_GET_INFO, answer, ctypes.byref(length)):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            found.append((table, *_INFO.unpack(answer.raw)[-2:]))
    return tuple(found)
