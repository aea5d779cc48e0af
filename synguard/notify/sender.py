"""One try of one message: a process of its own with a deadline, killed where it does not keep it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from base64 import b64encode
from collections.abc import Callable
from typing import Final

from synguard.notify.message import Message
from synguard.notify.services import Service
from synguard.notify.webhook import Refused, body

DEADLINE_S: Final = 20.0
"""For one try, names looked up and all."""
COMMAND: Final = (
    sys.executable,
    "-IS",
    "-c",
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from synguard.notify.deliver import main; main()",
)
"""Followed by this process's module path: it reads no other modules than this one, wherever these are installed."""


class Sender:
    """Sends messages to services, one process a try."""

    def __init__(
        self,
        host: str,
        key: bytes | None = None,
        *,
        deadline_s: float = DEADLINE_S,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._host = host
        self._key = key
        self._deadline_s = deadline_s
        self._wall_clock = wall_clock

    async def send(self, service: Service, message: Message, page: tuple[str, str] | None = None) -> str:
        """Return what the service answered; a cancelled try is killed.

        ``page`` is the name and the text of a file that goes with the message, where the service takes files.

        Raises:
            Refused: It did not take the message, or said nothing in time.
        """
        order = {
            "url": service.url,
            "body": body(message, self._host),
            "key": None if self._key is None else b64encode(self._key).decode(),
            "page": page,
            "timestamp": str(int(self._wall_clock())),
        }
        environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
        path = json.dumps([path or os.getcwd() for path in sys.path])
        try:
            process = await asyncio.create_subprocess_exec(
                *COMMAND, path, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, start_new_session=True, env=environment
            )
        except OSError as error:
            raise Refused(f"no process could be started for it: {error.strerror}", later=True) from error
        try:
            async with asyncio.timeout(self._deadline_s):
                said, _ = await process.communicate(json.dumps(order).encode())
        except TimeoutError as error:
            raise Refused(f"no answer within {self._deadline_s:g} s", later=True) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return _answer(said)


def _answer(said: bytes) -> str:
    try:
        answer = json.loads(said)
    except ValueError as error:
        raise Refused("the delivery failed without a message", later=True) from error
    if not answer["ok"]:
        raise Refused(answer["answer"], later=answer["later"])
    return str(answer["answer"])
