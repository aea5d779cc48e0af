"""The agent's end of the feeder: what is wanted is written to its pipe, what it says is read; neither ever waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from synguard.fleet.feeder import LEAVING_S, MEMORY
from synguard.fleet.peer import PeerRecord
from synguard.fleet.routes import Route, to_json
from synguard.policy.fleet import Bgp

RESTART_S: Final = 5.0
"""Time between two starts of a feeder that ended by itself."""
_MOST_SAID: Final = 1 << 16
_COUNTS: Final = ("announced", "waiting", "refused")


class FeederLink:
    """Starts the feeder, tells it what is wanted, and takes in what it says."""

    def __init__(self, settings: Bgp, state_dir: Path, record: PeerRecord) -> None:
        place = str(settings.pipe) if settings.speaker == "exabgp" else "gobgp"
        self._command = [
            *(sys.executable, "-P", "-m", "synguard.fleet.feeder"),
            *(settings.speaker, place, str(settings.most_routes), str(state_dir / MEMORY)),
        ]
        self._most_routes = settings.most_routes
        self._record = record
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = float("-inf")
        self._said = b""
        self._unsent = b""

    def want(self, routes: Mapping[Route, float], now: float, utc: datetime) -> None:
        """Tell the feeder all that is wanted: route → seconds that it may stand; starts the feeder where it is not.

        Of more than ``most_routes`` the first are told. What does not fit into the pipe follows at the next call, so no
        line is ever cut short; a feeder that is behind is told the newest state afterwards.
        """
        if self._process is None or self._process.poll() is not None:
            if now < self._start_at:
                return
            self._start_at = now + RESTART_S
            if not self._start(utc):
                return
        if not self._unsent:
            chosen = islice(routes.items(), self._most_routes)
            told = {
                "routes": [[to_json(route), now + left_s] for route, left_s in chosen],
                "refused": max(len(routes) - self._most_routes, 0),
            }
            self._unsent = (json.dumps(told) + "\n").encode()
        self._send()
        self._read_answers(utc)

    def close(self) -> None:
        """End the feeder, which withdraws everything first."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(LEAVING_S + 1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self, utc: datetime) -> bool:
        try:
            process = subprocess.Popen(  # noqa: S603  # our own module
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            self._record.failed(utc, f"the process that holds routes cannot be started: {error.strerror}")
            return False
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        self._process, self._said, self._unsent = process, b"", b""
        return True

    def _send(self) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(BlockingIOError, BrokenPipeError):
                self._unsent = self._unsent[os.write(process.stdin.fileno(), self._unsent) :]

    def _read_answers(self, utc: datetime) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        with suppress(BlockingIOError):
            self._said += os.read(process.stdout.fileno(), _MOST_SAID)
        *lines, self._said = self._said.split(b"\n")
        if not lines:
            return
        with suppress(ValueError):
            said = json.loads(lines[-1])
            counts = {name: int(said[name]) for name in _COUNTS}
            if said["reachable"]:
                self._record.answered(utc, counts)
            elif said["reachable"] is False:
                self._record.failed(utc, said["error"])
