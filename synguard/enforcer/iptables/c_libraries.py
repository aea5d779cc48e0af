"""The C libraries that python-iptables loads, found by the dynamic loader instead of by running tools.

``ctypes.util.find_library`` runs ldconfig, and gcc and ld for what is not in its cache; python-iptables asks it for
nine names, most of which are not there, and runs ldconfig once more for the directory of the extensions. That is three
quarters of what its import costs.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LIBDIR: Final = "XTABLES_LIBDIR"
_SONAMES: Final = {
    "c": ("libc.so.6",),
    "xtables": ("libxtables.so.12", "libxtables.so.13", "libxtables.so.11"),
    "ip4tc": ("libip4tc.so.2", "libip4tc.so.0"),
    "ip6tc": ("libip6tc.so.2", "libip6tc.so.0"),
}
"""What a library is called in the releases of iptables, the most common first."""
_OWN: Final = "xtwrapper"
"""Comes with python-iptables and lies in its directory, where no tool looks."""


@contextmanager
def found_by_loader() -> Iterator[None]:
    """Let the import in this block ask the dynamic loader; what that does not know is looked for as ever."""
    slow = ctypes.util.find_library

    def find(name: str) -> str | None:
        if _OWN in name:
            return None
        return next(filter(_loads, _SONAMES.get(name, ())), None) or slow(name)

    extensions = None if _LIBDIR in os.environ else _extensions()
    ctypes.util.find_library = find
    if extensions is not None:
        os.environ[_LIBDIR] = extensions
    try:
        yield
    finally:
        ctypes.util.find_library = slow
        if extensions is not None:
            del os.environ[_LIBDIR]


def _loads(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def _extensions() -> str | None:
    """Return where the extensions of iptables lie, ``xtables`` beside their library; None where that is elsewhere.

    Sample of a line: ``7f16d59b-7f16d59c r--p 00000000 08:01 1234 /usr/lib/x86_64-linux-gnu/libxtables.so.12.7.0``
    """
    if not any(map(_loads, _SONAMES["xtables"])):
        return None
    lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    loaded = (Path(line.split(maxsplit=5)[5]) for line in lines if "/libxtables.so" in line)
    return next((str(found) for path in loaded if (found := path.parent / "xtables").is_dir()), None)
