"""What the agent says of its own cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.agent.resource_usage import MOST_TICKS, ResourceUsage, rss_bytes
from synguard.status.model import read_status
from tests.scenario.test_floods import POLICY
from tests.support.scene import Scene


def test_figures_are_of_one_interval_and_begin_anew_after_it() -> None:
    upkeep = ResourceUsage(100.0)
    for took_s, late_s in ((0.002, float("-inf")), (0.004, 0.001), (0.090, -0.15)):
        upkeep.ticked(took_s, late_s)
    told = upkeep.sum_up(101.0)
    assert (told.ticks, told.tick_ms_p50, told.tick_ms_max, told.late_ms_max) == (3, 4.0, 90.0, 1.0)
    again = upkeep.sum_up(102.0)
    assert (again.ticks, again.tick_ms_p50, again.tick_ms_max, again.late_ms_max) == (0, 0.0, 0.0, 0.0)


def test_a_storm_of_ticks_between_two_statuses_keeps_a_bounded_number_of_them() -> None:
    upkeep = ResourceUsage(0.0)
    for _ in range(10 * MOST_TICKS):
        upkeep.ticked(0.001, 0.0)
    assert upkeep.sum_up(1.0).ticks == MOST_TICKS


def test_cpu_is_a_share_of_the_interval_and_tools_that_ended_count(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter([2.0, 2.5, 2.5])
    monkeypatch.setattr("synguard.agent.resource_usage.cpu_seconds", lambda: next(spent))
    upkeep = ResourceUsage(10.0)
    assert upkeep.sum_up(12.0).cpu_share == 0.25
    assert upkeep.sum_up(12.0).cpu_share == 0.0  # the clock stood still: no share, and no division by it


def test_memory_is_what_is_resident_and_unknown_is_0(tmp_path: Path) -> None:
    assert rss_bytes() > 10_000_000
    assert rss_bytes(tmp_path / "none") == 0
    (tmp_path / "statm").write_text("x")
    assert rss_bytes(tmp_path / "statm") == 0


def test_a_tick_that_begins_after_its_time_is_told_as_late(tmp_path: Path) -> None:
    """An agent that is starved of CPU watches less closely than it says; operators must be able to see that."""
    scene = Scene(tmp_path, POLICY)
    scene.lives(3)
    punctual = read_status(tmp_path)
    assert punctual is not None
    assert punctual.agent is not None
    assert punctual.agent.ticks > 1
    assert punctual.agent.late_ms_max == 0.0
    wait = scene.clock.wait
    scene.clock.wait = lambda timeout: wait(timeout + 0.3)  # type: ignore[method-assign]  # a busy machine
    scene.lives(3)
    late = read_status(tmp_path)
    assert late is not None
    assert late.agent is not None
    assert late.agent.late_ms_max == pytest.approx(300.0)
