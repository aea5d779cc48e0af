"""A thread that works for one peer until it is stopped: what fails is retried, and reported as the peer's state."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential, wait_random

from synguard.clock import Clock
from synguard.errors import FleetError, LedgerError
from synguard.fleet.peer import PeerRecord
from synguard.ledger import Ledger
from synguard.logs import event

log: Final = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 60.0
EARLIEST: Final = 0.9
"""Share of the time between two pieces of work after which the next may begin: hosts started together drift apart."""


class PeerWorker:
    """Calls ``work`` with a ledger of its own, every ``every_s`` seconds; errors wait ever longer, up to a minute.

    ``work`` raises `FleetError` or `LedgerError` where it is to be tried again. Any other error is a fault in
    synguard: it is logged, shown as the peer's state, and the work goes on with a new ledger connection.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Ledger], object],
        close: Callable[[], None],
        open_ledger: Callable[[], Ledger],
        clock: Clock,
        record: PeerRecord,
        every_s: float,
    ) -> None:
        self._work = work
        self._close = close
        self._open_ledger = open_ledger
        self._clock = clock
        self._record = record
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own, unless it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self, patience_s: float = 2.0) -> None:
        """End after the present piece of work, for which it is waited no longer than this."""
        self._ended.set()
        if self._thread.ident is None:
            self._close()
        else:
            self._thread.join(patience_s)

    def _run(self) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type((FleetError, LedgerError)),
            wait=wait_exponential(multiplier=FIRST_RETRY_S, max=LAST_RETRY_S) + wait_random(0.0, FIRST_RETRY_S),
            stop=lambda _: self._ended.is_set(),
            sleep=self._sleep,
            before_sleep=self._note_failure,
            reraise=True,
        )
        while not self._ended.is_set():
            try:
                with retrying(self._open_ledger) as ledger:
                    while not self._ended.is_set():
                        retrying(self._work, ledger)
                        self._ended.wait(self._every_s * random.uniform(EARLIEST, 1.0))  # noqa: S311  # no secret
            except (FleetError, LedgerError) as error:
                self._record.failed(self._clock.utcnow(), str(error))
            except Exception as error:  # a fault beside the tick must neither end in silence nor reach the tick
                text = f"{type(error).__name__} in synguard itself; please report it"
                log.exception("%s: %s", self._record.state.name, text, extra=event("fleet"))
                self._record.failed(self._clock.utcnow(), text)
                self._ended.wait(LAST_RETRY_S)
        self._close()

    def _sleep(self, seconds: float) -> None:
        self._ended.wait(seconds)

    def _note_failure(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        self._record.failed(self._clock.utcnow(), str(error))
