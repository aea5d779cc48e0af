"""Telling a CrowdSec local API: a bounded queue beside the tick, and a thread that empties it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from synguard.addresses import Network
from synguard.clock import Clock
from synguard.errors import FleetError, LedgerError
from synguard.fleet.follower import FIRST_RETRY_S, LAST_RETRY_S
from synguard.fleet.outgoing import CONNECTION_FLOOD, ban_alert, incident_alert, shareable, withdrawn_value
from synguard.fleet.peer import PeerRecord
from synguard.ledger import Ledger
from synguard.model import Ban, Incident, Origin

WAITING: Final = 1_000
"""Bans and incidents that wait to be sent; of more, the oldest are dropped and counted."""
AT_ONCE: Final = 100
"""Alerts in one request."""
LOOK_EVERY_S: Final = 1.0
"""How often the queue, and the ledger for bans that a person ended, are looked at."""
REMEMBERED_S: Final = 86_400.0
"""How far back bans that a person ended are looked for when the agent starts."""


class Sink(Protocol):
    """What is needed of ``lapi.AlertSink``."""

    def send(self, alerts: Sequence[Mapping[str, object]]) -> None:
        """Send alerts."""

    def withdraw(self, value: str, scenario: str) -> int:
        """Delete our decisions about a value; return how many there were."""

    def close(self) -> None:
        """Close the connection."""


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


class AlertReporter(threading.Thread):
    """Sends what is in the outbox, and withdraws the decisions of bans that a person has ended."""

    def __init__(
        self,
        sink: Sink,
        outbox: Outbox,
        open_ledger: Callable[[], Ledger],
        clock: Clock,
        record: PeerRecord,
        host: str,
    ) -> None:
        super().__init__(name="crowdsec-alerts", daemon=True)
        self._sink = sink
        self._outbox = outbox
        self._open_ledger = open_ledger
        self._clock = clock
        self._record = record
        self._host = host
        self._ended = threading.Event()
        self._sent = self._withdrawn = 0
        self._looked_at = clock.utcnow() - timedelta(seconds=REMEMBERED_S)

    def run(self) -> None:
        """Send until stopped; what fails is retried, ever more patiently."""
        retrying = Retrying(
            retry=retry_if_exception_type((FleetError, LedgerError)),
            wait=wait_exponential_jitter(initial=FIRST_RETRY_S, max=LAST_RETRY_S),
            stop=lambda _: self._ended.is_set(),
            sleep=self._sleep,
            before_sleep=self._note_failure,
            reraise=True,
        )
        try:
            with self._open_ledger() as ledger:
                while not self._ended.is_set():
                    retrying(self.work, ledger)
                    self._ended.wait(LOOK_EVERY_S)
        except (FleetError, LedgerError) as error:
            self._record.failed(self._clock.utcnow(), str(error))
        finally:
            self._sink.close()

    def stop(self, patience_s: float = 2.0) -> None:
        """End sending; decisions that were made last until their end."""
        self._ended.set()
        self.join(patience_s)

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
        if ledger.changed() or self._record.state.reachable is None:
            self._withdraw(ledger)

    def _alert(self, item: Ban | Incident, now: datetime) -> dict[str, object] | None:
        return ban_alert(item, now) if isinstance(item, Ban) else incident_alert(item, self._host, now)

    def _withdraw(self, ledger: Ledger) -> None:
        now = self._clock.utcnow()
        targets = _unbanned(ledger, self._looked_at, now)
        for target in targets:
            self._withdrawn += self._sink.withdraw(withdrawn_value(target), CONNECTION_FLOOD)
        self._looked_at = now - timedelta(seconds=LOOK_EVERY_S)
        self._note(now, reached=bool(targets))

    def _note(self, now: datetime, *, reached: bool) -> None:
        if reached:
            counts = {"sent": self._sent, "withdrawn": self._withdrawn, "dropped": self._outbox.dropped}
            self._record.answered(now, counts)

    def _sleep(self, seconds: float) -> None:
        self._ended.wait(seconds)

    def _note_failure(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        self._record.failed(self._clock.utcnow(), str(error))


def _unbanned(ledger: Ledger, since: datetime, now: datetime) -> list[Network]:
    """Return the targets of shareable bans that were ended after ``since`` and would still stand."""
    return [record.ban.target for record in ledger.ended_early(Origin.AUTO, since, now) if shareable(record.ban)]
