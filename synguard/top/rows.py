"""A look as rows: listeners and targets, and how rows of any kind are sorted and filtered.

Rows make their text when asked for it: of 20,000 bans a screen shows a dozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final, Protocol, TypeAlias

from synguard.addresses import Network, parse_network
from synguard.model import VerdictKind
from synguard.status.model import ListenerStatus, TargetStatus
from synguard.top.text import bar

Order: TypeAlias = tuple[str, bool]
"""What to sort by, and whether the other way round."""


class Pane(StrEnum):
    """One of the three tables."""

    LISTENERS = "listeners"
    TARGETS = "targets"
    BANS = "bans"


ORDERS: Final[Mapping[Pane, tuple[str, ...]]] = {
    Pane.LISTENERS: ("fill", "half-open", "accept", "port"),
    Pane.TARGETS: ("score", "target", "policy"),
    Pane.BANS: ("left", "packets", "rate", "target", "begun"),
}
"""What each table can be sorted by, the usual order first."""


class Grade(IntEnum):
    """How grave a row is."""

    USUAL = 0
    GOOD = 1
    WATCH = 2
    BAD = 3


class Row(Protocol):
    """One row: its text, and what the keyboard may do with it."""

    @property
    def key(self) -> str:
        """Stays the same for the same thing from look to look."""

    @property
    def grade(self) -> Grade:
        """How grave it is."""

    @property
    def target(self) -> str:
        """Address or prefix; empty where it has none."""

    @property
    def ban_id(self) -> str:
        """The ban that it is, or that holds it; empty where there is none."""

    @property
    def forgeable(self) -> bool:
        """Whether all that speaks against the target can be forged."""

    def cells(self) -> tuple[str, ...]:
        """Return its cells, one a column."""

    def detail(self) -> tuple[str, ...]:
        """Return all that is known of it, a sentence a line."""

    def sort(self, by: str) -> Any:
        """Return what to sort by, larger first."""


def arranged(rows: Iterable[Row], order: Order, needle: str) -> list[Row]:
    """Return the rows that hold the text, in any case of letters, the first by this order first."""
    by, other_way = order
    kept = [row for row in rows if _holds(row, needle.lower())]
    kept.sort(key=lambda row: row.key)
    return sorted(kept, key=lambda row: row.sort(by), reverse=not other_way)


def _holds(row: Row, needle: str) -> bool:
    return not needle or any(needle in text.lower() for text in (*row.cells(), *row.detail()))


def network_rank(network: Network) -> tuple[int, int, int]:
    """Return what sorts networks by address where larger is first."""
    return -network.version, -int(network.network_address), -network.prefixlen


@dataclass(frozen=True, slots=True)
class ListenerRow:
    """What listens, and how full its two queues are."""

    one: ListenerStatus
    target: str = ""
    ban_id: str = ""
    forgeable: bool = False

    @property
    def key(self) -> str:
        """Port, family and namespace."""
        return f"{self.one.port} {self.one.family} {self.one.namespace}"

    @property
    def waiting(self) -> float:
        """Connections that wait for the application, over the most that may; 0 to about 1."""
        return self.one.accept_queue / self.one.backlog if self.one.backlog else 0.0

    @property
    def grade(self) -> Grade:
        """Bad where the SYN queue is full, to be watched where one of the two is half full."""
        if self.one.censored:
            return Grade.BAD
        return Grade.WATCH if max(self.one.fill, self.waiting) >= 0.5 else Grade.USUAL

    def cells(self) -> tuple[str, ...]:
        """Return port, process, half-open sockets of how many, fill, accept queue."""
        one = self.one
        where = " ".join(filter(None, (str(one.port), "v6" if one.family == "ipv6" else "", one.namespace)))
        half_open = f"{one.half_open}{'+' if one.censored else ''}/{one.backlog}"
        fill = f"{bar(one.fill)} {one.fill:>4.0%}{' FULL' if one.censored else ''}"
        return where, one.process or "-", half_open, fill, f"{one.accept_queue}/{one.backlog}"

    def detail(self) -> tuple[str, ...]:
        """Return it in sentences."""
        one = self.one
        full = ["the SYN queue is full: the count no longer grows with the flood, look at SYN/s"] * one.censored
        elsewhere = [f"lives in network namespace {one.namespace}"] * bool(one.namespace)
        return (
            f"port {one.port} ({one.family}): {one.process or 'process not known'}",
            f"{one.half_open} half-open sockets where {one.backlog} fit, {one.fill:.0%}",
            f"{one.accept_queue} completed connections wait for the application, {self.waiting:.0%} of what may wait",
            *full,
            *elsewhere,
        )

    def sort(self, by: str) -> Any:
        """Return what to sort by."""
        one = self.one
        fill = (max(one.fill, self.waiting), -one.port)
        return {"fill": fill, "half-open": one.half_open, "accept": one.accept_queue, "port": -one.port}[by]


_GRADES: Final = {VerdictKind.BAN: Grade.BAD, VerdictKind.WATCH: Grade.WATCH, VerdictKind.SPARE: Grade.GOOD}


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A source or prefix, and what speaks against it."""

    one: TargetStatus
    ban_id: str = ""
    scored: bool = True
    """Whether an agent scores it; without one it is a count of half-open sockets."""
    would: bool = False
    """Whether enforcing would have banned it."""

    @property
    def key(self) -> str:
        """Target and policy."""
        return f"{self.one.target} {self.one.policy}"

    @property
    def target(self) -> str:
        """The target."""
        return self.one.target

    @property
    def forgeable(self) -> bool:
        """As the agent says."""
        return self.one.forgeable

    @property
    def grade(self) -> Grade:
        """As the verdict is grave."""
        return _GRADES.get(self.one.kind, Grade.USUAL) if self.scored else Grade.USUAL

    @property
    def _because(self) -> str:
        """The reason, where the evidence does not say it already."""
        return "" if self.one.reason in self.one.evidence else self.one.reason

    def cells(self) -> tuple[str, ...]:
        """Return score, target, verdict, policy, and evidence against its limits."""
        one = self.one
        said = "; ".join(filter(None, (", ".join(one.evidence), self._because)))
        if not self.scored:
            return "-", one.target, "-", "-", said
        return f"{one.score:.0f}", one.target, "would ban" if self.would else str(one.kind), one.policy, said

    def detail(self) -> tuple[str, ...]:
        """Return it in sentences."""
        one = self.one
        verdict = f"{one.kind}, score {one.score:.0f} where 100 acts, policy {one.policy}"
        forged = "this evidence can be forged" if one.forgeable else "this evidence needed completed handshakes"
        return (
            f"{one.target}: {verdict if self.scored else 'not scored, since no agent runs'}",
            *(f"evidence: {text}" for text in one.evidence),
            *([self._because] if self._because else []),
            forged,
            f"more: synguard why {one.target}",
        )

    def sort(self, by: str) -> Any:
        """Return what to sort by."""
        if by == "score":
            return self.one.score
        rank = network_rank(parse_network(self.one.target))
        return rank if by == "target" else ([-ord(char) for char in self.one.policy], rank)
