"""Which matches and targets of legacy xtables this kernel has, or can load."""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Iterable, Iterator
from typing import Final

from synguard.enforcer.names import Family

_SOCKETS: Final = {4: (socket.AF_INET, socket.SOL_IP, 66, 67), 6: (socket.AF_INET6, socket.IPPROTO_IPV6, 68, 69)}
"""Family → address family, level, and the options IP(6)T_SO_GET_REVISION_MATCH and …_TARGET."""
_NAME_BYTES: Final = 29
"""``XT_EXTENSION_MAXNAMELEN``; the revision follows in one byte (``struct xt_get_revision``)."""
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def missing_extensions(family: Family, matches: Iterable[str], targets: Iterable[str] = ()) -> Iterator[str]:
    """Yield the extensions that the kernel has in no revision; a module is loaded where there is one.

    Whatever else the kernel answers counts as there: a rule will tell.
    """
    kind, level, for_match, for_target = _SOCKETS[family]
    with socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for option, names in ((for_match, matches), (for_target, targets)):
            yield from (name for name in names if _is_missing(raw, level, option, name))


def _is_missing(raw: socket.socket, level: int, option: int, name: str) -> bool:
    asked = ctypes.create_string_buffer(name.encode().ljust(_NAME_BYTES, b"\0") + b"\0", _NAME_BYTES + 1)
    length = ctypes.c_uint32(_NAME_BYTES + 1)
    failed = _LIBC.getsockopt(raw.fileno(), level, option, asked, ctypes.byref(length))
    return bool(failed) and ctypes.get_errno() == errno.ENOENT
