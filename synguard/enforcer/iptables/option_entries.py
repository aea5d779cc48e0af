"""The option tables of libxtables, walked in the size that the installed release gives them.

python-iptables 1.2.0 declares ``struct xt_option_entry`` as it was up to iptables 1.8.10: 48 bytes. iptables 1.8.11
(Debian 13) appended ``unsigned int base``, so entries lie 56 bytes apart, and every option but the first of a match
was "no such parameter". The offsets of the older fields are the same, and the library gets a pointer to the real entry.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from typing import Any, Final

from synguard.errors import PlaneUnavailableError

_POINTER: Final = ctypes.sizeof(ctypes.c_void_p)
_MOST: Final = 128
"""Bytes in which the second entry is looked for; the table that is measured has ten entries."""
_NEAR: Final = 1 << 16
"""Names of one table's options are constants of one library, this close to one another."""
_MEASURED: Final = "time"
"""A match with many options that every libxtables has."""


def adapt(xtables: Any) -> None:
    """Make the module ``iptc.xtables`` find options in tables whose entries have another size than it declares.

    Raises:
        PlaneUnavailableError: The size cannot be found out.
    """
    match = xtables.xtables(xtables.NFPROTO_IPV4).find_match(_MEASURED)
    if not match:
        raise PlaneUnavailableError("loading python-iptables", f"libxtables has no match {_MEASURED}")
    first = ctypes.addressof(match[0].x6_options[0])
    stride = stride_of(ctypes.string_at(first, _MOST))
    entry = xtables.xt_option_entry
    if stride == ctypes.sizeof(entry):
        return
    owner = xtables.xtables
    lookup, final_check = owner._option_lookup, owner._options_fcheck

    def entries(table: Any) -> Iterator[Any]:
        address = ctypes.addressof(table[0])
        while True:
            yield entry.from_address(address)
            address += stride

    owner._option_lookup = lambda self, table, name: lookup(self, entries(table), name)
    owner._options_fcheck = lambda self, name, flags, table: final_check(self, name, flags, entries(table))


def stride_of(head: bytes) -> int:
    """Return how many bytes an entry has, given the beginning of a table: each entry begins with its name's address.

    Raises:
        PlaneUnavailableError: No second name is there.
    """
    words = [int.from_bytes(head[at : at + _POINTER], sys.byteorder) for at in range(0, len(head), _POINTER)]
    for number, word in enumerate(words[1:], 1):
        if word and abs(word - words[0]) < _NEAR:
            return number * _POINTER
    raise PlaneUnavailableError(
        "loading python-iptables", "the option tables of this libxtables have a form that it does not know"
    )
