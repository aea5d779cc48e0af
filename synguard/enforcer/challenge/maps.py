"""The program's maps as numpy records, read and written whole batches at a time where the kernel can."""

from __future__ import annotations

import ctypes
import errno
import mmap
import struct
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.libbpf import library, succeed

Records: TypeAlias = npt.NDArray[Any]
"""An array of records, or of numbers."""

_TOKEN_BYTES: Final = 32
"""Room for where the kernel goes on: a number of its own, or a key."""
_KEY: Final = np.dtype(np.uint32)
_HEADER_BYTES: Final = 8
"""Before each record of a ring buffer: its length with two flags (Linux ``BPF_RINGBUF_HDR_SZ``)."""
_BUSY: Final = 1 << 31
_DISCARDED: Final = 1 << 30


class ArrayMap:
    """Values by number."""

    def __init__(
        self, name: str, descriptor: int, value: np.dtype[Any], entries: int, *, per_cpu: bool = False
    ) -> None:
        self.name, self.descriptor = name, descriptor
        self._value, self._entries = value, entries
        self._cpus = library().libbpf_num_possible_cpus() if per_cpu else 1

    def __getitem__(self, index: int) -> Any:
        """Return one value; of a per-CPU map an array of each CPU's."""
        values = np.zeros(self._cpus, self._value)
        key = ctypes.c_uint32(index)
        result = library().bpf_map_lookup_elem(self.descriptor, ctypes.byref(key), values.ctypes.data)
        succeed(result, f"reading the map {self.name}")
        return values if self._cpus > 1 else values[0]

    def __setitem__(self, index: int, value: Any) -> None:
        """Write one value, on every CPU."""
        values = np.zeros(self._cpus, self._value)
        values[:] = value
        key = ctypes.c_uint32(index)
        result = library().bpf_map_update_elem(self.descriptor, ctypes.byref(key), values.ctypes.data, 0)
        succeed(result, f"writing the map {self.name}")

    def read(self, entries: int | None = None) -> Records:
        """Return the first ``entries`` values, or all; of a per-CPU map shape (entries, CPUs)."""
        entries = self._entries if entries is None else min(entries, self._entries)
        keys, values = np.empty(entries, _KEY), np.empty((entries, self._cpus), self._value)
        _read_batches(self, keys, values, drain=False)
        return values if self._cpus > 1 else values[:, 0]


class HashMap:
    """Values by key: hashes, LRU hashes and prefix tries alike."""

    def __init__(self, name: str, descriptor: int, key: np.dtype[Any], value: np.dtype[Any], entries: int) -> None:
        self.name, self.descriptor = name, descriptor
        self._key, self._value, self._entries = key, value, entries

    def get(self, key: Any) -> Any | None:
        """Return the value, or None; of a trie that of the longest prefix that covers the key."""
        keys, values = np.array([key], self._key), np.zeros(1, self._value)
        result = library().bpf_map_lookup_elem(self.descriptor, keys.ctypes.data, values.ctypes.data)
        return values[0] if succeed(result, f"reading the map {self.name}", allowed=(errno.ENOENT,)) >= 0 else None

    def put(self, key: Any, value: Any) -> None:
        """Write one value."""
        keys, values = np.array([key], self._key), np.array([value], self._value)
        result = library().bpf_map_update_elem(self.descriptor, keys.ctypes.data, values.ctypes.data, 0)
        succeed(result, f"writing the map {self.name}")

    def remove(self, key: Any) -> None:
        """Remove one value; no error where there is none."""
        keys = np.array([key], self._key)
        result = library().bpf_map_delete_elem(self.descriptor, keys.ctypes.data)
        succeed(result, f"writing the map {self.name}", allowed=(errno.ENOENT,))

    def read(self, *, drain: bool = False) -> tuple[Records, Records]:
        """Return all keys and values; with ``drain`` they are removed in the same step."""
        keys, values = np.empty(self._entries, self._key), np.empty(self._entries, self._value)
        count = _read_batches(self, keys, values, drain=drain)
        return keys[:count], values[:count]


class SharedArray:
    """An array of numbers in memory that the program and this process share: it takes no call to read or write it."""

    def __init__(self, descriptor: int, count: int, kind: type[np.generic]) -> None:
        size = count * np.dtype(kind).itemsize
        pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(descriptor, pages, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.values: Records = np.frombuffer(self._memory, kind, count)


class Wakes:
    """The ring buffer in which the program says that SYNs to a port have become many; readable while some wait."""

    def __init__(self, descriptor: int) -> None:
        page = mmap.PAGESIZE
        self._size = layout.WAKES_BYTES
        self._consumer = mmap.mmap(descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer = mmap.mmap(descriptor, page + 2 * self._size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._at = page

    def read(self) -> list[Any]:
        """Return the records that came since the last read, oldest first."""
        found: list[Any] = []
        consumed = struct.unpack_from("<Q", self._consumer)[0]
        produced = struct.unpack_from("<Q", self._producer)[0]
        while consumed < produced:
            start = self._at + (consumed & (self._size - 1))
            length = struct.unpack_from("<I", self._producer, start)[0]
            if length & _BUSY:
                break
            size = length & ~_DISCARDED
            if not length & _DISCARDED:
                found.append(np.frombuffer(self._producer, layout.WAKE, 1, start + _HEADER_BYTES)[0].copy())
            consumed += (_HEADER_BYTES + size + 7) & ~7
        struct.pack_into("<Q", self._consumer, 0, consumed)
        return found


def _read_batches(of: ArrayMap | HashMap, keys: Records, values: Records, *, drain: bool) -> int:
    """Fill keys and values from their start and return how many there were."""
    bpf = library()
    call = bpf.bpf_map_lookup_and_delete_batch if drain else bpf.bpf_map_lookup_batch
    here, there = ctypes.create_string_buffer(_TOKEN_BYTES), ctypes.create_string_buffer(_TOKEN_BYTES)
    done, first = 0, True
    while done < len(keys):
        count = ctypes.c_uint32(len(keys) - done)
        result = call(
            of.descriptor,
            None if first else here,
            there,
            keys[done:].ctypes.data,
            values[done:].ctypes.data,
            ctypes.byref(count),
            None,
        )
        ended = succeed(result, f"reading the map {of.name}", allowed=(errno.ENOENT,)) < 0
        done += count.value
        if ended:
            break
        here, there, first = there, here, False
    return done
