"""What a tool is fed: the whole of it, whatever becomes of us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from synguard.enforcer.script import whole
from synguard.errors import PlaneError

LINES = [f"add synguard-all-drop-4 20.{n // 250 % 250}.{n % 250}.34 timeout 60" for n in range(5_000)]

SLOW_TOOL = """
import sys, time
open(sys.argv[1], "w").close()          # I run
while not __import__("os").path.exists(sys.argv[2]):
    time.sleep(0.005)                   # and read only once whoever started me is dead
text = sys.stdin.read()
open(sys.argv[3] + ".new", "w").write(text)
__import__("os").rename(sys.argv[3] + ".new", sys.argv[3])
"""


def test_a_script_reads_as_it_was_written_and_no_lines_are_an_empty_one() -> None:
    with whole(LINES) as script:
        done = subprocess.run(["cat"], stdin=script, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == LINES
    with whole([]) as script:
        assert subprocess.run(["cat"], stdin=script, capture_output=True, check=True).stdout == b""


def test_descriptors_are_closed_again() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with whole(LINES):
            pass
    with pytest.raises(ZeroDivisionError), whole(LINES):
        raise ZeroDivisionError
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_memory_is_an_error_of_the_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str) -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(os, "memfd_create", refused)
    with pytest.raises(PlaneError, match="preparing a script: Cannot allocate memory"), whole(LINES):
        pass


def test_a_tool_whose_caller_is_killed_reads_all_lines_whole(tmp_path: Path) -> None:
    """Fed through a pipe, ``ipset`` took the torn line for a ban of 20.1.2.3 instead of 20.1.2.34, without an end."""
    runs, dead, read = (tmp_path / name for name in ("runs", "dead", "read"))
    child = os.fork()
    if child == 0:  # the agent, about to be killed while its tool runs
        with whole(LINES) as script:
            subprocess.run(
                [sys.executable, "-c", SLOW_TOOL, str(runs), str(dead), str(read)], stdin=script, check=False
            )
        os._exit(0)
    wait_until(runs.exists)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    dead.touch()
    wait_until(read.exists)
    assert read.read_text().splitlines() == LINES


def wait_until(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
