"""A delivery as the agent sees it: a process of its own with a deadline, killed where it does not keep it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Final

from synguard.notify.message import Message
from synguard.notify.services import Service
from synguard.notify.webhook import Refused, body

DEADLINE_S: Final = 20.0
"""For one try, names looked up and all."""
_LOOK_EVERY_S: Final = 0.1
COMMAND: Final = (
    sys.executable,
    "-IS",
    "-c",
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from synguard.notify.deliver import main; main()",
)
"""Followed by this process's module path: it reads no other modules than this one, wherever these are installed."""


class Errands:
    """Carries messages to services, one process a try."""

    def __init__(
        self,
        host: str,
        key: bytes | None = None,
        *,
        deadline_s: float = DEADLINE_S,
        command: Sequence[str] = COMMAND,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._host = host
        self._key = key
        self._deadline_s = deadline_s
        self._command = [*command, json.dumps([path or os.getcwd() for path in sys.path])]
        self._wall_clock = wall_clock

    def run(self, service: Service, message: Message, stopping: threading.Event) -> str:
        """Return what the service answered.

        Raises:
            Refused: It did not take the message, or said nothing in time, or ``stopping`` was set meanwhile.
        """
        errand = {
            "url": service.url,
            "body": body(message, self._host),
            "key": None if self._key is None else b64encode(self._key).decode(),
            "timestamp": str(int(self._wall_clock())),
        }
        try:
            process = subprocess.Popen(  # noqa: S603  # this interpreter, our own module
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"},
            )
        except OSError as error:
            raise Refused(f"no process could be started for it: {error.strerror}", later=True) from error
        return _answer(_awaited(process, json.dumps(errand), self._deadline_s, stopping))


def _awaited(process: subprocess.Popen[str], errand: str, deadline_s: float, stopping: threading.Event) -> str:
    until = time.monotonic() + deadline_s
    given: str | None = errand
    with process:
        while True:
            try:
                said, _ = process.communicate(given, timeout=_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                given = None
                if time.monotonic() < until and not stopping.is_set():
                    continue
                process.kill()
                late = "the agent was stopped" if stopping.is_set() else f"no answer within {deadline_s:g} s"
                raise Refused(late, later=True) from None
            return said


def _answer(said: str) -> str:
    try:
        answer = json.loads(said)
    except ValueError as error:
        raise Refused("the delivery failed without a word", later=True) from error
    if not answer["ok"]:
        raise Refused(answer["answer"], later=answer["later"])
    return str(answer["answer"])
