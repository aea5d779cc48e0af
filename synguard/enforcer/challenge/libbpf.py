"""libbpf by ctypes: only what loading, attaching and reading the program takes. Errors are one sentence each."""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

from synguard.errors import NotPermittedError, PlaneError, PlaneUnavailableError

LIBRARY: Final = "libbpf.so.1"
INGRESS: Final = 1
EGRESS: Final = 2
_REPLACE: Final = 1
_LOG_BYTES: Final = 65_536
_NAME: Final = 16
_GONE: Final = (errno.ENOENT, errno.ENODEV, errno.EINVAL)
"""There is no such thing at the interface, or no interface."""


class _OpenOptions(ctypes.Structure):
    _fields_: ClassVar = [
        ("size", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", c_char_p),
        ("removed", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("log", c_char_p),
        ("log_size", c_size_t),
        ("log_level", c_uint32),
    ]


class _Hook(ctypes.Structure):
    _fields_: ClassVar = [("size", c_size_t), ("ifindex", c_int), ("point", c_int), ("parent", c_uint32)]


class _TcOptions(ctypes.Structure):
    _fields_: ClassVar = [
        ("size", c_size_t),
        ("program", c_int),
        ("flags", c_uint32),
        ("program_id", c_uint32),
        ("handle", c_uint32),
        ("priority", c_uint32),
    ]


class _ProgramInfo(ctypes.Structure):
    _fields_: ClassVar = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", ctypes.c_ubyte * 8),
        ("jited_length", c_uint32),
        ("translated_length", c_uint32),
        ("jited", ctypes.c_uint64),
        ("translated", ctypes.c_uint64),
        ("loaded_at", ctypes.c_uint64),
        ("uid", c_uint32),
        ("map_count", c_uint32),
        ("map_ids", ctypes.c_uint64),
        ("name", ctypes.c_char * _NAME),
    ]


class _MapInfo(ctypes.Structure):
    _fields_: ClassVar = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("flags", c_uint32),
        ("name", ctypes.c_char * _NAME),
    ]


_POINTERS: Final = {
    "bpf_object__open_file": [c_char_p, POINTER(_OpenOptions)],
    "bpf_object__find_program_by_name": [c_void_p, c_char_p],
    "bpf_object__find_map_by_name": [c_void_p, c_char_p],
}
_NUMBERS: Final = {
    "bpf_object__load": [c_void_p],
    "bpf_program__fd": [c_void_p],
    "bpf_map__fd": [c_void_p],
    "bpf_map__reuse_fd": [c_void_p, c_int],
    "bpf_tc_hook_create": [POINTER(_Hook)],
    "bpf_tc_hook_destroy": [POINTER(_Hook)],
    "bpf_tc_attach": [POINTER(_Hook), POINTER(_TcOptions)],
    "bpf_tc_detach": [POINTER(_Hook), POINTER(_TcOptions)],
    "bpf_tc_query": [POINTER(_Hook), POINTER(_TcOptions)],
    "bpf_prog_get_fd_by_id": [c_uint32],
    "bpf_map_get_fd_by_id": [c_uint32],
    "bpf_prog_bind_map": [c_int, c_int, c_void_p],
    "bpf_obj_get_info_by_fd": [c_int, c_void_p, POINTER(c_uint32)],
    "bpf_map_lookup_elem": [c_int, c_void_p, c_void_p],
    "bpf_map_update_elem": [c_int, c_void_p, c_void_p, ctypes.c_uint64],
    "bpf_map_delete_elem": [c_int, c_void_p],
    "bpf_map_lookup_batch": [c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p],
    "bpf_map_lookup_and_delete_batch": [c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p],
    "libbpf_num_possible_cpus": [],
}


@cache
def library() -> Any:
    """Return the library with its functions' types set, once.

    Raises:
        PlaneUnavailableError: It is not installed.
    """
    try:
        found = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError as error:
        raise PlaneUnavailableError(
            "loading the challenge program", f"there is no {LIBRARY}; install the package libbpf1"
        ) from error
    for result, functions in ((c_void_p, _POINTERS), (c_int, _NUMBERS)):
        for name, arguments in functions.items():
            function = getattr(found, name)
            function.restype, function.argtypes = result, arguments
    found.bpf_object__close.restype, found.bpf_object__close.argtypes = None, [c_void_p]
    found.libbpf_set_print.restype, found.libbpf_set_print.argtypes = c_void_p, [c_void_p]
    found.libbpf_set_print(None)
    return found


def succeed(result: int, action: str, *, allowed: tuple[int, ...] = ()) -> int:
    """Return the result of a call: not negative, or minus one of the allowed error numbers.

    Raises:
        NotPermittedError: It takes capabilities that this process lacks.
        PlaneError: The kernel refused for another reason.
    """
    if result >= 0 or -result in allowed:
        return result
    if -result in (errno.EPERM, errno.EACCES):
        raise NotPermittedError(f"{action}: not permitted; it takes CAP_BPF and CAP_NET_ADMIN (or root)")
    raise PlaneError(action, os.strerror(-result))


class ObjectFile:
    """A compiled object, opened, perhaps given maps that exist already, then loaded into the kernel."""

    def __init__(self, path: Path) -> None:
        self._library = library()
        self._log = ctypes.create_string_buffer(_LOG_BYTES)
        options = _OpenOptions(ctypes.sizeof(_OpenOptions))
        options.log = ctypes.cast(self._log, c_char_p)
        options.log_size = _LOG_BYTES
        self._object = self._library.bpf_object__open_file(os.fsencode(path), ctypes.byref(options))
        if not self._object:
            raise PlaneUnavailableError("loading the challenge program", f"{path}: {os.strerror(ctypes.get_errno())}")

    def reuse(self, name: str, descriptor: int) -> None:
        """Have the program use a map that exists.

        Raises:
            PlaneError: It is of another kind.
        """
        found = self._library.bpf_object__find_map_by_name(self._object, name.encode())
        succeed(self._library.bpf_map__reuse_fd(found, descriptor), f"taking over the map {name}")

    def load(self) -> None:
        """Load programs and maps.

        Raises:
            NotPermittedError: It takes capabilities that this process lacks.
            PlaneUnavailableError: This kernel does not take it; says why in the kernel's words.
        """
        result = self._library.bpf_object__load(self._object)
        if result >= 0:
            return
        if -result == errno.EPERM:
            raise NotPermittedError(
                "loading the challenge program: not permitted; it takes CAP_BPF and CAP_NET_ADMIN (or root), a "
                "kernel that is not locked down, and a service whose SystemCallFilter allows bpf"
            )
        words = self._log.value.decode(errors="replace").strip().splitlines()
        why = next((line for line in reversed(words) if not line.startswith("processed ")), os.strerror(-result))
        raise PlaneUnavailableError("loading the challenge program", f"this kernel refuses it: {why}")

    def program(self, name: str) -> int:
        """Return a descriptor of our own for a loaded program."""
        found = self._library.bpf_object__find_program_by_name(self._object, name.encode())
        return os.dup(self._library.bpf_program__fd(found))

    def map(self, name: str) -> int:
        """Return a descriptor of our own for a map."""
        found = self._library.bpf_object__find_map_by_name(self._object, name.encode())
        return os.dup(self._library.bpf_map__fd(found))

    def close(self) -> None:
        """Free the library's memory and its descriptors; those given out stay."""
        self._library.bpf_object__close(self._object)


def _hook(ifindex: int, point: int) -> Any:
    return ctypes.byref(_Hook(ctypes.sizeof(_Hook), ifindex, point, 0))


def create_clsact(ifindex: int) -> bool:
    """Make a clsact qdisc on an interface and return True; False where there is one, or an ingress qdisc."""
    result = library().bpf_tc_hook_create(_hook(ifindex, INGRESS | EGRESS))
    return succeed(result, f"adding a clsact qdisc to interface {ifindex}", allowed=(errno.EEXIST,)) >= 0


def remove_clsact(ifindex: int) -> None:
    """Remove the clsact qdisc of an interface with all its filters; no error where there is none, or no interface."""
    result = library().bpf_tc_hook_destroy(_hook(ifindex, INGRESS | EGRESS))
    succeed(result, f"removing the clsact qdisc of interface {ifindex}", allowed=_GONE)


def attach_filter(ifindex: int, point: int, program: int, handle: int, priority: int) -> None:
    """Attach a program as a filter, in the place of the one that is there."""
    options = _TcOptions(ctypes.sizeof(_TcOptions), program, _REPLACE, 0, handle, priority)
    result = library().bpf_tc_attach(_hook(ifindex, point), ctypes.byref(options))
    succeed(result, f"attaching the challenge program to interface {ifindex}")


def detach_filter(ifindex: int, point: int, handle: int, priority: int) -> None:
    """Remove a filter; no error where there is none, or no interface."""
    options = _TcOptions(ctypes.sizeof(_TcOptions), 0, 0, 0, handle, priority)
    result = library().bpf_tc_detach(_hook(ifindex, point), ctypes.byref(options))
    succeed(result, f"removing the challenge program from interface {ifindex}", allowed=_GONE)


def filter_program(ifindex: int, point: int, handle: int, priority: int) -> int | None:
    """Return the id of the program that a filter runs, or None where there is no such filter."""
    options = _TcOptions(ctypes.sizeof(_TcOptions), 0, 0, 0, handle, priority)
    result = library().bpf_tc_query(_hook(ifindex, point), ctypes.byref(options))
    found = succeed(result, f"looking for the challenge program at interface {ifindex}", allowed=_GONE) >= 0
    return options.program_id if found else None


def keep_map(program: int, descriptor: int) -> None:
    """Have a program keep a map that it does not use, for as long as the program lives (Linux 5.10)."""
    succeed(library().bpf_prog_bind_map(program, descriptor, None), "binding a map to the challenge program")


def program_name_and_maps(program_id: int) -> tuple[str, list[int]]:
    """Return a loaded program's name and the ids of its maps; no name where it is gone."""
    descriptor = library().bpf_prog_get_fd_by_id(program_id)
    if succeed(descriptor, f"opening the BPF program {program_id}", allowed=(errno.ENOENT,)) < 0:
        return "", []
    try:
        ids = (c_uint32 * 64)()
        info = _ProgramInfo(map_count=len(ids), map_ids=ctypes.addressof(ids))
        length = c_uint32(ctypes.sizeof(info))
        result = library().bpf_obj_get_info_by_fd(descriptor, ctypes.byref(info), ctypes.byref(length))
        succeed(result, f"reading about the BPF program {program_id}")
        return info.name.decode(), list(ids[: min(info.map_count, len(ids))])
    finally:
        os.close(descriptor)


def open_map(map_id: int) -> tuple[str, int]:
    """Return a map's name and a descriptor for it."""
    descriptor = succeed(library().bpf_map_get_fd_by_id(map_id), f"opening the BPF map {map_id}")
    info = _MapInfo()
    length = c_uint32(ctypes.sizeof(info))
    result = library().bpf_obj_get_info_by_fd(descriptor, ctypes.byref(info), ctypes.byref(length))
    succeed(result, f"reading about the BPF map {map_id}")
    return info.name.decode(), descriptor
