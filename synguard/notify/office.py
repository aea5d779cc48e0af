"""All couriers together, and what must outlive the agent, on disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from synguard.logs import event
from synguard.notify.courier import Courier
from synguard.notify.herald import Memory
from synguard.notify.message import Message
from synguard.private import read_private, replace_private

log: Final = logging.getLogger(__name__)

MEMORY_FILE: Final = "notify.json"
MOST_BYTES: Final = 65_536
"""Bytes of it that are read back; ours has some hundred."""
PATIENCE_S: Final = 2.0
"""How long a stop waits for messages that are under way."""
_MEMORY: Final = TypeAdapter(Memory)


class Office:
    """Hands messages to every courier, and remembers in ``state_dir`` what was told."""

    def __init__(self, couriers: Sequence[Courier], state_dir: Path) -> None:
        self.couriers = tuple(couriers)
        self._path = state_dir / MEMORY_FILE
        self._problem = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not work, one sentence each."""
        found = [courier.tally.problem for courier in self.couriers]
        return tuple(one for one in [*found, self._problem] if one)

    def start(self) -> None:
        """Begin to deliver."""
        for courier in self.couriers:
            courier.start()

    def hand_over(self, message: Message) -> None:
        """Queue a message for every service; never waits."""
        for courier in self.couriers:
            courier.hand_over(message)

    def stop(self) -> None:
        """End within ``PATIENCE_S`` and a little: what is under way by then is dropped."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and not all(courier.is_done() for courier in self.couriers):
            time.sleep(0.02)
        for courier in self.couriers:
            courier.stop(0.0)
        for courier in self.couriers:
            courier.stop(max(until + 0.5 - time.monotonic(), 0.1))

    def recall(self) -> Memory | None:
        """Return what the last agent told; None where there is nothing, or nothing that can be read."""
        try:
            return _MEMORY.validate_json(read_private(self._path, MOST_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            text = "%s cannot be read, so an attack under way may be told anew: %s"
            log.warning(text, self._path, type(error).__name__, extra=event("notify"))
            return None

    def remember(self, memory: Memory) -> None:
        """Write down what was told; a failure is told once."""
        try:
            replace_private(self._path, _MEMORY.dump_json(memory).decode(), alone=True)
        except OSError as error:
            text = f"{self._path} cannot be written: {error.strerror}; after a restart an attack may be told twice"
            if text != self._problem:
                log.error("%s", text, extra=event("notify"))
            self._problem = text
        else:
            self._problem = ""

    def counts(self) -> tuple[int, int, int, int]:
        """Return how many messages wait, were taken, were given up, and overflowed, over all services."""
        tallies = [courier.tally for courier in self.couriers]
        return (
            sum(courier.waiting for courier in self.couriers),
            sum(tally.sent for tally in tallies),
            sum(tally.failed for tally in tallies),
            sum(tally.overflowed for tally in tallies),
        )
