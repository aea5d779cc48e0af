"""Processes that cost no import: forked by a server that has them all, once a test run (`warm_server`)."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Final

from tests.support.lab.namespaces import REPOSITORY

HERE: Final = Path("/proc/thread-self/ns/net")
"""The network namespace of whoever asks."""
_STARTS_WITHIN_S: Final = 60.0


class WarmProcess:
    """A forked process: as much of `subprocess.Popen` as the lab uses."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.returncode: int | None = None
        pid = self._line(_STARTS_WITHIN_S)
        if pid is None:
            raise TimeoutError("the warm server forks nothing")
        self.pid = pid

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        if self.returncode is None:
            self.returncode = self._line(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        if self.returncode is None:
            self.returncode = self._line(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _line(self, timeout: float | None) -> int | None:
        """Return the next number that the server says, None if none came in time."""
        if not select.select([self._connection], [], [], timeout)[0]:
            return None
        text = b""
        while not text.endswith(b"\n"):
            byte = self._connection.recv(1)
            if not byte:
                raise EOFError("the warm server went away")
            text += byte
        return int(text)


@dataclass(frozen=True)
class Job:
    """What a process is to run: ``module:function``, and what it finds in ``sys.argv``."""

    entry: str
    words: tuple[str, ...]


def lab_program(name: str, *words: str) -> Job:
    """Return the job of a program of the lab."""
    return Job(f"tests.support.lab.{name}:main", (name, *words))


def verb_job(*words: str) -> Job:
    """Return the job that is ``synguard WORDS``."""
    return Job("synguard.__main__:run", ("synguard", *words))


def fork(
    job: Job,
    streams: Sequence[IO[bytes]],
    namespace: Path = HERE,
    environment: Mapping[str, str] | None = None,
) -> WarmProcess:
    """Start a job in a namespace, with these as its streams 0, 1 and 2."""
    connection, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(_server().control, [b"j"], [theirs.fileno()])
    text = json.dumps({**asdict(job), "host": namespace.name, "environment": {**(environment or os.environ)}}).encode()
    network = os.open(namespace, os.O_RDONLY)
    try:
        sent = socket.send_fds(connection, [text], [network, *(stream.fileno() for stream in streams)])
    finally:
        os.close(network)
    connection.sendall(text[sent:])
    connection.shutdown(socket.SHUT_WR)
    return WarmProcess(connection)


def run_verb(
    *words: str,
    stdin: str | None = None,
    timeout: float = 60.0,
    namespace: Path = HERE,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``synguard WORDS`` and return what `subprocess.run` would."""
    job = verb_job(*words)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write((stdin or "").encode())
        given.seek(0)
        process = fork(job, (given, out, err), namespace, environment)
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(job.words, code, out.read().decode(), err.read().decode())


@dataclass(frozen=True)
class _Server:
    process: subprocess.Popen[bytes]
    control: socket.socket


@cache
def _server() -> _Server:
    """Start the server of this test run; it ends when the run closes its socket, however the run ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.support.lab.warm_server", str(theirs.fileno())]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=REPOSITORY, env=environment)
    return _Server(process, ours)
