"""Who would have been turned away: clients that complete a handshake while a dry-run ban stands against them.

Only dry-run can see this. Clients that were served before the ban would have kept a way through and are not
counted, unless the ban stops everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv6Network
from typing import Final, TypeAlias

from synguard.addresses import EMBEDDING, format_network, host_at, one_party
from synguard.agent.tick import Tick
from synguard.detector.columns import halves
from synguard.errors import LedgerError
from synguard.ledger import OVERLOOKED, FalsePositives, Ledger
from synguard.model import Action, Ban, Scope

MOST_BANS: Final = 1024
"""Dry-run bans watched at once; with more, the oldest are no longer watched."""
RECENT_CLIENTS: Final = 65_536
"""Clients remembered, the latest; one who is forgotten and comes again counts as new."""
MOST_COUNTED: Final = 256
"""Clients told apart for one ban; more are not counted."""
EXAMPLES: Final = 8
"""Clients that are named for one ban."""
MOST_READ: Final = 65_536
"""Clients looked at in one tick; with more there is no looking, and who is served anyway is learnt anew after that."""
LEARN_S: Final = 30.0
"""An agent that has just started learns first who is served anyway, and counts no one."""
WRITE_EVERY_S: Final = 5.0
SAY_AGAIN_S: Final = 600.0
"""That there are too many clients to look at is written down once in so long."""

_Halves: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class _Watched:
    """One dry-run ban and the clients that came through it."""

    ban: Ban
    clients: set[_Halves] = field(default_factory=set)
    last_at: datetime | None = None
    written: int = 0

    @property
    def offenders(self) -> int:
        """How many of the clients are those the ban is for: a ban on connections meets its own targets too."""
        return max((one.sources for one in self.ban.evidence), default=1) if self.ban.scope is Scope.ALL else 0

    def reported(self) -> FalsePositives | None:
        """Return what is known of it; None while no one was touched."""
        clients = len(self.clients) - self.offenders
        if clients <= 0 or self.last_at is None:
            return None
        named = sorted(self.clients)[:EXAMPLES] if not self.offenders else []
        words = tuple(format_network(host_at(*one)) for one in named)
        return FalsePositives(self.ban.id, clients, words, self.last_at)


class FalsePositiveWatch:
    """Looks on at every tick of dry-run, and tells the ledger whom each dry-run ban would have turned away."""

    def __init__(
        self,
        ledger: Ledger,
        lifetime_s: float,
        dry_run: Callable[[], bool],
        embedding: Callable[[], Iterable[IPv6Network]] = lambda: EMBEDDING,
    ) -> None:
        self._ledger = ledger
        self._dry_run = dry_run
        self._embedding = embedding
        self._lifetime_s = lifetime_s
        self._known: dict[_Halves, float] = {}
        self._watched: dict[str, _Watched] = {}
        self._by_length: dict[tuple[int, Scope], dict[int, list[_Watched]]] = {}
        self._learnt_at: float | None = None
        self._write_at = self._say_at = float("-inf")

    def observe(self, tick: Tick, now: float, utc: datetime) -> None:
        """Take in one tick; neither waits nor raises."""
        completed = tick.assessment.completed
        if not self._dry_run():
            self._learnt_at = None
            return
        if completed is not None and len(completed[0]) > MOST_READ:
            self._overlook(now, utc)
            return
        if self._learnt_at is None:
            self._learnt_at = now + LEARN_S
        if completed is not None:
            self._meet(zip(completed[0].tolist(), completed[1].tolist(), strict=True), now, utc)
        fresh = [ban for ban in tick.decision.bans if ban.dry_run and _may_touch(ban, self._embedding())]
        if fresh or now >= self._write_at:
            self._write_at = now + WRITE_EVERY_S
            self._write()
            self._watch(fresh, utc)

    def close(self) -> None:
        """Write what is left."""
        self._write()

    def _watch(self, fresh: Sequence[Ban], utc: datetime) -> None:
        expired = [id_ for id_, one in self._watched.items() if not one.ban.active(utc)]
        if not fresh and not expired:
            return
        for id_ in expired:
            del self._watched[id_]
        self._watched |= {ban.id: _Watched(ban) for ban in fresh}
        for id_ in list(self._watched)[: max(len(self._watched) - MOST_BANS, 0)]:
            del self._watched[id_]
        self._by_length = {}
        for one in self._watched.values():
            target = one.ban.target
            bits = target.max_prefixlen - target.prefixlen
            starts = self._by_length.setdefault((bits, one.ban.scope), {})
            starts.setdefault(_joined(halves(target)) >> bits, []).append(one)

    def _meet(self, completed: Iterable[_Halves], now: float, utc: datetime) -> None:
        known = self._known
        counting = self._learnt_at is not None and now >= self._learnt_at
        stale = now - self._lifetime_s
        for client in completed:
            new = known.get(client, float("-inf")) < stale
            known[client] = now
            if counting and self._by_length:
                self._count(client, new, utc)
        if len(known) > RECENT_CLIENTS:
            latest = sorted(known.items(), key=lambda pair: -pair[1])[: RECENT_CLIENTS * 3 // 4]
            self._known = dict(latest)

    def _overlook(self, now: float, utc: datetime) -> None:
        self._learnt_at = None
        if now < self._say_at or not self._watched:
            return
        self._say_at = now + SAY_AGAIN_S
        text = f"more than {MOST_READ} clients at once: those that dry-run bans would have refused are not counted"
        try:
            self._ledger.record_action(utc, OVERLOOKED, text, wait=False)
        except LedgerError:
            self._say_at = now

    def _count(self, client: _Halves, new: bool, utc: datetime) -> None:
        address = _joined(client)
        for (bits, scope), starts in self._by_length.items():
            if not new and scope is Scope.NEW:
                continue
            for one in starts.get(address >> bits, ()):
                if len(one.clients) < MOST_COUNTED + one.offenders and one.ban.active(utc):
                    one.clients.add(client)
                    one.last_at = utc

    def _write(self) -> None:
        reported = [
            (one, touched)
            for one in self._watched.values()
            if len(one.clients) != one.written and (touched := one.reported()) is not None
        ]
        if not reported:
            return
        try:
            self._ledger.record_false_positives([touched for _, touched in reported])
        except LedgerError:  # the journal tells of a ledger that fails; this is tried again
            return
        for one, _ in reported:
            one.written = len(one.clients)


def _may_touch(ban: Ban, embedding: Iterable[IPv6Network]) -> bool:
    """Return whether the ban may refuse others than its target; a challenge refuses no one, and neither does the drop
    of a header that no served client sends.

    A source that is banned for its connections is refused itself, and no one else.
    """
    harmless = ban.action is Action.CHALLENGE or ban.header is not None
    return not harmless and (ban.scope is Scope.NEW or not one_party(ban.target, embedding))


def _joined(pair: _Halves) -> int:
    return pair[0] << 64 | pair[1]
