"""Whether sampling shows what the kernel turns away, judged over the same half second."""

from __future__ import annotations

import pytest

from synguard.detector.unsampled import JUDGED_OVER_S, UnsampledWindow
from tests.support.traffic import counters, syns

TICK_S = 0.05


def missed(seconds: float, shown_pps: float = 0.0, *, sampling: bool = True, **grown_pps: float) -> float:
    """Return what a window says after some seconds of counters that grow, and of samples."""
    window, found = UnsampledWindow(), 0.0
    for tick in range(round(seconds / TICK_S) + 1):
        at = tick * TICK_S
        sample = syns(at, {"192.0.2.7": round(shown_pps * TICK_S)}, TICK_S) if sampling else None
        found = window.follow(counters(at, **{name: int(pps * at) for name, pps in grown_pps.items()}), sample)
    return found


@pytest.mark.parametrize("counter", ["SyncookiesSent", "TCPReqQFullDrop", "ListenDrops"])
def test_what_the_kernel_turns_away_and_no_sample_shows_is_missed(counter: str) -> None:
    assert missed(JUDGED_OVER_S, 1000, **{counter: 11_000}) == pytest.approx(10_000, rel=0.05)
    assert missed(JUDGED_OVER_S, 10_000, **{counter: 11_000}) == 0


def test_cookies_that_come_back_were_clients_of_loopback() -> None:
    assert missed(2.0, SyncookiesSent=5000, SyncookiesRecv=4900) == 0


def test_a_sensor_that_is_closed_misses_nothing() -> None:
    assert missed(2.0, sampling=False, SyncookiesSent=5000) == 0


def test_a_flood_that_ends_is_not_missed_while_the_counters_of_its_last_second_are_looked_at() -> None:
    window, sent = UnsampledWindow(), 0
    for tick in range(100):
        flooding = tick < 40
        sent += 500 if flooding else 0
        sample = syns(tick * TICK_S, {"192.0.2.7": 500} if flooding else {}, TICK_S)
        assert window.follow(counters(tick * TICK_S, SyncookiesSent=sent), sample) == 0
