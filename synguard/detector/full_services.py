"""Services that stall or are full while few sources hold most of their connections: who holds too much of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from synguard.detector.assessment import ListenerPressure, Observation
from synguard.detector.counting import AddressRows, observe
from synguard.detector.lowered_limits import StalledPorts, held_by_few, stalled_limits
from synguard.detector.turned_away import TurnedAway
from synguard.model import Signal
from synguard.policy.models import Policy
from synguard.socket_table import SocketTable

MANY: Final = 128
"""Connections of a port from which on it is asked whether few hold them …"""
ASKED: Final = 1_024
"""… and of how many: a sample tells, and a host with a hundred thousand pays no more for the answer."""


class FullServices:
    """Remembers which ports stall, which turn others away, and of which few sources hold most of the connections."""

    def __init__(self) -> None:
        self._stalled, self._turned_away = StalledPorts(), TurnedAway()
        self._stalling: frozenset[int] = frozenset()
        self._blamed: dict[str, frozenset[int]] = {}
        self._few: dict[str, frozenset[int]] = {}
        """Of each policy's last rows."""

    @property
    def crowded(self) -> frozenset[int]:
        """The ports that do not serve others while few sources hold most of their connections."""
        return frozenset[int]().union(*self._blamed.values()) & (self._stalling | self._turned_away.ports)

    @property
    def held_by_few(self) -> bool:
        """Whether few sources hold most of the many connections of some port."""
        return any(self._few.values())

    def follow_pressure(self, pressure: Iterable[ListenerPressure], now: float) -> None:
        """Take in the accept queues of one tick."""
        self._stalling = self._stalled.follow(pressure, now)

    def follow_ended(self, short: SocketTable | None, at: float) -> None:
        """Take in the short connections that ended since the last look at the socket table."""
        self._turned_away.follow(short, at)

    def observe(self, rows: AddressRows, policy: Policy) -> list[Observation]:
        """Return who holds too much of such ports, of a policy's open connections."""
        found: list[Observation] = []
        full = self._turned_away.ports
        few, blamed = set[int](), set[int]()
        ports, counts = np.unique(rows.port, return_counts=True)
        for port, count in zip(ports.tolist(), counts.tolist(), strict=True):
            if count < MANY and port not in self._stalling and port not in full:
                continue
            mine = rows.where(rows.port == port)
            if count >= MANY and held_by_few(mine.where(np.arange(count) % -(-count // ASKED) == 0), policy):
                few.add(port)
            lowered = self._lowered(port, mine, policy, turns_away=port in full)
            if lowered is not None:
                blamed.add(port)
                found += observe(mine, lowered, Signal.CONNECTIONS, pressed=False)
        self._few[policy.name], self._blamed[policy.name] = frozenset(few), frozenset(blamed)
        return found

    def _lowered(self, port: int, mine: AddressRows, policy: Policy, *, turns_away: bool) -> Policy | None:
        lowered = stalled_limits(mine, policy) if port in self._stalling else None
        if lowered is not None or not turns_away:
            return lowered
        others = self._turned_away.from_port(port, mine, policy.prefixes.embedding)
        return None if others is None else stalled_limits(mine.with_others(others), policy)
