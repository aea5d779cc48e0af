"""What it costs to start the command: help, a Tab, and a verb that loads the config, against bare Python."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest

pytestmark = pytest.mark.bench

COMMAND = str(Path(sys.executable).with_name("synguard"))
CALLS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "synguard --help": [COMMAND, "--help"],
    "Tab after synguard unban": [COMMAND, "completion", "--targets"],
    "synguard policy show": [COMMAND, "policy", "show"],
}


def test_starting_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """All in turn, round by round, so that a busy moment meets each; the median of the rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in CALLS}
    for _ in range(15):
        for name, call in CALLS.items():
            began = time.perf_counter()
            subprocess.run(call, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - began)
    bare = median(seconds["python -c pass"])
    with capsys.disabled():
        print("\nStarting the command, median of 15")
        for name, times in seconds.items():
            print(f"  {name:26} {median(times) * 1000:6.0f} ms  {median(times) / bare:5.1f} x bare Python")
