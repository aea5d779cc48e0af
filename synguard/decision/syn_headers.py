"""The headers of SYNs, compared exactly: which one a target's SYNs bear, and which ones served clients send."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from synguard.addresses import Network
from synguard.columns import U8, U16, U32, U64, ColumnTable
from synguard.decision.proven import ProvenPeers
from synguard.detector.ban_filter import by_key, within
from synguard.detector.columns import halves, is_ipv4
from synguard.readings import SynSample
from synguard.syn_header import SynHeader

LOOKS: Final = 20
"""Looks at the SYNs of calm times that it takes to know what served clients send: ten minutes of them."""
CLIENTS: Final = 64
"""SYNs of served clients that those looks must have seen: a host that few clients visit drops no header."""
LATELY: Final = 2_880
"""Looks after which a header that no served client sent again is forgotten: a day of calm, however long attacks are."""
MOST_HEADERS: Final = 4_096
"""Headers remembered. Where served clients send more, not all are known, and none is dropped."""
MOST_LOOKED: Final = 4_096
"""Sources of one look."""
SETTLED_S: Final = 6.0
"""After so long whoever completed a handshake in a look is known to have; ended connections are read every 5 s."""
HEED_EVERY_S: Final = 1.0
"""Between two looks in an attack: as long as SYNs are kept, so that none is looked at twice."""
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


class HeaderKey(NamedTuple):
    """What two equal headers have in common; the TTL tells where a sender is, not what it is."""

    version: int
    options: int
    window: int
    mss: int
    length: int


def key_of(header: SynHeader, version: int) -> HeaderKey:
    """Return what a header of one IP version is compared by."""
    return HeaderKey(version, header.options, header.window, header.mss, header.length)


@dataclass(frozen=True, slots=True)
class Sightings(ColumnTable):
    """SYNs with their whole headers, a row for each source and port, in columns of equal length."""

    high: U64
    low: U64
    port: U16
    ttl: U8
    window: U16
    options: U32
    mss: U16
    length: U16
    syns: npt.NDArray[np.int64]
    """How many SYNs each row is."""

    @classmethod
    def of(cls, samples: Iterable[SynSample]) -> Sightings | None:
        """Return the rows of those samples that were counted with their whole headers; None where none was."""
        parts = [
            (s.source_high, s.source_low, s.local_port, s.ttl, s.tcp_window, s.options, *s.rest, s.count)
            for s in samples
            if s.rest is not None
        ]
        return cls(*map(np.concatenate, zip(*parts, strict=True))) if parts else None

    def of_target(self, target: Network, ports: Collection[int]) -> Sightings:
        """Return the rows of a network's SYNs to these ports; none stands for all of them."""
        high, low = np.array([halves(target)], np.uint64).T
        rows = within(self.high, self.low, by_key(high, low), target.version, target.prefixlen)
        return self.where(rows & np.isin(self.port, list(ports)) if ports else rows)

    def bear(self, key: HeaderKey) -> npt.NDArray[np.bool_]:
        """Return which rows (bool, one per row) bear this header."""
        rows = (self.options == key.options) & (self.window == key.window)
        rows &= (self.mss == key.mss) & (self.length == key.length)
        return np.asarray(rows & (is_ipv4(self.high, self.low) == (key.version == 4)), np.bool_)

    def commonest(self) -> HeaderKey | None:
        """Return the header that most of the SYNs bear; None where there are none."""
        if not len(self):
            return None
        first, group = self._distinct()
        return self._key(int(first[np.bincount(group, self.syns).argmax()]))

    def headers(self) -> set[HeaderKey]:
        """Return all headers."""
        return {self._key(row) for row in self._distinct()[0].tolist()}

    def _distinct(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return one row of each header, and for each row which of those it is like."""
        mixed = self.options.astype(np.uint64) << np.uint64(32) | self.window.astype(np.uint64) << np.uint64(16)
        mixed = (mixed | self.mss) * _MIX + self.length.astype(np.uint64) * np.uint64(2) + is_ipv4(self.high, self.low)
        _, first, group = np.unique(mixed, return_index=True, return_inverse=True)
        return first, group

    def _key(self, row: int) -> HeaderKey:
        version = 4 if is_ipv4(self.high[row : row + 1], self.low[row : row + 1])[0] else 6
        columns = (self.options, self.window, self.mss, self.length)
        return HeaderKey(version, *(int(column[row]) for column in columns))


class ServedHeaders:
    """Remembers which headers served clients send: from looks in calm times, and from what they send meanwhile."""

    def __init__(self) -> None:
        self._look = 0
        self._clients = 0
        self._waiting: list[tuple[float, Sightings]] = []
        self._last: OrderedDict[HeaderKey, int] = OrderedDict()
        """Header → the look at which it was last seen, the longest unseen first."""
        self._forgotten_at = -LATELY - 1
        self.heeded_at = float("-inf")
        self._once: dict[tuple[int, int, HeaderKey], float] = {}

    def __contains__(self, key: HeaderKey) -> bool:
        return key in self._last

    def look(self, sample: SynSample, now: float) -> None:
        """Take in the SYNs of a second of calm; who of their senders is served shows a little later."""
        sightings = Sightings.of((sample,))
        self._look += 1
        if sightings is not None:
            self._waiting.append((now, sightings.where(slice(MOST_LOOKED))))

    def settle(self, proven: ProvenPeers, now: float) -> None:
        """Learn from the looks whose served clients are known by now."""
        while self._waiting and now - self._waiting[0][0] >= SETTLED_S:
            _, sightings = self._waiting.pop(0)
            served = sightings.where(proven.among(sightings.high, sightings.low))
            self._clients += len(served)
            for key in served.headers():
                self._note(key)
        while self._last and self._look - next(iter(self._last.values())) > LATELY:
            self._last.popitem(last=False)

    def heed(self, sightings: Sightings, keys: Iterable[HeaderKey], proven: ProvenPeers, now: float) -> None:
        """Learn which of these headers a served client sends in an attack, where it does so again a second later.

        One SYN says nothing: of addresses drawn at random, now and then one is a served client's.
        """
        self.heeded_at = now
        for key in keys:
            rows = sightings.where(sightings.bear(key))
            rows = rows.where(proven.among(rows.high, rows.low))
            for high, low in zip(rows.high.tolist(), rows.low.tolist(), strict=True):
                first = self._once.setdefault((high, low, key), now)
                if now - first >= HEED_EVERY_S:
                    self._note(key)
        if len(self._once) > MOST_HEADERS:
            self._once.clear()

    def why_unknown(self) -> str:
        """Return why no header can be said to be one that no served client sends, one clause; empty where it can."""
        if self._look < LOOKS:
            return f"which headers served clients send is known from {self._look} of {LOOKS} looks"
        if self._clients < CLIENTS:
            return f"which headers served clients send is known from {self._clients} of {CLIENTS} of their SYNs"
        if self._look - self._forgotten_at <= LATELY:
            return "served clients send more headers than are remembered"
        return ""

    def _note(self, key: HeaderKey) -> None:
        self._last[key] = self._look
        self._last.move_to_end(key)
        if len(self._last) > MOST_HEADERS:
            self._last.popitem(last=False)
            self._forgotten_at = self._look
