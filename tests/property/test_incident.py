"""Incidents: any readings make only the moves in the table."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from synguard.decision.incident import IncidentTracker, Tally
from synguard.detector.assessment import Assessment, FloodFigures, ListenerPressure
from synguard.incidents import MOVES, Phase
from synguard.policy.models import IncidentLevels
from tests.support.manual_clock import START


def seen(at: float, half_open: int, dropped: float = 0.0) -> Assessment:
    pressure = (ListenerPressure(80, 4, "nginx", half_open, 128, 0, True, half_open >= 116),)
    return Assessment(at=at, pressure=pressure, flood=FloodFigures(half_open=half_open, overflow_pps=dropped))


def tracker(calm_for: str = "30s") -> IncidentTracker:
    numbers = count()
    levels = IncidentLevels.model_validate({"calm_for": calm_for})
    return IncidentTracker(levels, lambda: f"i{next(numbers)}")


moments = st.tuples(
    st.floats(0.01, 40), st.integers(0, 129), st.floats(0, 1e5), st.sampled_from([None, "syn-flood", "spoofed-flood"])
)


@given(st.lists(moments, max_size=60))
def test_any_readings_make_only_moves_in_the_table(steps: list[tuple[float, int, float, str | None]]) -> None:
    follow, now = tracker(), 0.0
    before = follow.phase
    for dt, half_open, dropped, kind in steps:
        now += dt
        incident = follow.follow(seen(now, half_open, dropped), Tally(kind), START + timedelta(seconds=now))
        assert follow.phase is before or follow.phase in MOVES[before]
        assert (incident is None) <= (follow.phase is Phase.CALM)
        if incident is not None:
            assert (incident.ended_at is not None) == (follow.phase is Phase.CALM)
        before = follow.phase


@given(st.lists(st.integers(0, 129), max_size=60))
def test_peaks_never_fall_and_the_kind_never_grows_milder(fills: list[int]) -> None:
    follow, last = tracker(), None
    for at, half_open in enumerate(fills):
        kind = "spoofed-flood" if half_open > 100 else "syn-flood" if half_open > 70 else None
        incident = follow.follow(seen(at, half_open), Tally(kind), START + timedelta(seconds=at))
        if incident is not None and last is not None and incident.id == last.id:
            assert incident.peak_half_open >= last.peak_half_open
            assert not (last.kind == "spoofed-flood" and incident.kind == "syn-flood")
        last = incident


def test_a_dip_shorter_than_the_hold_does_not_end_an_incident() -> None:
    follow = tracker("30s")
    follow.follow(seen(0, 129), Tally(None), START)
    for at in range(1, 30):
        assert follow.follow(seen(at, 0), Tally(None), START) is not None
    follow.follow(seen(30, 129), Tally(None), START)
    assert follow.phase is Phase.ATTACK


def test_between_the_two_levels_nothing_changes() -> None:
    follow = tracker("1s")
    follow.follow(seen(0, 129), Tally(None), START)
    for at in range(1, 100):
        follow.follow(seen(at, 40), Tally(None), START)  # 0.31: below attack_above, above calm_below
    assert follow.phase is Phase.ATTACK
