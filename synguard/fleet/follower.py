"""Following a CrowdSec local API: its decisions become bans in the ledger, which the agent brings to the kernel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Final

from synguard.addresses import EMBEDDING, Network, format_network
from synguard.clock import Clock
from synguard.fleet.decisions import parse_stream
from synguard.fleet.known_decisions import KnownDecisions
from synguard.fleet.outgoing import shareable
from synguard.fleet.peer import PeerRecord
from synguard.fleet.plan import POLICY, Plan, plan
from synguard.ledger import Ledger
from synguard.ledger.arrivals import PIECE, ActiveRow, Arrivals
from synguard.memory import in_parts, many_objects
from synguard.model import Origin

if TYPE_CHECKING:
    from synguard.fleet.filler import PlaneFiller
    from synguard.fleet.lapi import DecisionSource

COMPLETE_EVERY_S: Final = 600.0
"""Time between complete looks. In between CrowdSec tells changes, but not this one: when the longer of two decisions
about an address is deleted, nothing is said although the shorter one stands (1.4.6)."""
LONG: Final = 1_000
"""Bans that the agent brings to the kernel in one tick by itself; a longer list goes there from here."""
BREATH_S: Final = 0.005
"""Pause between two such transactions: who waits for the ledger looks only now and then whether it is free."""
ENDED: Final = "the decision ended"
"""How the ledger says that a ban of this origin ended with its decision."""
_EVER: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class HostView:
    """What the agent knows that decisions are followed by."""

    dry_run: bool
    protected: Collection[Network]
    suspended: bool = False
    """It is not known who must be protected: nothing is added until it is."""
    embedding: tuple[IPv6Network, ...] = EMBEDDING
    """Prefixes whose addresses embed IPv4 ones, which are protected there too."""
    plane: str = ""
    """The name of the plane that holds bans here; empty where none is to be touched from here."""


class DecisionFollower:
    """Polls a local API and keeps the ledger's bans of origin ``crowdsec`` as its decisions say."""

    def __init__(
        self,
        source: DecisionSource,
        view: Callable[[], HostView],
        clock: Clock,
        record: PeerRecord,
        *,
        kinds: frozenset[str],
        at_most: int,
        poll_s: float,
        filler: PlaneFiller | None = None,
    ) -> None:
        self._source = source
        self._view = view
        self._clock = clock
        self._record = record
        self._poll_s = poll_s
        self._filler = filler
        self._known = KnownDecisions(kinds, at_most)
        self._complete_at = float("-inf")
        self._taken_as: tuple[object, ...] | None = None
        """What decides what is taken of an answer: where it differs, all must be taken anew."""
        self._done: tuple[HostView, Collection[Network]] | None = None
        """What the bans were last brought to the decisions by; None while that must be done again."""
        self._spared = 0
        self._here: Collection[Network] = ()
        """Where the local API is: a decision that banned it would be the last that this host hears of."""

    @many_objects()
    def poll(self, ledger: Ledger) -> Plan:
        """Ask once, and bring the ledger to what is decided; return what was changed.

        Raises:
            FleetError: The local API is away or answers nonsense.
            LedgerError: The ledger takes nothing.
        """
        now, view = self._clock.utcnow(), self._view()
        self._here = self._source.addresses() or self._here  # a name that is not found now is where it was
        complete = self._clock.monotonic() >= self._complete_at or self._taken_as != _as_taken(view)
        due, self._complete_at = self._complete_at, float("-inf")  # after a failure only a complete look is sure
        answer = parse_stream(self._source.stream(complete=complete), now, view.embedding)
        self._known.take(answer, complete=complete)
        self._complete_at = self._clock.monotonic() + COMPLETE_EVERY_S if complete else due
        self._taken_as = _as_taken(view)
        change = Plan(protected=self._spared)
        if complete or answer or not self._settled(ledger, view):
            self._done = None
            while ledger.settle():  # what was noted by a process that was killed
                self._clock.wait(BREATH_S)
            change = self._bring(ledger, view, now)
            self._spared = change.protected
            self._done = None if view.suspended or change.local else (view, self._here)
        self._record.answered(now, self._counts(change, now), self._notes(view))
        return change

    def _settled(self, ledger: Ledger, view: HostView) -> bool:
        """Return whether the bans are as decided, and nothing that they depend on has changed since."""
        return not ledger.changed() and self._done == (view, self._here)

    def _bring(self, ledger: Ledger, view: HostView, now: datetime) -> Plan:
        """Bring the bans to what is decided; ends come first, so that there is room."""
        active = ledger.active_rows(now, view.dry_run)
        change = plan(
            self._known.current(now.timestamp()),
            active,
            protected=[*view.protected, *self._here],
            embedding=view.embedding,
            overruled=_overruled(ledger, now),
            now=now,
            gap=timedelta(seconds=2 * self._poll_s),
        )
        if view.suspended:
            change = Plan((), change.move, change.end, change.protected, change.local)
        for ids in in_parts(change.end, PIECE):
            ledger.end_bans(ids, now, ENDED)
        for some in in_parts(list(change.move.items()), PIECE):
            ledger.move_bans(dict(some))
        bans = Arrivals(Origin.CROWDSEC, POLICY, now, change.add, view.dry_run)
        if self._filler is not None and len(change.add) > LONG and view.plane and not view.dry_run:
            self._bring_many(self._filler, ledger, bans, view.plane, active)
        else:
            for piece in bans.pieces():
                ledger.add_list(piece)
                self._clock.wait(BREATH_S)
        return change

    def _bring_many(
        self, filler: PlaneFiller, ledger: Ledger, bans: Arrivals, plane: str, active: Sequence[ActiveRow]
    ) -> None:
        """Note a long list, fill the kernel, and write the list down piece by piece.

        Whoever ends one of its bans meanwhile settles the list first; what remains is the agent's then.
        """
        ledger.note_list(bans)
        pieces = ledger.arriving()
        filler.fill(plane, bans.bans, active, lambda: ledger.arriving() == pieces)
        while ledger.settle():
            self._clock.wait(BREATH_S)

    def _counts(self, change: Plan, now: datetime) -> dict[str, int]:
        current = len(self._known.current(now.timestamp()))
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


def _as_taken(view: HostView) -> tuple[object, ...]:
    return view.dry_run, view.embedding


def _overruled(ledger: Ledger, now: datetime) -> frozenset[str]:
    """Return the targets whose ban a person ended although the decision lasts: she knows better.

    Also a ban of this host's own: its decision may come back before it is withdrawn.
    """
    followed = ledger.ended_early(Origin.CROWDSEC, _EVER, now, but=ENDED)
    own = ledger.ended_early(Origin.AUTO, _EVER, now)
    ended = [record.ban for record in followed] + [record.ban for record in own if shareable(record.ban)]
    return frozenset(format_network(ban.target) for ban in ended)
