"""The values of the program's maps as numpy records; bpf/layout.h is the same in C, and says what each field means."""

from __future__ import annotations

import hashlib
from enum import IntEnum
from ipaddress import IPv6Address
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.addresses import Network

PORTS: Final = 65_536
SLOTS: Final = 256
"""Ports that are watched have a slot each; slot 0 is every other port."""
BANS: Final = 8192
"""Places for bans; place 0 is never used."""
NETWORKS: Final = 16_384
HEADERS: Final = 1024
PROVEN: Final = 65_536
PROVEN_BITS: Final = 17
"""So many bits of an address, mixed, say where its bit is."""
SOURCES: Final = 65_536
MANNERS: Final = 16
"""Ways in which the listeners of one port and family may answer, by their address."""
LISTENER_BITS: Final = 8
LISTENERS: Final = 1 << LISTENER_BITS
WAKES_BYTES: Final = 4096
NEVER: Final = 2**64 - 1
"""A deadline that does not come."""
PROTECTED: Final = BANS
"""Stands for the first ban of a network that none concerns."""


class Family(IntEnum):
    """Address families as the program numbers them."""

    V4 = 0
    V6 = 1


class ProgramStep(IntEnum):
    """What a ban does to a SYN."""

    CHALLENGE = 1
    LIMIT = 2
    DROP = 3
    LEAVE = 4
    """To the firewall, which refuses it."""


def _record(*fields: tuple[str, object]) -> np.dtype[np.void]:
    """Return a record laid out as C lays it out."""
    return np.dtype(list(fields), align=True)


ADDRESS: Final = np.dtype((np.uint8, 16))
"""In network order; IPv4 is ::ffff:a.b.c.d."""
PLACE: Final = np.dtype(np.uint32)
"""A ban's place, or 0 for none."""
SETTINGS: Final = _record(
    ("layout", np.uint64),
    ("count_until", np.uint64),
    ("pass_every", np.uint64),
    ("proven_interval", np.uint64),
    ("proven_burst", np.uint64),
    ("onset_window", np.uint64),
    ("onset_quiet", np.uint64),
    ("count_mask", np.uint32),
    ("banned_mask", np.uint32),
    ("timestamps", np.uint32),
    ("pass_mask", np.uint32),
)
HELD: Final = _record(("bans", np.uint32), ("headers", np.uint32), ("changes", np.uint32))
PORT: Final = _record(("everybody", (np.uint32, 2)), ("onset", np.uint32), ("number", np.uint32))
BAN: Final = _record(
    ("deadline", np.uint64),
    ("ports", (np.uint64, SLOTS // 64)),
    ("interval", np.uint64),
    ("burst", np.uint64),
    ("network", ADDRESS),
    ("mask", ADDRESS),
    ("step", np.uint32),
    ("ttl_low", np.uint8),
    ("ttl_high", np.uint8),
    ("targeted", np.uint8),
    ("refuses_proven", np.uint8),
)
NETWORK: Final = _record(("length", np.uint32), ("address", ADDRESS))
HEADER: Final = _record(
    ("options", np.uint32), ("window", np.uint16), ("mss", np.uint16), ("length", np.uint16), ("family", np.uint16)
)
SOURCE: Final = np.dtype([("address", ADDRESS), ("port", np.uint16), ("pad", np.uint16)])
SIGHTING: Final = _record(
    ("syns", np.uint32),
    ("options", np.uint32),
    ("window", np.uint16),
    ("mss", np.uint16),
    ("length", np.uint16),
    ("ttl", np.uint8),
    ("family", np.uint8),
)
PEER: Final = np.dtype([("address", ADDRESS)])
PORT_COUNT: Final = _record(
    *((name, np.uint64) for name in ("syns", "answered", "passed", "dropped", "returned", "others"))
)
BAN_COUNT: Final = _record(*((name, np.uint64) for name in ("answered", "passed", "dropped", "bytes")))
MANNER: Final = _record(
    ("mss", np.uint16),
    ("window", np.uint16),
    ("ttl", np.uint8),
    ("tos", np.uint8),
    ("wscale", np.uint8),
    ("flags", np.uint8),
)
ONSET: Final = _record(("since", np.uint64), ("quiet_until", np.uint64), ("syns", np.uint64))
WAKE: Final = _record(("at", np.uint64), ("port", np.uint32), ("syns", np.uint32))
LISTENER: Final = _record(
    ("address", ADDRESS),
    ("checked_at", np.uint64),
    ("passed_at", np.uint64),
    ("ifindex", np.uint32),
    ("port", np.uint16),
    ("place", np.uint16),
)
NOTE: Final = _record(
    ("expires_us", np.int64),
    ("header", HEADER),
    ("has_header", np.uint32),
    ("target", NETWORK),
    ("family", np.uint32),
    ("id", "S32"),
)
LINK: Final = _record(("own_clsact", np.uint32))

_MAPPED: Final = bytes(10) + b"\xff\xff"
Words: TypeAlias = npt.NDArray[np.uint64]
"""Bits by slot."""

RECORDS: Final = {
    "settings": SETTINGS, "held": HELD, "port": PORT, "ban": BAN, "network": NETWORK, "header": HEADER,
    "source": SOURCE, "sighting": SIGHTING, "port_count": PORT_COUNT, "ban_count": BAN_COUNT, "manner": MANNER,
    "onset": ONSET, "listener": LISTENER, "note": NOTE, "link": LINK,
}  # fmt: skip
"""Name of the C structure → the record."""


def packed(network: Network) -> bytes:
    """Return a network's first address as the program holds addresses."""
    address = network.network_address
    return address.packed if isinstance(address, IPv6Address) else _MAPPED + address.packed


def has_bit(words: Words, slot: int) -> bool:
    """Return whether the bit of a slot is set."""
    return bool(int(words[slot // 64]) >> slot % 64 & 1)


def layout_number() -> int:
    """Return a number for all of this; maps that carry another one are not ours to read."""
    sizes = SLOTS, BANS, NETWORKS, HEADERS, PROVEN, PROVEN_BITS, SOURCES, MANNERS, LISTENERS
    text = repr([sizes, *((name, record.descr, record.itemsize) for name, record in RECORDS.items())])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
