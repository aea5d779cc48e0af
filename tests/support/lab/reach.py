"""How much of an attack reaches TCP, and since when hardly any: from counters polled every few milliseconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

WINDOW_S = 0.1
RELIEVED = 0.1
"""Relief: less than this share of the attack's packets reaches TCP."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Counters over time, arrays of equal length in time order."""

    at: F64
    """``CLOCK_MONOTONIC`` of each sample."""
    offered: F64
    """Attack packets that came in from the attackers' site, ever."""
    reached: F64
    """Of them, those that TCP was handed, ever: behind every hook of the firewall."""

    @classmethod
    def from_lines(cls, lines: Iterable[dict[str, Any]]) -> Reach:
        """Return the samples among the JSON lines of the meter program.

        TCP counts the clients' segments too; those that the router took in from the clients' site are taken off.
        """
        rows = [
            (line["at"], line["attack"], line["segments"] - line["clients"]) for line in lines if "segments" in line
        ]
        table = np.array(rows, np.float64).reshape(len(rows), 3)
        return cls(table[:, 0], table[:, 1], table[:, 2])

    def relief_s(self, first_at: float, window_s: float = WINDOW_S, share: float = RELIEVED) -> float | None:
        """Return the seconds from ``first_at`` to the first moment that begins a relieved window, or None.

        The window lies ahead of the moment, so its length does not delay the answer: with samples every 10 ms the
        error is about as much. A window in which the attack itself pauses or ends proves nothing and never counts.
        """
        ends = np.searchsorted(self.at, self.at + window_s)
        for start in np.flatnonzero(self.at >= first_at):
            end = ends[start]
            if end >= len(self.at):
                return None
            offered = self.offered[end] - self.offered[start]
            usual = self._offered_pps(first_at, float(self.at[start])) * window_s
            if offered > usual / 2 and self.reached[end] - self.reached[start] < share * offered:
                return float(self.at[start] - first_at)
        return None

    def share(self, start: float, end: float) -> float:
        """Return the share of the attack that reached TCP between two moments; NaN where no packet was offered."""
        offered = self._change(self.offered, start, end)
        return max(self._change(self.reached, start, end), 0.0) / offered if offered > 0 else float("nan")

    def offered_pps(self, start: float, end: float) -> float:
        """Return attack packets a second that came in between two moments."""
        return self._change(self.offered, start, end) / (end - start)

    def reached_pps(self, start: float, end: float) -> float:
        """Return attack packets a second that TCP was handed between two moments."""
        return max(self._change(self.reached, start, end), 0.0) / (end - start)

    def _offered_pps(self, start: float, end: float) -> float:
        return self.offered_pps(start, end) if end - start > WINDOW_S else 0.0

    def _change(self, counter: F64, start: float, end: float) -> float:
        return float(np.interp(end, self.at, counter) - np.interp(start, self.at, counter))
