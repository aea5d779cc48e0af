"""One service's thread: takes messages from a short queue, tries them again and again, and gives up in the end."""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from typing import Final, Protocol

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_when_event_set
from tenacity.nap import sleep_using_event
from tenacity.wait import wait_base, wait_exponential, wait_random

from synguard.logs import event
from synguard.notify.message import Message
from synguard.notify.services import Service
from synguard.notify.webhook import Refused

log: Final = logging.getLogger(__name__)

WAITING: Final = 16
"""Messages that wait for one service; what comes on top is counted in the next one that it takes."""
TRIES: Final = 8
WAIT: Final = wait_exponential(multiplier=2, max=300) + wait_random(0, 3)
"""Between tries: 2 s, doubling, and some chance, so that a message is given up seven minutes after its first try."""


class Carrier(Protocol):
    """What brings one message to one service, once."""

    def run(self, service: Service, message: Message, stopping: threading.Event) -> str:
        """Return what the service answered, or raise ``Refused``."""


@dataclass(slots=True)
class Tally:
    """How a service fares."""

    sent: int = 0
    failed: int = 0
    """Given up after every try."""
    overflowed: int = 0
    """Never tried, since too many were waiting."""
    problem: str = ""
    """Why the last message was given up; empty once one is taken again."""


class Courier:
    """Delivers to one service beside everything else; nothing that it does or meets delays who hands over."""

    def __init__(self, service: Service, carrier: Carrier, *, wait: wait_base = WAIT) -> None:
        self.service = service
        self.tally = Tally()
        self._carrier = carrier
        self._wait = wait
        self._queue: queue.Queue[Message] = queue.Queue(WAITING)
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._missed = 0
        self._thread = threading.Thread(target=self._work, name=f"notify-{service.number}", daemon=True)

    @property
    def waiting(self) -> int:
        """How many messages wait, the one that is being tried included."""
        return self._queue.qsize() + (not self._idle.is_set())

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def hand_over(self, message: Message) -> None:
        """Queue a message; never waits."""
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self.tally.overflowed += 1
            self._missed += 1

    def stop(self, patience_s: float) -> None:
        """End within about ``patience_s`` seconds: what is being tried is killed, what waits is dropped."""
        self._stopping.set()
        self._thread.join(patience_s)

    def is_done(self) -> bool:
        """Return whether nothing waits and nothing is being tried."""
        return self._queue.empty() and self._idle.is_set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._idle.set()
            try:
                message = self._queue.get(timeout=0.25)
            except queue.Empty:
                continue
            self._idle.clear()
            self._deliver(message)
        self._idle.set()

    def _deliver(self, message: Message) -> None:
        missed = self._missed
        if missed:
            message = message.and_also(f"{missed} earlier messages could not be delivered")
        again = Retrying(
            stop=stop_after_attempt(TRIES) | stop_when_event_set(self._stopping),
            wait=self._wait,
            retry=retry_if_exception(_may_later),
            sleep=sleep_using_event(self._stopping),
            before_sleep=self._note_try,
            reraise=True,
        )
        try:
            again(self._carrier.run, self.service, message, self._stopping)
        except Refused as refused:
            self._give_up(message, refused)
        except Exception as error:  # a fault of ours must not end the thread
            log.debug("the courier failed", exc_info=True, extra=event("notify", service=self.service.name))
            self._give_up(message, Refused(f"{type(error).__name__}", later=False))
        else:
            self._took(missed)

    def _note_try(self, state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        log.debug("%s: %s; again", self.service.name, failure, extra=event("notify", service=self.service.name))

    def _took(self, missed: int) -> None:
        self.tally.sent += 1
        self._missed -= missed
        if self.tally.problem:
            log.info("%s takes messages again", self.service.name, extra=event("notify", service=self.service.name))
            self.tally.problem = ""

    def _give_up(self, message: Message, refused: Refused) -> None:
        if self._stopping.is_set():
            return
        self.tally.failed += 1
        self._missed += 1
        text = f"messages to {self.service.name} do not arrive: {refused.answer}; try: synguard notify test"
        if text != self.tally.problem:
            told = event("notify", service=self.service.name, about=message.about.value)
            log.error("%s", text, extra=told)
        self.tally.problem = text


def _may_later(error: BaseException) -> bool:
    return isinstance(error, Refused) and error.later
