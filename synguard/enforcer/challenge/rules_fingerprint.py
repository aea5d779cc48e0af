"""Whether the rules of nf_tables are still those that were read: asked of the kernel, without listing what they say.

Every change of nf_tables gives the ruleset a new generation, our own changes too. Only where that is new, the handles
of all rules but ours are compared: each rule and chain gets a handle that is never used again.

Source: include/uapi/linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from synguard.netlink import NETFILTER, attributes, dump, query

NO_RULES: Final = hashlib.sha256().digest()
"""The fingerprint where there are none."""

_NFTABLES: Final = 10 << 8  # NFNL_SUBSYS_NFTABLES
_GETCHAIN, _GETRULE, _GETGEN = _NFTABLES | 4, _NFTABLES | 7, _NFTABLES | 16
_REQUEST: Final = struct.pack("=BBH", 0, 0, 0)  # struct nfgenmsg: all families
_GEN_ID: Final = 1
_TABLE: Final = 1
_HANDLES: Final = {_GETCHAIN: (2, 3, 5), _GETRULE: (2, 3)}
"""Request → what is compared: of a chain handle, name and policy; of a rule its chain and handle."""
_FAMILIES: Final = {"inet": 1, "ip": 2, "netdev": 5, "ip6": 10}


def generation() -> int:
    """Return the number of the ruleset: another one after every change.

    Raises:
        SensorError: The kernel could not be asked.
    """
    for body in query(NETFILTER, _GETGEN, _REQUEST, "the generation of nf_tables"):
        for kind, value in attributes(body, len(_REQUEST)):
            if kind == _GEN_ID and len(value) == 4:
                return int.from_bytes(value, "big")
    return 0


def fingerprint(ours: tuple[str, str]) -> bytes:
    """Return a digest of all chains and rules but those of our table, ``ours``: family and name.

    Raises:
        SensorError: The kernel could not be asked.
    """
    family, table = _FAMILIES[ours[0]], ours[1].encode() + b"\0"
    digest = hashlib.sha256()
    for request, compared in _HANDLES.items():
        for body in dump(NETFILTER, request, _REQUEST, "the rules of nf_tables"):
            found = dict(attributes(body, len(_REQUEST)))
            if (body[0], found.get(_TABLE)) != (family, table):
                digest.update(b"".join(found.get(kind, b"") for kind in (_TABLE, *compared)))
    return digest.digest()
