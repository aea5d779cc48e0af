"""A program of the lab that runs in a namespace and prints JSON lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.support.lab.namespaces import LabError, Namespace
from tests.support.lab.warm import Job, WarmProcess, fork

T = TypeVar("T")


def wait_for(condition: Callable[[], T | None], what: str, timeout: float = 20.0, every: float = 0.01) -> T:
    """Return the first true value of ``condition``.

    Raises:
        LabError: None came within ``timeout`` seconds; names ``what`` was waited for.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(every)


class Program:
    """One running command in a namespace; its output goes to files, so that nothing it prints can block it."""

    def __init__(self, namespace: Namespace, command: Sequence[str] | Job, workdir: Path, label: str) -> None:
        self.label = label
        self._stdout = _unused(workdir, label, "out")
        self._stderr = self._stdout.with_suffix(".err")
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.process: subprocess.Popen[bytes] | WarmProcess
            if isinstance(command, Job):
                with open(os.devnull, "rb") as nothing:
                    self.process = fork(command, (nothing, out, err), namespace.path)
            else:
                self.process = namespace.start(command, out, err)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    @property
    def stderr(self) -> str:
        """What it complained about so far."""
        return self._stderr.read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON lines printed so far; a line still being written is left for the next call."""
        text = self._stdout.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def wait_line(self, event: str, timeout: float = 20.0) -> dict[str, Any]:
        """Return the first line whose ``event`` is this one, waiting for it.

        Raises:
            LabError: It ended without printing one, or ``timeout`` seconds passed.
        """

        def find() -> dict[str, Any] | None:
            running = self.running
            found = next((line for line in self.lines() if line.get("event") == event), None)
            if found is None and not running:
                raise LabError(f"{self.label} ended without saying {event}: {self.stderr.strip()[-2000:]}")
            return found

        return wait_for(find, f"{self.label} to say {event}", timeout)

    def wait(self, timeout: float) -> None:
        """Wait for its own end.

        Raises:
            LabError: It is still running after ``timeout`` seconds, or failed.
        """
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.label} is still running after {timeout:g} s") from error
        if code:
            raise LabError(f"{self.label} failed with exit code {code}: {self.stderr.strip()[-2000:]}")

    def stop(self, patience: float = 10.0) -> None:
        """Ask it to end and wait; kill it when it does not listen."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        self.process.kill()
        self.process.wait()

    def kill_if_running(self) -> None:
        """End it at once unless it has ended."""
        if self.running:
            self.kill()


def _unused(workdir: Path, label: str, suffix: str) -> Path:
    """Return a file name in ``workdir`` that no earlier program of the same label has."""
    number = sum(1 for _ in workdir.glob(f"{label}-*.{suffix}"))
    return workdir / f"{label}-{number}.{suffix}"
