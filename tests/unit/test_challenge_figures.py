"""What became of the SYNs of challenged targets: counted once, and said the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from synguard.agent.alerts import challenged_words
from synguard.agent.enforcement import Enforcement
from synguard.agent.totals import Totals
from synguard.ledger.records import BanRecord
from synguard.model import Action, Ban, Hits, Mode
from synguard.report.ban_table import counted, state
from synguard.report.shapes import record_shape
from synguard.status.model import ChallengeStatus, FloodStatus, Status, TotalsStatus
from synguard.status.overview import overview, overview_lines
from tests.support.bans import ban
from tests.unit.test_metrics import status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Counted:
    """What ``Totals`` needs of the enforcement."""

    bans: dict[str, Ban]
    hits: dict[str, Hits] = field(default_factory=dict)
    repairs: int = 0

    @property
    def writer(self) -> Counted:
        return self

    def total(self, totals: Totals, **hits: Hits) -> TotalsStatus:
        self.hits = hits
        return totals.status({}, cast("Enforcement", self))


def test_answered_passed_and_limited_are_told_apart_and_grow_with_the_kernel_s_counts() -> None:
    bans = {"c": ban("c", "192.0.2.7", action=Action.CHALLENGE), "l": ban("l", "192.0.2.8", action=Action.LIMIT)}
    totals, counted = Totals(), Counted({**bans, "d": ban("d", "192.0.2.9")})
    counted.total(totals, c=Hits(10, 0, answered=10, passed=2), l=Hits(30, 0, answered=5), d=Hits(7, 0))
    seen = counted.total(totals, c=Hits(14, 0, answered=14, passed=3), l=Hits(31, 0, answered=5), d=Hits(7, 0))
    assert (seen.packets, seen.answered, seen.passed, seen.limited) == (52, 19, 3, 26)
    anew = counted.total(totals, c=Hits(1, 0, answered=1), l=Hits(31, 0, answered=5), d=Hits(7, 0))
    assert (anew.packets, anew.answered) == (53, 20)


def test_syns_that_only_passed_are_counted_too() -> None:
    counted = Counted({"c": ban("c", "192.0.2.7", action=Action.CHALLENGE)})
    assert counted.total(Totals(), c=Hits(0, 0, passed=4)).passed == 4


@pytest.mark.parametrize(
    ("action", "dry_run", "words", "counts"),
    [
        (Action.CHALLENGE, False, "challenged", "9 SYNs answered, 3 passed, last 1m ago"),
        (Action.LIMIT, False, "challenged", "9 SYNs answered, 3 passed, 2 dropped, last 1m ago"),
        (Action.DROP, False, "banned", "11 packets, last 1m ago"),
        (Action.CHALLENGE, True, "would challenge", "nothing counted in a dry run"),
    ],
)
def test_a_ban_says_what_it_does_and_what_it_has_done(action: Action, dry_run: bool, words: str, counts: str) -> None:
    packets = 9 if action is Action.CHALLENGE else 11
    of = ban("c", "192.0.2.7", action=action, dry_run=dry_run, start=NOW)
    answered, passed = (0, 0) if action is Action.DROP else (9, 3)
    record = BanRecord(of, packets=packets, answered=answered, passed=passed, last_hit_at=NOW)
    later = NOW.replace(minute=1)
    assert (state(record, later), counted(record, later)) == (words, counts)
    shape = record_shape(record, later)
    assert [shape[key] for key in ("packets", "answered", "passed", "dropped")] == [
        packets, answered, passed, packets - answered
    ]  # fmt: skip


def seen(told: Status) -> dict[str, Any]:
    return overview(running=True, status=told, mode=told.mode, policies=(), bans_active=2, now=told.started_at)


def test_the_status_and_messages_say_how_many_are_challenged_and_what_became_of_their_syns() -> None:
    totals = TotalsStatus(packets=1200, answered=1000, passed=5, limited=200)
    told = status(challenges=ChallengeStatus(works=True, targets=2), totals=totals)
    line = "challenged targets: 2, since the start 1,000 SYNs answered, 5 passed, 200 over a limit"
    assert line in overview_lines(seen(told))
    assert challenged_words(told) == "targets that are challenged: 2, 1000 SYNs answered, 5 passed, 200 over a limit"


def test_cookies_of_listeners_are_not_told_for_all_while_challenges_answer() -> None:
    """Of 10,000 SYNs that were answered, status said: 75 cookies sent/s, 60 back/s, as of a crowd of clients."""
    told = status(
        challenges=ChallengeStatus(works=True, targets=1),
        flood=FloodStatus(cookies_sent_pps=75, cookies_received_pps=60),
    )
    assert any("75 cookies sent/s without challenges, 60 cookies back/s" in line for line in overview_lines(seen(told)))


def test_where_no_challenge_works_the_status_says_why_and_where_none_is_wanted_nothing() -> None:
    why = ChallengeStatus(why_not="the kernel describes no types")
    assert "challenges: none, the kernel describes no types" in overview_lines(
        seen(status(challenges=why, totals=TotalsStatus()))
    )
    assert not [line for line in overview_lines(seen(status(totals=TotalsStatus()))) if "challenge" in line]


def test_in_dry_run_messages_say_who_would_be_challenged() -> None:
    told = status(mode=Mode.DRY_RUN, challenges=ChallengeStatus(works=True, targets=2))
    assert challenged_words(told) == "targets that would be challenged: 2"
