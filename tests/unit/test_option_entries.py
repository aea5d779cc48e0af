"""The option tables of libxtables, in the sizes of different releases."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synguard.enforcer.iptables.option_entries import adapt, stride_of
from synguard.errors import PlaneUnavailableError

NAMES = (b"datestart", b"datestop", b"timestart")


class Declared(ctypes.Structure):
    """What python-iptables declares: 48 bytes."""

    _fields_ = (("name", ctypes.c_char_p), ("numbers", ctypes.c_uint * 10))


def table(stride: int) -> tuple[ctypes.Array[ctypes.c_char], list[ctypes.Array[ctypes.c_char]]]:
    """Return an option table whose entries lie ``stride`` bytes apart, closed by one without a name."""
    text = ctypes.create_string_buffer(b"\0".join(NAMES))
    base, places = ctypes.addressof(text), [0, 10, 19]
    entries = [struct.pack("@Qii", base + place, number, 3).ljust(stride, b"\0") for number, place in enumerate(places)]
    return ctypes.create_string_buffer(b"".join(entries) + bytes(256)), [text]


@pytest.mark.parametrize("stride", [48, 56, 64])
def test_the_size_of_an_entry_is_found_out_from_the_table_itself(stride: int) -> None:
    entries, _kept = table(stride)
    assert stride_of(entries.raw[:128]) == stride


def test_a_table_of_one_option_or_of_noise_is_refused_and_not_guessed_at() -> None:
    with pytest.raises(PlaneUnavailableError, match="does not know"):
        stride_of(struct.pack("@Q", 0x7F00_0000_1000) + bytes(120))


class Library:
    """As ``iptc.xtables.xtables`` walks a table."""

    measured: ctypes.Array[ctypes.c_char]

    def __init__(self, family: int) -> None:
        self.family = family

    def find_match(self, name: str) -> list[Any]:
        return [SimpleNamespace(x6_options=ctypes.cast(self.measured, ctypes.POINTER(Declared)))]

    def _option_lookup(self, found: Any, name: bytes) -> Any:
        return next((one for one in takewhile(lambda one: one.name, found) if one.name == name), None)

    def _options_fcheck(self, name: str, flags: int, found: Any) -> list[bytes]:
        return [one.name for one in takewhile(lambda one: one.name, found)]


@pytest.mark.parametrize("stride", [48, 56])
def test_every_option_is_found_by_its_name_whatever_the_size(stride: int) -> None:
    """iptables 1.8.11 made entries eight bytes longer: ``datestop`` was no such parameter, on a host that "works"."""
    entries, _kept = table(stride)
    owner = type("Fresh", (Library,), {"measured": entries})
    adapt(SimpleNamespace(NFPROTO_IPV4=2, xt_option_entry=Declared, xtables=owner))
    library, options = owner(2), ctypes.cast(entries, ctypes.POINTER(Declared))
    for name in NAMES:
        assert library._option_lookup(options, name).name == name
    assert library._option_lookup(options, b"other") is None
    assert library._options_fcheck("time", 0, options) == list(NAMES)


def test_what_the_library_s_text_has_python_warn_of_is_not_the_operator_s_affair(tmp_path: Path) -> None:
    """From Python 3.12 on each verb began with two warnings where no bytecode can be kept, as in the service."""
    program = "from synguard.enforcer.iptables.xtables import _iptc; _iptc()"
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
