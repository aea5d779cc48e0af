"""Which process listens: socket inode → ``nginx[812]``, found at a slow cadence and in bounded time.

A server's workers may hold a hundred thousand descriptors during a connection flood, so a scan looks at the first
descriptors of each process only (listening sockets are opened early), stops when every name is known, and stops
when its time is up; the next one goes on where it stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from itertools import islice
from typing import Final

import psutil

from synguard.columns import U32

RESCAN_S: Final = 5.0
SCAN_FOR_S: Final = 0.1
"""What naming listeners may cost at a time: a fiftieth of one core at worst."""
DESCRIPTORS: Final = 256
"""Descriptors looked at per process."""


class ListenerNames:
    """Remembers names while their sockets live; a socket no one here may look at stays nameless."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[int, str]] = {}
        self._scanned_at = self._checked_at = float("-inf")
        self._pids: list[int] = []

    def names(self, inodes: U32, now: float) -> list[str]:
        """Return a name for each socket inode, in order; empty where unknown, as for inode 0, which is none.

        Scans only when a socket is unknown, and not within ``RESCAN_S`` of the last time.
        """
        wanted = {int(inode) for inode in inodes if inode}
        self._found = {inode: found for inode, found in self._found.items() if inode in wanted}
        if now - self._checked_at >= RESCAN_S:
            self._checked_at = now
            self._forget_the_dead()
        if now - self._scanned_at >= RESCAN_S:
            missing = wanted - self._found.keys()
            if missing:
                self._scanned_at = now
                self._scan(missing)
        return [self._found.get(int(inode), (0, ""))[1] for inode in inodes]

    def _forget_the_dead(self) -> None:
        """Drop names of processes that are gone: their socket lives on in another."""
        self._found = {inode: found for inode, found in self._found.items() if psutil.pid_exists(found[0])}

    def _scan(self, missing: set[int]) -> None:
        until = time.monotonic() + SCAN_FOR_S
        if not self._pids:
            self._pids = sorted(psutil.pids(), reverse=True)
        while self._pids and missing and time.monotonic() < until:
            pid = self._pids.pop()
            held = missing & _socket_inodes(pid)
            if held:
                name = process_name(pid)
                self._found.update((inode, (pid, name)) for inode in held)
                missing -= held
        if not missing:
            self._pids = []


def _socket_inodes(pid: int) -> set[int]:
    """Return the socket inodes among a process's first descriptors; none where we may not look or it is gone."""
    inodes: set[int] = set()
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in islice(entries, DESCRIPTORS):
                inodes.update(_inode(entry.path))
    except OSError:
        pass  # gone, or another user's: what was seen so far still counts
    return inodes


def _inode(path: str) -> Iterable[int]:
    try:
        target = os.readlink(path)
    except OSError:
        return ()
    return (int(target[8:-1]),) if target.startswith("socket:[") else ()


def process_name(pid: int) -> str:
    """Return ``nginx[812]``, or ``[812]`` where the process is gone or may not be looked at."""
    try:
        return f"{psutil.Process(pid).name()}[{pid}]"
    except psutil.Error:
        return f"[{pid}]"
