"""The shipped unit is what systemd takes, and leaves the agent no more than it is said to need."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from synguard.enforcer import locks
from synguard.enforcer.iptables import ipset
from synguard.enforcer.nftables import nft
from synguard.units import parse_duration

UNIT = Path(__file__).parents[2] / "synguard/share/systemd/synguard.service"
MOST_EXPOSED = 3.6
"""Of ``systemd-analyze security``, 0 to 10; what is left is argued in docs/security.md.

0.1 of it is ``capset``, which counts as a privilege although a process without new ones only loses by it.
"""


def setting(name: str) -> str:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)[-1]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with the program that these tests run, since systemd looks for it where packages put it."""
    program = Path(sys.executable).with_name("synguard")
    text = UNIT.read_text(encoding="utf-8").replace("ExecStart=synguard", f"ExecStart={program}")
    path = tmp_path / UNIT.name
    path.write_text(text, encoding="utf-8")
    return path


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False)


def test_systemd_finds_no_fault_in_the_unit(unit: Path) -> None:
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_no_fault_in_the_timers(tmp_path: Path) -> None:
    for name in (
        "synguard-report.service",
        "synguard-report.timer",
        "synguard-resolve.service",
        "synguard-resolve.timer",
    ):
        text = UNIT.with_name(name).read_text(encoding="utf-8")
        program = Path(sys.executable).with_name("synguard")
        (tmp_path / name).write_text(text.replace("ExecStart=synguard", f"ExecStart={program}"), encoding="utf-8")
    done = analyze("verify", "--man=no", tmp_path / "synguard-report.timer", tmp_path / "synguard-resolve.timer")
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_scores_the_unit_as_told(unit: Path) -> None:
    done = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED * 10:.0f}", "--no-pager", unit)
    assert done.returncode == 0, done.stdout[-200:]


def test_the_watchdog_outlasts_the_longest_wait_within_a_tick() -> None:
    longest = max(nft.TIMEOUT_S, ipset.TIMEOUT_S, locks.APPLY_WAIT_S + locks.XTABLES_WAIT_S)
    assert parse_duration(setting("WatchdogSec")) > longest


def test_directories_are_private_and_a_hopeless_start_is_not_repeated() -> None:
    assert (setting("StateDirectoryMode"), setting("RuntimeDirectoryMode"), setting("UMask")) == (
        "0700",
        "0700",
        "0077",
    )
    assert setting("RestartPreventExitStatus").split() == ["2", "3", "4", "5"]
    assert setting("Restart") == "on-failure"
