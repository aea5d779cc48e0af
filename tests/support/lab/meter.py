"""Polls what comes in from each site and what TCP is handed: ``python -m tests.support.lab.meter ROUTER-NETNS``.

Runs in the victim's namespace and reads counters only, so that it leaves no rule in the firewall under test. All
counters of a sample are read within a fraction of a millisecond by one process, with one clock. Prints a line
``{"event": "sample", "at": …, "attack": …, "clients": …, "segments": …}`` every ``PERIOD_S``.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Final

from tests.support.lab.topology import ATTACK_PORT, CLIENT_PORT

PERIOD_S: Final = 0.01
_CLONE_NEWNET: Final = 0x40000000


class Counters:
    """Open counter files of the victim and of the router; the kernel renders them anew at every read."""

    def __init__(self, router: str) -> None:
        self._tcp = os.open("/proc/self/net/snmp", os.O_RDONLY)
        _enter(router)
        self._links = os.open("/proc/self/net/dev", os.O_RDONLY)

    def segments(self) -> int:
        """Return ``Tcp: InSegs`` of the victim: every segment TCP was handed, IPv4 and IPv6."""
        names, values = (line.split() for line in _read(self._tcp).splitlines() if line.startswith("Tcp:"))
        return int(values[names.index("InSegs")])

    def came_in(self) -> dict[str, int]:
        """Return the router's interface → packets received."""
        lines = (line.split() for line in _read(self._links).splitlines()[2:])
        return {words[0].rstrip(":"): int(words[2]) for words in lines}


def _read(descriptor: int) -> str:
    return os.pread(descriptor, 65536, 0).decode()


def _enter(namespace: str) -> None:
    descriptor = os.open(namespace, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    os.close(descriptor)


def main() -> None:
    """Print samples until killed."""
    counters = Counters(sys.argv[1])
    due = time.monotonic()
    while True:
        at, segments, links = time.monotonic(), counters.segments(), counters.came_in()
        sys.stdout.write(
            f'{{"event": "sample", "at": {at:.6f}, "attack": {links[ATTACK_PORT]},'
            f' "clients": {links[CLIENT_PORT]}, "segments": {segments}}}\n'
        )
        sys.stdout.flush()
        due = max(due + PERIOD_S, at)
        time.sleep(max(due - time.monotonic(), 0.0))


if __name__ == "__main__":
    main()
