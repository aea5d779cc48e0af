"""Memory: making very many objects at once, and giving back what is not needed any more."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

T = TypeVar("T")

PIECE_S: Final = 0.01
"""What a piece of longer work may take of one tick."""

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 1 << 19
"""Bytes from which a piece of memory is the kernel's to take back as soon as it is freed."""


@contextmanager
def many_objects() -> Iterator[None]:
    """Pause the search for reference cycles: making 100,000 objects without any would take twice as long or more."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def kept_for_good() -> None:
    """Search what is there now for reference cycles no more: in a tick, a search of all of it takes 0.1 s."""
    gc.collect()
    gc.freeze()


def at_once(pieces: Generator[None, None, T]) -> T:
    """Return what work that pauses between its pieces comes to, without a pause."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result


def in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield a sequence in parts of up to ``size`` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def paced(pieces: Generator[None, None, T]) -> Generator[None, None, T]:
    """Do the same work with fewer pauses: one each time that it has taken so much CPU time."""
    began = time.thread_time()
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result
        if time.thread_time() - began >= PIECE_S:
            yield
            began = time.thread_time()


def give_back() -> None:
    """Give freed memory back to the system, now and from now on.

    Left alone, glibc takes the size of the largest piece that was ever freed, megabytes of a map that was read once,
    for the size up to which it keeps everything. No effect with another C library.
    """
    libc = ctypes.CDLL(None)
    with suppress(AttributeError):
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_TRIM_THRESHOLD, _LARGE)
        libc.malloc_trim(0)
