"""Capabilities of this process: which it has, which an agent needs, and how it gives up the others.

What is kept, and what for, is argued in docs/security.md. A compromised agent, or a tool that it runs, has no more: no
loading of modules, no changing of users, no writing past file permissions.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from synguard.errors import NotPermittedError
from synguard.logs import event

log: Final = logging.getLogger(__name__)

BITS: Final = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
"""Source: linux/capability.h."""

FOR_RULES: Final = ("CAP_NET_ADMIN", "CAP_NET_RAW")
"""Legacy xtables needs a raw socket as well as the right to change tables."""

_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_VERSION_3: Final = 0x20080522
_MOST: Final = 64

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def missing_capabilities() -> tuple[str, ...]:
    """Return the capabilities that changing firewall rules needs and this process lacks."""
    for line in Path("/proc/thread-self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            return tuple(name for name in FOR_RULES if not effective >> BITS[name] & 1)
    return FOR_RULES


def require_capabilities(*needed: str) -> None:
    """Return if firewall rules can be changed; all capabilities are needed unless some are named.

    Raises:
        NotPermittedError: A capability is missing; it is named.
    """
    missing = [name for name in missing_capabilities() if not needed or name in needed]
    if missing:
        raise NotPermittedError(f"Changing firewall rules needs {' and '.join(missing)}: {how_to_get(missing)}.")


def how_to_get(capabilities: Sequence[str]) -> str:
    """Return what an operator does about missing capabilities: who is root already gains nothing by ``sudo``."""
    if os.geteuid() != 0:
        return f"run as root, or give the service AmbientCapabilities={' '.join(capabilities)}"
    options = " ".join(f"--cap-add={name.removeprefix('CAP_')}" for name in capabilities)
    return (
        f"this root has been given less; add it to the container ({options}) or to the service's CapabilityBoundingSet"
    )


def permission_or(otherwise: str) -> str:
    """Return how to get what changing firewall rules needs, and where nothing of it is missing other advice."""
    missing = missing_capabilities()
    return how_to_get(missing) if missing else otherwise


def needed(*, enforces: bool, enters_containers: bool, challenges: bool = False) -> frozenset[str]:
    """Return the capabilities that an agent needs for as long as it runs.

    ``enforces`` is whether it ever may; an agent started with ``--dry-run`` never does, and cannot change the firewall.
    """
    kept = {"CAP_NET_RAW", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"}
    if enforces:
        kept.add("CAP_NET_ADMIN")
    if enters_containers:
        kept.add("CAP_SYS_ADMIN")
    if enforces and challenges:  # a loaded program is found by its id, which takes CAP_SYS_ADMIN
        kept |= {"CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"}
    return frozenset(kept)


def give_up_all_but(kept: Iterable[str]) -> None:
    """Keep these capabilities of the calling thread, and of threads and programs that it starts from now on.

    Capabilities that the process does not have are not gained. Nothing is raised: an agent that cannot give up more
    protects all the same, and says so.

    Source: capabilities(7), capset(2), prctl(2).
    """
    mask = sum(1 << BITS[name] for name in kept)
    for bit in range(_MOST):
        if not mask >> bit & 1 and _LIBC.prctl(_PR_CAPBSET_READ, bit, 0, 0, 0) == 1:
            _LIBC.prctl(_PR_CAPBSET_DROP, bit, 0, 0, 0)  # refused in a service, whose bounding set is narrow already
    _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)  # version, pid
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of bits 0 to 31; the same of bits 32 to 63
    failed = _LIBC.capget(header, sets)
    for half, part in ((0, mask & 0xFFFFFFFF), (3, mask >> 32)):
        sets[half] = sets[half + 1] = sets[half + 1] & part
        sets[half + 2] = 0
    if failed or _LIBC.capset(header, sets):
        log.warning("capabilities cannot be given up: %s", os.strerror(ctypes.get_errno()), extra=event("service"))
