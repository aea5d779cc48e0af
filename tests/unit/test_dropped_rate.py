"""SYNs that a full queue turned away, told from connections that a slow application refused."""

from __future__ import annotations

import pytest

from synguard.detector.rates import dropped_rate
from synguard.readings import CounterReading


def dropped(passed_s: float = 1.0, **grown: int) -> float:
    before = CounterReading(5.0, dict.fromkeys(grown, 100))
    return dropped_rate(before, CounterReading(5.0 + passed_s, {name: 100 + by for name, by in grown.items()}))


def test_a_queue_full_to_its_backlog_tells_by_its_own_counter() -> None:
    assert dropped(0.5, TCPReqQFullDrop=500, ListenDrops=500, ListenOverflows=0) == 1000


def test_a_queue_full_to_three_quarters_of_tcp_max_syn_backlog_tells_by_listen_drops_alone() -> None:
    """nginx with its usual 511 and ``tcp_max_syn_backlog`` of 512: 385 half-open, and every other SYN is gone."""
    assert dropped(TCPReqQFullDrop=0, ListenDrops=4615, ListenOverflows=0) == 4615


@pytest.mark.parametrize(("drops", "overflows"), [(5000, 5000), (5040, 5000), (5, 2), (103, 100), (90, 100)])
def test_a_slow_application_is_not_a_full_syn_queue(drops: int, overflows: int) -> None:
    """The two counters are read one after the other while the kernel goes on counting."""
    assert dropped(TCPReqQFullDrop=0, ListenDrops=drops, ListenOverflows=overflows) == 0


def test_a_slow_flood_that_keeps_the_queue_full_is_not_overlooked() -> None:
    assert dropped(0.05, TCPReqQFullDrop=0, ListenDrops=1, ListenOverflows=0) == pytest.approx(20)


def test_both_at_once_tell_of_both() -> None:
    assert dropped(TCPReqQFullDrop=0, ListenDrops=9000, ListenOverflows=5000) == 4000


def test_a_first_reading_and_counters_that_went_back_are_no_flood() -> None:
    after = CounterReading(5.0, {"ListenDrops": 9000, "TCPReqQFullDrop": 9000})
    assert dropped_rate(None, after) == 0
    assert dropped_rate(after, CounterReading(6.0, {"ListenDrops": 1, "TCPReqQFullDrop": 1})) == 0
