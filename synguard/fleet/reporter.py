"""Telling a CrowdSec local API: a bounded queue beside the tick, and a thread that empties it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from synguard.addresses import Network, format_network
from synguard.clock import Clock
from synguard.errors import FleetError
from synguard.fleet.outgoing import CONNECTION_FLOOD, ban_alert, incident_alert, shareable
from synguard.fleet.peer import PeerRecord
from synguard.incidents import Incident
from synguard.ledger import Ledger
from synguard.model import Ban, Origin

if TYPE_CHECKING:
    from synguard.fleet.lapi import AlertSink

WAITING: Final = 1_000
"""Bans and incidents that wait to be sent; of more, the oldest are dropped and counted."""
AT_ONCE: Final = 100
"""Alerts in one request."""
LOOK_EVERY_S: Final = 0.25
"""How often the queue, and the ledger for bans that a person ended, are looked at."""
REMEMBERED_S: Final = 86_400.0
"""How far back bans that a person ended are looked for when the agent starts."""


@dataclass(slots=True)
class Outbox:
    """What waits to be sent; filled by the tick, emptied by the reporter's thread."""

    waiting: deque[Ban | Incident] = field(default_factory=lambda: deque(maxlen=WAITING))
    dropped: int = 0

    def put(self, items: Iterable[Ban | Incident]) -> None:
        """Add bans that are shareable, and incidents that have ended; never waits."""
        for item in items:
            if isinstance(item, Incident) or shareable(item):
                self.dropped += len(self.waiting) == WAITING
                self.waiting.append(item)

    def take(self, at_most: int) -> list[Ban | Incident]:
        """Take the oldest out."""
        return [self.waiting.popleft() for _ in range(min(at_most, len(self.waiting)))]

    def put_back(self, items: Sequence[Ban | Incident]) -> None:
        """Put what could not be sent back in front, as far as there is room."""
        room = WAITING - len(self.waiting)
        self.dropped += max(len(items) - room, 0)
        self.waiting.extendleft(reversed(items[len(items) - min(room, len(items)) :]))


class AlertReporter:
    """Sends what is in the outbox, and withdraws the decisions of bans that a person has ended."""

    def __init__(
        self,
        sink: AlertSink,
        outbox: Outbox,
        clock: Clock,
        record: PeerRecord,
        host: str,
    ) -> None:
        self._sink = sink
        self._outbox = outbox
        self._clock = clock
        self._record = record
        self._host = host
        self._sent = self._withdrawn = 0
        self._looked_at = clock.utcnow() - timedelta(seconds=REMEMBERED_S)
        self._look_due = True
        """Whether bans that a person ended may not have been withdrawn yet; stays so until that succeeds."""

    def work(self, ledger: Ledger) -> None:
        """Send what waits, and withdraw what a person has ended since the last look.

        Raises:
            FleetError: The local API is away or refuses; what waits is kept.
            LedgerError: The ledger cannot be read.
        """
        while items := self._outbox.take(AT_ONCE):
            now = self._clock.utcnow()
            alerts = [alert for item in items if (alert := self._alert(item, now)) is not None]
            try:
                if alerts:
                    self._sink.send(alerts)
            except FleetError:
                self._outbox.put_back(items)
                raise
            self._sent += len(alerts)
            self._note(now, reached=bool(alerts))
        self._look_due |= ledger.changed()
        if self._look_due:
            self._withdraw(ledger)

    def _alert(self, item: Ban | Incident, now: datetime) -> dict[str, object] | None:
        return ban_alert(item, now) if isinstance(item, Ban) else incident_alert(item, self._host, now)

    def _withdraw(self, ledger: Ledger) -> None:
        now = self._clock.utcnow()
        targets = _unbanned(ledger, self._looked_at, now)
        for target in targets:
            self._withdrawn += self._sink.withdraw(format_network(target), CONNECTION_FLOOD)
        self._looked_at = now - timedelta(seconds=LOOK_EVERY_S)
        self._look_due = False
        self._note(now, reached=bool(targets))

    def _note(self, now: datetime, *, reached: bool) -> None:
        if reached:
            counts = {"sent": self._sent, "withdrawn": self._withdrawn, "dropped": self._outbox.dropped}
            self._record.answered(now, counts)


def _unbanned(ledger: Ledger, since: datetime, now: datetime) -> list[Network]:
    """Return the targets of shareable bans that were ended after ``since`` and would still stand.

    A target that is banned again is not among them: its decision is of the new ban.
    """
    ended = [record.ban.target for record in ledger.ended_early(Origin.AUTO, since, now) if shareable(record.ban)]
    again = {ban.target for ban in ledger.active_bans(now).values() if shareable(ban)} if ended else set()
    return [target for target in dict.fromkeys(ended) if target not in again]
