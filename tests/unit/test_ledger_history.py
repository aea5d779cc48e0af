"""The history table: what is added up, what grows coarser, what is bounded."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synguard.errors import LedgerError
from synguard.ledger import Figure, Ledger, Stretch, Track
from synguard.ledger.history import THINNED
from synguard.policy.models import LedgerLimits

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def seen(at: datetime, half_open: float, seconds: float = 10.0, **more: Track) -> Stretch:
    tracks = {Figure.HALF_OPEN: Track(seconds, half_open * seconds, half_open, half_open)}
    return Stretch(at, seconds, seconds, tracks=tracks | {Figure(name): track for name, track in more.items()})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "ledger.db", patience_s=0.05)


def rows(ledger: Ledger) -> int:
    return int(ledger._database._connection.execute("SELECT count(*) FROM history").fetchone()[0])


def test_what_is_kept_comes_back_as_it_was(ledger: Ledger) -> None:
    stretch = Stretch(
        NOW,
        10.0,
        9.0,
        2.0,
        1.01,
        {Figure.HALF_OPEN: Track(8.0, 40.0, 0.0, 129.0), Figure.SYNS: Track(1.0, 9.5, 9.5, 9.5)},
    )
    ledger.add_history([stretch])
    assert ledger.history(NOW, NOW + DAY, 10) == [stretch]


def test_several_are_made_one_with_their_peak_and_their_mean(ledger: Ledger) -> None:
    ledger.add_history([seen(NOW, 2), seen(NOW + timedelta(seconds=10), 129), seen(NOW + timedelta(seconds=20), 1)])
    (one,) = ledger.history(NOW, NOW + DAY, 60)
    track = one.tracks[Figure.HALF_OPEN]
    assert (track.least, track.most, track.mean, one.span_s) == (1, 129, 44, 30)


def test_what_was_not_known_is_absent_and_does_not_dilute_the_mean(ledger: Ledger) -> None:
    blind = Stretch(NOW + timedelta(seconds=10), 10.0, 10.0)
    ledger.add_history([seen(NOW, 50), blind])
    (one,) = ledger.history(NOW, NOW + DAY, 60)
    assert one.tracks[Figure.HALF_OPEN] == Track(10, 500, 50, 50)
    assert Figure.SYNS not in one.tracks
    assert one.watched_s == 20


def test_where_nobody_watched_there_is_nothing(ledger: Ledger) -> None:
    ledger.add_history([seen(NOW, 1), seen(NOW + timedelta(hours=1), 1)])
    assert [one.at for one in ledger.history(NOW, NOW + DAY, 60)] == [NOW, NOW + timedelta(hours=1)]


def test_old_history_grows_coarser_and_keeps_sums_and_peaks(ledger: Ledger) -> None:
    """Twelve days by the second at first, as under an attack that does not end, but for the gaps between the days."""
    now = NOW + 12 * DAY
    stretches = [
        seen(NOW + day * DAY + timedelta(seconds=second), 100.0 if second == 1234 else 1.0, 1.0)
        for day in range(12)
        for second in range(1300)
    ]
    ledger.add_history(stretches)
    before = ledger.history(NOW, now, 86400.0)
    while ledger.prune(now):
        pass
    assert rows(ledger) < len(stretches) / 50
    assert ledger.history(NOW, now, 86400.0) == before
    assert ledger.prune(now) == 0, "thinning has an end"


def test_a_minute_is_folded_once_however_often_thinning_is_called(ledger: Ledger) -> None:
    for second in range(0, 86400, 300):
        ledger.add_history([seen(NOW + timedelta(seconds=second), 3)])
        ledger.prune(NOW + timedelta(seconds=second))
    latest = NOW + timedelta(seconds=86400 - THINNED[0][0])
    starts = [one.at for one in ledger.history(NOW, latest - timedelta(minutes=1), 0.000001)]
    assert len({at.replace(second=0) for at in starts}) == len(starts)


def test_history_goes_by_age_and_by_number(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.db", LedgerLimits(keep="1d", rows=1000)) as ledger:  # type: ignore[arg-type]  # as in TOML
        ledger.add_history([seen(NOW - 2 * DAY, 1)])
        ledger.add_history([seen(NOW + timedelta(seconds=i), 1, 1.0) for i in range(1500)])
        while ledger.prune(NOW + timedelta(seconds=1500)):
            pass
        assert rows(ledger) == 1000
        assert ledger.history(NOW - 3 * DAY, NOW, 60) == []


def test_a_ledger_in_use_is_not_waited_for_and_waited_for_again_by_others(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.db", patience_s=60.0) as ledger:
        other = sqlite3.connect(tmp_path / "l.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="kept it locked"):  # at once: the test's own time-out is the proof
            ledger.add_history([seen(NOW, 1)])
        other.execute("ROLLBACK")
        other.close()
        assert ledger._database._connection.execute("PRAGMA busy_timeout").fetchone() == (60_000,)
        ledger.add_history([seen(NOW, 1)])
        assert rows(ledger) == 1


def test_a_clock_set_back_leaves_both_hours_and_divides_by_the_seconds_of_both(ledger: Ledger) -> None:
    ledger.add_history([seen(NOW, 10), seen(NOW, 30)])
    (one,) = ledger.history(NOW, NOW + DAY, 60)
    assert (one.watched_s, one.span_s, one.tracks[Figure.HALF_OPEN].mean) == (20, 10, 20)


def test_a_row_of_a_flood_takes_less_than_half_a_kilobyte(ledger: Ledger, tmp_path: Path) -> None:
    """So that 37,440 rows, the most of 30 days, stay below 20 MB: docs/decisions/0023."""
    tracks = {figure: Track(1.0, 12345.678, 1234.567, 23456.789) for figure in Figure}
    ledger.add_history([Stretch(NOW + timedelta(seconds=i), 1.0, 1.0, 1.0, 1.01, tracks) for i in range(5000)])
    pages, size = (
        ledger._database._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    assert pages * size / 5000 < 512
    most = THINNED[0][0] + THINNED[1][0] // THINNED[0][1] + 30 * 86400 // THINNED[1][1]
    assert most == 37_440


def test_history_in_the_way_of_another_writer_takes_no_patience_from_the_next_ban(tmp_path: Path) -> None:
    """Whoever waits in vain does not wait again; history does not wait at all, which must not count as that."""
    with Ledger.open(tmp_path / "l.db", patience_s=30.0) as ledger:
        other = sqlite3.connect(tmp_path / "l.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="kept it locked"):
            ledger.add_history([seen(NOW, 1)])
        release = threading.Timer(0.3, other.execute, ("ROLLBACK",))
        release.start()
        ledger.record_action(NOW, "x", "waited for")
        release.join()
        other.close()
        assert [one.text for one in ledger.actions_since(NOW)] == ["waited for"]
