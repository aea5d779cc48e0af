"""Whether a CPU is the bottleneck of receiving packets."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.detector.cpu import CpuWindow, bottleneck
from synguard.errors import SensorError
from synguard.readings import CpuReading, CpuTimes
from synguard.sensors.cpu import parse_softnet, parse_stat, read_cpu

STAT = """cpu  300 0 100 2000 0 10 590 0 0 0
cpu0 100 0 50 1000 0 10 90 0 0 0
cpu1 200 0 50 1000 0 0 500 0 0 0
intr 1 2 3
"""
SOFTNET = "0000272d 00000010 00000001 0 0\n000034d9 00000001 00000000 0 0\n"


def reading(at: float, interrupts: int, total: int, taken: int = 0, dropped: int = 0) -> CpuReading:
    return CpuReading(at, (CpuTimes(0, 0, total), CpuTimes(1, interrupts, total)), taken, dropped)


def test_times_of_every_cpu_and_all_packets_are_read() -> None:
    assert parse_stat(STAT) == (CpuTimes(0, 100, 1250), CpuTimes(1, 500, 1750))
    assert parse_softnet(SOFTNET) == (0x272D + 0x34D9, 0x11)


def test_this_host_s_own_files_are_read() -> None:
    assert read_cpu(1.0).cpus


@pytest.mark.parametrize(("stat", "softnet"), [("cpu0 1 2\n", SOFTNET), ("", SOFTNET), (STAT, "1\n"), (STAT, "x y\n")])
def test_a_file_of_another_form_is_an_error_and_not_an_idle_cpu(tmp_path: Path, stat: str, softnet: str) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "stat").write_text(stat)
    (tmp_path / "net/softnet_stat").write_text(softnet)
    with pytest.raises(SensorError, match="CPU times cannot be read"):
        read_cpu(1.0, tmp_path)


def test_one_cpu_full_of_interrupts_is_a_bottleneck_though_the_other_is_idle() -> None:
    words = bottleneck(reading(0.0, 0, 1000), reading(1.0, 95, 1100))
    assert words == "CPU 1 spends 95% of its time on received packets"


def test_packets_dropped_before_tcp_are_one() -> None:
    words = bottleneck(reading(0.0, 0, 1000), reading(1.0, 0, 1100, 50_000, 1000))
    assert words == "1,000 packets a second are dropped before TCP sees them"


@pytest.mark.parametrize(
    "after",
    [
        reading(1.0, 80, 1100),
        reading(1.0, 0, 1100, 50_000, 50),
        reading(0.3, 100, 1100),
        reading(1.0, 0, 900),
        CpuReading(1.0, (CpuTimes(7, 100, 1100),), 0, 0),
    ],
    ids=["busy", "a few drops", "too soon to say", "counters went backwards", "a CPU that came up"],
)
def test_none_is_seen_where_there_is_none(after: CpuReading) -> None:
    assert bottleneck(reading(0.0, 0, 1000), after) == ""


def test_a_bottleneck_that_is_over_is_forgotten_within_two_seconds() -> None:
    window = CpuWindow()
    assert window.follow(reading(0.0, 0, 1000)) == ""
    assert window.follow(reading(1.0, 95, 1100))
    assert window.follow(None)
    assert window.follow(reading(2.0, 95, 1200)) == ""
