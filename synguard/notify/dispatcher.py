"""Delivers messages beside everything else: one thread, a short queue and a task for each service.

What was reported must outlive the agent, so it is remembered in ``state_dir``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_base, wait_exponential, wait_random

from synguard.logs import event
from synguard.notify.alert_policy import Memory
from synguard.notify.message import Message
from synguard.notify.sender import Sender
from synguard.notify.services import Service
from synguard.notify.webhook import Refused
from synguard.private import read_private, replace_private

log: Final = logging.getLogger(__name__)

WAITING: Final = 16
"""Messages that wait for one service; what comes on top is counted in the next one that it takes."""
TRIES: Final = 8
WAIT: Final = wait_exponential(multiplier=2, max=300) + wait_random(0, 3)
"""Between tries: 2 s, doubling, and some chance, so that a message is given up seven minutes after its first try."""
PATIENCE_S: Final = 2.0
"""How long a stop waits for messages that are under way."""
MEMORY_FILE: Final = "notify.json"
MOST_BYTES: Final = 65_536
"""Bytes of it that are read back; ours has some hundred."""
_MEMORY: Final = TypeAdapter(Memory)


class Worker:
    """Delivers to one service: tries again and again, and gives up in the end. All but counts belongs to its loop."""

    def __init__(self, service: Service, sender: Sender, *, wait: wait_base = WAIT) -> None:
        self.service = service
        self.waiting = 0
        """How many messages wait, the one that is being tried included."""
        self.sent = 0
        self.failed = 0
        """Given up after every try."""
        self.overflowed = 0
        """Never tried, since too many were waiting."""
        self.problem = ""
        """Why the last message was given up; empty once one is taken again."""
        self._sender = sender
        self._wait = wait
        self._missed = 0
        self.queue: asyncio.Queue[Message] = asyncio.Queue(WAITING)

    def take(self, message: Message) -> None:
        """Queue a message, or count it where too many wait."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.overflowed += 1
            self._missed += 1
        else:
            self.waiting += 1

    async def work(self) -> None:
        """Deliver what is queued, for ever."""
        while True:
            await self._deliver(await self.queue.get())
            self.waiting -= 1
            self.queue.task_done()

    async def _deliver(self, message: Message) -> None:
        missed = self._missed
        if missed:
            message = message.and_also(f"{missed} earlier messages could not be delivered")
        again = AsyncRetrying(
            stop=stop_after_attempt(TRIES),
            wait=self._wait,
            retry=retry_if_exception(lambda error: isinstance(error, Refused) and error.later),
            before_sleep=self._note_try,
            reraise=True,
        )
        try:
            await again(self._sender.send, self.service, message)
        except Refused as refused:
            self._give_up(message, refused.answer)
        except Exception as error:  # a fault of ours must not end the worker
            log.debug("the worker failed", exc_info=True, extra=event("notify", service=self.service.name))
            self._give_up(message, type(error).__name__)
        else:
            self.sent += 1
            self._missed -= missed
            if self.problem:
                log.info("%s takes messages again", self.service.name, extra=event("notify", service=self.service.name))
                self.problem = ""

    def _note_try(self, state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        log.debug("%s: %s; again", self.service.name, failure, extra=event("notify", service=self.service.name))

    def _give_up(self, message: Message, why: str) -> None:
        self.failed += 1
        self._missed += 1
        text = f"messages to {self.service.name} do not arrive: {why}; try: synguard notify test"
        if text != self.problem:
            log.error("%s", text, extra=event("notify", service=self.service.name, about=message.about.value))
        self.problem = text


class Dispatcher:
    """Hands messages to every worker, and remembers in ``state_dir`` what was reported."""

    def __init__(self, workers: Sequence[Worker], state_dir: Path) -> None:
        self.workers = tuple(workers)
        self._path = state_dir / MEMORY_FILE
        self._problem = ""
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not work, one sentence each."""
        found = [worker.problem for worker in self.workers]
        return tuple(one for one in [*found, self._problem] if one)

    def start(self) -> None:
        """Begin to deliver."""
        self._runner.get_loop()
        self._thread.start()

    def enqueue(self, message: Message) -> None:
        """Queue a message for every service; never waits."""
        for worker in self.workers:
            self._runner.get_loop().call_soon_threadsafe(worker.take, message)

    def stop(self) -> None:
        """End within ``PATIENCE_S`` and a little: what is under way by then is killed, what waits is dropped."""
        with suppress(RuntimeError):  # a fault of ours ended it earlier
            self._runner.get_loop().call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE_S + 0.5)

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._work())

    async def _work(self) -> None:
        tasks = [asyncio.create_task(worker.work()) for worker in self.workers]
        await self._stopping.wait()
        await asyncio.wait([asyncio.create_task(worker.queue.join()) for worker in self.workers], timeout=PATIENCE_S)
        for task in tasks:
            task.cancel()

    def recall(self) -> Memory | None:
        """Return what the last agent reported; None where there is nothing, or nothing that can be read."""
        try:
            return _MEMORY.validate_json(read_private(self._path, MOST_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            text = "%s cannot be read, so an attack under way may be reported again: %s"
            log.warning(text, self._path, type(error).__name__, extra=event("notify"))
            return None

    def remember(self, memory: Memory) -> None:
        """Write down what was reported; a failure is reported once."""
        try:
            replace_private(self._path, _MEMORY.dump_json(memory).decode(), alone=True)
        except OSError as error:
            text = f"{self._path} cannot be written: {error.strerror}; after a restart an attack may be reported twice"
            if text != self._problem:
                log.error("%s", text, extra=event("notify"))
            self._problem = text
        else:
            self._problem = ""

    def counts(self) -> tuple[int, int, int, int]:
        """Return how many messages wait, were taken, were given up, and overflowed, over all services."""
        workers = self.workers
        return (
            sum(worker.waiting for worker in workers),
            sum(worker.sent for worker in workers),
            sum(worker.failed for worker in workers),
            sum(worker.overflowed for worker in workers),
        )
