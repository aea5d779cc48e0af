"""All maps of the challenge program, each with its records."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.maps import ArrayMap, HashMap, SharedArray, Wakes

MAP_NAMES: Final = (
    "settings", "held", "slots", "ports", "bans", "after", "networks4", "networks6", "headers", "proven",
    "perhaps_proven", "notes", "links", "tokens", "onsets", "manners", "port_counts", "ban_counts", "sources", "wakes",
    "listeners", "passed",
)  # fmt: skip


class Maps:  # wide: one attribute a map of the program
    """All maps of the program."""

    def __init__(self, descriptors: dict[str, int]) -> None:
        self.descriptors = descriptors

        def array(name: str, value: np.dtype[Any], entries: int, *, per_cpu: bool = False) -> ArrayMap:
            return ArrayMap(name, descriptors[name], value, entries, per_cpu=per_cpu)

        def table(name: str, key: np.dtype[Any], value: np.dtype[Any], entries: int) -> HashMap:
            return HashMap(name, descriptors[name], key, value, entries)

        number = np.dtype(np.uint64)
        self.settings = array("settings", layout.SETTINGS, 1)
        self.held = array("held", layout.HELD, 1)
        self.ports = array("ports", layout.PORT, layout.SLOTS)
        self.bans = array("bans", layout.BAN, layout.BANS)
        self.after = array("after", layout.PLACE, layout.BANS)
        self.notes = array("notes", layout.NOTE, layout.BANS)
        self.tokens = array("tokens", number, layout.BANS)
        self.manners = array("manners", layout.MANNER, layout.SLOTS * len(layout.Family) * layout.MANNERS)
        self.port_counts = array("port_counts", layout.PORT_COUNT, layout.SLOTS, per_cpu=True)
        self.ban_counts = array("ban_counts", layout.BAN_COUNT, layout.BANS, per_cpu=True)
        self.networks = tuple(
            table(f"networks{version}", layout.NETWORK, layout.PLACE, layout.NETWORKS) for version in (4, 6)
        )
        self.headers = table("headers", layout.HEADER, layout.PLACE, layout.HEADERS)
        self.proven = table("proven", layout.PEER, number, layout.PROVEN)
        self.proven_bits = array("perhaps_proven", np.dtype((np.uint64, (1 << layout.PROVEN_BITS) // 64)), 1)
        self.links = table("links", np.dtype(np.uint32), layout.LINK, 1024)
        self.sources = table("sources", layout.SOURCE, layout.SIGHTING, layout.SOURCES)
        self.slot_of_port = SharedArray(descriptors["slots"], layout.PORTS, np.uint8).values
        self.wakes = Wakes(descriptors["wakes"])
