"""Bans and lists as the program's maps hold them; nothing here writes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, Final

import numpy as np

from synguard.addresses import Network, host_network, unmapped
from synguard.ban_columns import moment
from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.every_map import Maps
from synguard.enforcer.challenge.layout import Family
from synguard.enforcer.challenge.lists import Lists
from synguard.enforcer.challenge.proven import ProvenTable
from synguard.enforcer.challenge.slots import Slots
from synguard.model import Action, KernelBan, Scope
from synguard.syn_header import SynHeader

_ACTIONS: Final = {
    layout.ProgramStep.CHALLENGE: Action.CHALLENGE,
    layout.ProgramStep.LIMIT: Action.LIMIT,
    layout.ProgramStep.DROP: Action.DROP,
    layout.ProgramStep.LEAVE: Action.REJECT,
}


def stored_bans(maps: Maps, slots: Slots, now_ns: int) -> dict[int, KernelBan]:
    """Return place → ban, of those whose deadline is ahead."""
    notes, records = maps.notes.read(), maps.bans.read()
    return {
        int(place): _ban(notes[place], records[place], slots)
        for place in np.flatnonzero((notes["id"] != b"") & (records["deadline"] > now_ns))
    }


def stored_lists(maps: Maps) -> Lists:
    """Return the chains as the program follows them, whatever they lead to."""
    networks = {
        _network(key, family): int(place)
        for family in Family
        for key, place in zip(*maps.networks[family].read(), strict=True)
    }
    headers: dict[Any, int] = {
        tuple(int(part) for part in key): int(place) for key, place in zip(*maps.headers.read(), strict=True)
    }
    after, everybody = maps.after.read(), maps.ports.read()["everybody"]
    return Lists(
        networks,
        {family: tuple(np.unique(everybody[:, family][everybody[:, family] > 0]).tolist()) for family in Family},
        headers,
        {int(place): int(after[place]) for place in np.flatnonzero(after)},
    )


def stored_proven(maps: Maps) -> frozenset[Network]:
    """Return the peers that pass."""
    return frozenset(host_network(unmapped(ip_address(address))) for address in ProvenTable(maps).read())


def _ban(note: Any, record: Any, slots: Slots) -> KernelBan:
    header = None
    if note["has_header"]:
        options, window, mss, length, _ = (int(part) for part in note["header"])
        header = SynHeader((int(record["ttl_low"]), int(record["ttl_high"])), window, mss, options, length)
    return KernelBan(
        ban_id=note["id"].decode(),
        target=_network(note["target"], Family(note["family"])),
        scope=Scope.NEW,
        action=_ACTIONS[layout.ProgramStep(record["step"])],
        ports=slots.ports(record["ports"]),
        expires_at=moment(int(note["expires_us"])),
        header=header,
        refuses_proven=bool(record["refuses_proven"]),
    )


def _network(key: Any, family: Family) -> Network:
    octets = key["address"].tobytes()
    return ip_network((octets[:4] if family is Family.V4 else octets, int(key["length"])))
