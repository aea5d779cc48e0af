"""How many SYNs wake the agent: a busy port must not do so all day, and no flood may teach it to sleep."""

from synguard.agent.onset_thresholds import HALVED_IN_S, LEAST, OnsetThresholds


def busy(pps: int, seconds: int, *, calm: bool = True, thresholds: OnsetThresholds | None = None) -> OnsetThresholds:
    learned = thresholds or OnsetThresholds()
    began = 0.0 if thresholds is None else 10_000.0
    for second in range(seconds + 1):
        learned.learn({0: 0, 443: pps * second}, began + second, calm=calm)
    return learned


def test_an_idle_port_wakes_at_a_thousand_syns_a_second() -> None:
    assert busy(5, 10).of([443, 80]) == {443: LEAST, 80: LEAST}


def test_a_busy_port_wakes_at_several_times_its_usual_rate() -> None:
    assert busy(3000, 10).of([443]) == {443: 320}


def test_a_flood_is_not_what_is_usual() -> None:
    assert busy(50_000, 30, calm=False).of([443]) == {443: LEAST}


def test_a_busy_hour_is_forgotten_in_minutes() -> None:
    learned = busy(3000, 10)
    learned.learn({443: 30_000}, 10.0 + 5 * HALVED_IN_S, calm=True)
    assert learned.of([443]) == {443: LEAST}


def test_a_count_that_begins_anew_is_no_rate() -> None:
    learned = busy(100, 10)
    learned.learn({443: 3}, 11.0, calm=True)
    assert learned.of([443]) == {443: LEAST}
