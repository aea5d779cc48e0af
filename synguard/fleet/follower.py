"""Following a CrowdSec local API: its decisions become bans in the ledger, which the agent brings to the kernel."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from synguard.addresses import Network
from synguard.clock import Clock
from synguard.fleet.decisions import parse_stream
from synguard.fleet.known import KnownDecisions
from synguard.fleet.outgoing import shareable
from synguard.fleet.peer import PeerRecord
from synguard.fleet.plan import Plan, plan
from synguard.ledger import Ledger
from synguard.model import Ban, Origin

COMPLETE_EVERY_S: Final = 600.0
"""Time between complete looks. In between CrowdSec tells changes, but not this one: when the longer of two decisions
about an address is deleted, nothing is said although the shorter one stands (1.4.6)."""
AT_ONCE: Final = 1_000
"""Bans written in one transaction: the agent waits for a writer no longer than that takes."""
BREATH_S: Final = 0.005
"""Pause between two such transactions: who waits for the ledger looks only now and then whether it is free."""
ENDED: Final = "the decision ended"
"""How the ledger says that a ban of this origin ended with its decision."""


_EVER: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Stream(Protocol):
    """What is needed of ``lapi.DecisionSource``."""

    def stream(self, *, complete: bool) -> bytes:
        """Return one answer of the decision stream."""

    def addresses(self) -> Collection[Network]:
        """Return where the local API is; none where that is not known."""


@dataclass(frozen=True, slots=True)
class HostView:
    """What the agent knows that decisions are followed by."""

    dry_run: bool
    protected: Collection[Network]
    suspended: bool = False
    """It is not known who must be protected: nothing is added until it is."""


class DecisionFollower:
    """Polls a local API and keeps the ledger's bans of origin ``crowdsec`` as its decisions say."""

    def __init__(
        self,
        source: Stream,
        view: Callable[[], HostView],
        clock: Clock,
        record: PeerRecord,
        *,
        kinds: frozenset[str],
        at_most: int,
        poll_s: float,
    ) -> None:
        self._source = source
        self._view = view
        self._clock = clock
        self._record = record
        self._poll_s = poll_s
        self._known = KnownDecisions(kinds, at_most)
        self._complete_at = float("-inf")
        self._mode: bool | None = None
        self._done: tuple[HostView, Collection[Network]] | None = None
        """What the bans were last brought to the decisions by; None while that must be done again."""
        self._spared = 0
        self._here: Collection[Network] = ()
        """Where the local API is: a decision that banned it would be the last that this host hears of."""

    def poll(self, ledger: Ledger) -> Plan:
        """Ask once, and bring the ledger to what is decided; return what was changed.

        Raises:
            FleetError: The local API is away or answers nonsense.
            LedgerError: The ledger takes nothing.
        """
        now, view = self._clock.utcnow(), self._view()
        self._here = self._source.addresses() or self._here  # a name that is not found now is where it was
        complete = self._clock.monotonic() >= self._complete_at or self._mode is not view.dry_run
        due, self._complete_at = self._complete_at, float("-inf")  # after a failure only a complete look is sure
        answer = parse_stream(self._source.stream(complete=complete), now)
        self._known.take(answer, complete=complete)
        self._complete_at = self._clock.monotonic() + COMPLETE_EVERY_S if complete else due
        self._mode = view.dry_run
        change = Plan(protected=self._spared)
        if complete or answer or not self._settled(ledger, view):
            self._done = None
            change = self._change(ledger, view, now)
            self._write(ledger, change, now)
            self._spared = change.protected
            self._done = None if view.suspended or change.local else (view, self._here)
        self._record.answered(now, self._counts(change, now), self._notes(view))
        return change

    def _settled(self, ledger: Ledger, view: HostView) -> bool:
        """Return whether the bans are as decided, and nothing that they depend on has changed since."""
        return not ledger.changed() and self._done == (view, self._here)

    def _change(self, ledger: Ledger, view: HostView, now: datetime) -> Plan:
        change = plan(
            self._known.current(now),
            ledger.active_bans(now, dry_run=view.dry_run).values(),
            protected=[*view.protected, *self._here],
            overruled=_overruled(ledger, now),
            now=now,
            gap=timedelta(seconds=2 * self._poll_s),
            dry_run=view.dry_run,
            new_id=lambda: f"c{secrets.token_hex(6)}",
        )
        return change if not view.suspended else Plan((), change.move, change.end, change.protected, change.local)

    def _write(self, ledger: Ledger, change: Plan, now: datetime) -> None:
        for start in range(0, len(change.end), AT_ONCE):
            ledger.end_bans([ban.id for ban in change.end[start : start + AT_ONCE]], now, ENDED)
        for some in _batches(change.move):
            ledger.add_bans((), some)
        for some in _batches(change.add):
            ledger.add_bans(some)
            self._clock.wait(BREATH_S)

    def _counts(self, change: Plan, now: datetime) -> dict[str, int]:
        current = len(self._known.current(now))
        return {
            "decisions": current,
            "followed": current - change.protected - change.local,
            "protected": change.protected,
            "local": change.local,
            "left_out": self._known.left_out,
        }

    def _notes(self, view: HostView) -> tuple[str, ...]:
        notes = [f"decisions left out: {reason}" for reason in sorted(self._known.ignored)[:5]]
        if self._known.left_out:
            notes.append("more decisions than crowdsec.at_most: those that end first are left out")
        if view.suspended:
            notes.append("no decision is added while it is not known who must be protected")
        return tuple(notes)


def _overruled(ledger: Ledger, now: datetime) -> frozenset[Network]:
    """Return the targets whose ban a person ended although the decision lasts: she knows better.

    Also a ban of this host's own: its decision may come back before it is withdrawn.
    """
    followed = ledger.ended_early(Origin.CROWDSEC, _EVER, now)
    own = ledger.ended_early(Origin.AUTO, _EVER, now)
    return frozenset(
        [record.ban.target for record in followed if record.ended_why != ENDED]
        + [record.ban.target for record in own if shareable(record.ban)]
    )


def _batches(bans: tuple[Ban, ...]) -> list[tuple[Ban, ...]]:
    return [bans[start : start + AT_ONCE] for start in range(0, len(bans), AT_ONCE)]
