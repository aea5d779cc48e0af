"""Which connections were not there at the last look."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synguard.columns import U64
from synguard.socket_table import SocketTable


class NewConnections:
    """Remembers one table's connections by a 64-bit key, to tell the next table's new ones.

    The key is mixed with secret odd numbers from ``seed``, so that a sender cannot pick ports that collide.
    """

    def __init__(self, seed: int) -> None:
        numbers = np.random.default_rng(seed).integers(1, 2**63, size=4, dtype=np.uint64)
        self._mix = numbers << np.uint64(1) | np.uint64(1)
        self._known: U64 | None = None

    def new_in(self, table: SocketTable) -> npt.NDArray[np.bool_] | None:
        """Return which rows (bool, one per row) were not in the table of the last call; None for a first table."""
        keys = self._keys(table)
        known, self._known = self._known, keys
        return None if known is None else np.isin(keys, known, invert=True)

    def unseen(self, table: SocketTable, before: U64 | None) -> npt.NDArray[np.bool_]:
        """Return which rows are in neither of two tables: the last one, and one whose ``known`` was kept."""
        keys = self._keys(table)
        seen = np.zeros(len(keys), np.bool_)
        for known in (before, self._known):
            if known is not None:
                seen |= np.isin(keys, known)
        return ~seen

    @property
    def known(self) -> U64 | None:
        """The keys of the last table."""
        return self._known

    def _keys(self, table: SocketTable) -> U64:
        ports = table.remote_port.astype(np.uint64) << np.uint64(16) | table.local_port
        keys: U64 = table.remote_high * self._mix[0]
        for word, factor in ((table.remote_low, self._mix[1]), (table.local_low, self._mix[2]), (ports, self._mix[3])):
            keys ^= keys >> np.uint64(29)
            keys = (keys ^ word) * factor
        return keys
