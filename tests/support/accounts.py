"""Accounts as reports tell them: a calm week, a day with a flood, a thousand bans, and hostile words everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from synguard.addresses import parse_network
from synguard.doctor.findings import Finding, Level
from synguard.incidents import Incident, Phase
from synguard.ledger import ActionRecord, BanRecord, FalsePositives, Figure, Stretch, Track, VerdictRecord
from synguard.model import Action, Ban, Cause, Evidence, Mode, Origin, Scope, Signal, Verdict, VerdictKind
from synguard.report.account import Account, PossibleFalsePositive
from synguard.report.timeline import Timeline, grain_for

NOW: Final = datetime(2026, 3, 5, 14, 30, tzinfo=UTC)
HOSTILE: Final = (
    """<script>alert(1)</script>"'><img src=x onerror=alert(2)>\x1b]0;x\x07\u202e{{7*7}}&amp;</style></svg>"""
)
"""What an attacker would like a reason, a process or a policy to be called."""


def account(span: timedelta = timedelta(hours=24), **changes: object) -> Account:
    """Return an account of a calm span in dry-run, all of it watched, with these changes."""
    made = Account(
        since=NOW - span,
        until=NOW,
        mode=Mode.DRY_RUN,
        running=True,
        bans=(),
        spared=(),
        spoofed=(),
        watched=0,
        incidents=(),
        possible_false_positives=(),
        actions=(),
        timeline=timeline(span),
        host="web1.example.org",
        clients_watched=True,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields by name


def timeline(
    span: timedelta,
    floods: tuple[tuple[datetime, datetime], ...] = (),
    gaps: tuple[tuple[datetime, datetime], ...] = (),
) -> Timeline:
    """Return a timeline with the ups and downs of a day, floods that fill a queue, and times nobody watched."""
    grain_s = max(grain_for(span.total_seconds()), 10.0)
    return Timeline(NOW - span, NOW, tuple(_stretches(span, grain_s, floods, gaps)))


def _stretches(
    span: timedelta,
    grain_s: float,
    floods: tuple[tuple[datetime, datetime], ...],
    gaps: tuple[tuple[datetime, datetime], ...],
) -> Iterator[Stretch]:
    at = NOW - span
    while at < NOW:
        end = min(at + timedelta(seconds=grain_s), NOW)
        seconds = (end - at).total_seconds()
        if not any(start <= at < stop for start, stop in gaps):
            attacked = any(start < end and at < stop for start, stop in floods)
            day = 1.5 + math.sin(at.timestamp() / 86400 * 2 * math.pi)
            values = {
                Figure.HALF_OPEN: (1.2 * day, 4.0 * day),
                Figure.CONNECTIONS: (60 * day, 90 * day),
                Figure.COMPLETED: (22 * day, 41 * day),
                Figure.COOKIES_SENT: (0.0, 0.0),
                Figure.COOKIES_BACK: (0.0, 0.0),
                Figure.DROPPED: (0.0, 0.0),
                Figure.REFUSED: (0.0, 0.0),
            }
            if attacked:
                values |= {
                    Figure.HALF_OPEN: (96.0, 129.0),
                    Figure.SYNS: (7400.0, 10230.0),
                    Figure.DROPPED: (400.0, 8900.0),
                    Figure.COOKIES_SENT: (3100.0, 9800.0),
                    Figure.COMPLETED: (11.0, 30.0),
                }
            tracks = {figure: Track(seconds, mean * seconds, 0.0, most) for figure, (mean, most) in values.items()}
            yield Stretch(at, seconds, seconds, seconds / 2 if attacked else 0.0, 1.01 if attacked else 0.03, tracks)
        at = end


def would_ban(
    number: int, target: str, at: datetime, value: float = 5113.0, limit: float = 250.0, **changes: object
) -> BanRecord:
    """Return a dry-run ban that lasted two minutes."""
    network = parse_network(target)
    wide = network.prefixlen < network.max_prefixlen
    evidence = Evidence(Signal.SYN_RATE, value, limit, (80,), 128 if wide else 1, value / 6)
    made = Ban(
        id=f"b{number}",
        target=network,
        scope=Scope.NEW,
        action=Action.DROP,
        origin=Origin.AUTO,
        policy="web",
        reason=f"{evidence} on port 80",
        created_at=at,
        expires_at=at + timedelta(minutes=2),
        ports=(80,),
        score=300.0,
        evidence=(evidence,),
        dry_run=True,
    )
    return BanRecord(replace(made, **changes))  # type: ignore[arg-type]  # fields by name


def flooded_day() -> Account:
    """Return a day with two floods, a gap, somebody spared, somebody touched and something to mend."""
    first, second = NOW - timedelta(hours=15), NOW - timedelta(hours=3)
    floods = ((first, first + timedelta(minutes=11)), (second, second + timedelta(minutes=34)))
    gap = (NOW - timedelta(hours=9), NOW - timedelta(hours=7, minutes=40))
    bans = (
        would_ban(1, "198.18.7.0/24", second + timedelta(seconds=1)),
        would_ban(2, "203.0.113.5", second + timedelta(seconds=2), 812.0, 25.0),
        would_ban(3, "2001:db8:7:9::/64", second + timedelta(minutes=3), 344.0, 25.0),
        would_ban(4, "198.18.7.0/24", first + timedelta(seconds=1), 4811.0, times=2),
        would_ban(5, "192.0.2.77", first + timedelta(minutes=5), 31.0, 25.0),
    )
    proven = Evidence(Signal.HALF_OPEN, 91, 64, (80,))
    return account(
        bans=bans,
        incidents=(
            Incident(
                "b99eb4b9", Phase.CALM, "syn-flood", *floods[1], 129, 10230.0, 96, 128, 3, 1, "port 80 nginx[812]"
            ),
            Incident("a1290b11", Phase.CALM, "syn-flood", *floods[0], 129, 9800.0, 80, 128, 2, 0),
        ),
        spared=(
            VerdictRecord(
                Verdict(
                    VerdictKind.SPARE,
                    parse_network("198.51.100.20"),
                    140.0,
                    "web",
                    "proven: completed a handshake 2s ago, and half-open sockets and SYNs can be forged",
                    (proven,),
                    Cause.PROVEN,
                ),
                second,
                second + timedelta(minutes=20),
                14,
                "b99eb4b9",
            ),
        ),
        possible_false_positives=(
            PossibleFalsePositive(
                "198.18.7.0/24", "everybody else in this prefix shares the ban; 128 sources offended", False
            ),
        ),
        actions=(ActionRecord(second, "syn-cookies", "turned SYN cookies on: port 80 overflowed"),),
        timeline=timeline(timedelta(hours=24), floods, (gap,)),
        watched=3,
        false_positives={
            "b1": FalsePositives("b1", 2, ("198.18.7.200", "198.18.7.201"), second + timedelta(seconds=40))
        },
        findings=(
            Finding(
                "backlog of port 80",
                Level.WARN,
                "nginx at 0.0.0.0 takes 128 half-open connections: a small flood fills that",
                "in every `listen 80` of nginx's config: listen 80 backlog=4096; then systemctl restart nginx",
            ),
        ),
    )


def thousand_bans() -> Account:
    """Return a week in which a thousand sources and networks would have been banned."""
    day = flooded_day()
    bans = tuple(
        would_ban(
            number,
            f"198.{18 + number % 2}.{number % 251}.{number // 251 + 1}" if number % 3 else f"2001:db8:{number:x}::/64",
            NOW - timedelta(seconds=number * 577),
            25.0 + number * 7,
            25.0,
        )
        for number in range(1000)
    )
    spared = tuple(
        VerdictRecord(
            Verdict(VerdictKind.SPARE, parse_network(f"203.0.{number // 250}.{number % 250}"), 120.0, "web", "proven"),
            NOW - timedelta(hours=1),
            NOW,
            number % 9 + 1,
        )
        for number in range(1000)
    )
    hurt = tuple(
        PossibleFalsePositive(f"2001:db8:{number:x}::/64", f"peers with a completed connection now: {number}")
        for number in range(500)
    )
    incidents = tuple(
        replace(
            day.incidents[0],
            id=f"i{number}",
            started_at=NOW - timedelta(hours=number),
            ended_at=NOW - timedelta(hours=number, minutes=-9),
        )
        for number in range(1, 160)
    )
    span = timedelta(days=7)
    floods = tuple((one.started_at, one.ended_at or NOW) for one in incidents)
    return account(
        span,
        bans=bans,
        spared=spared,
        possible_false_positives=hurt,
        incidents=incidents,
        timeline=timeline(span, floods),
    )


def hostile() -> Account:
    """Return a flooded day whose every string is hostile."""
    day = flooded_day()
    verdict = replace(day.spared[0].verdict, reason=HOSTILE, policy=HOSTILE)
    spoofed = replace(verdict, kind=VerdictKind.SPOOFED, target=None)
    return replace(
        day,
        host=HOSTILE,
        bans=tuple(BanRecord(replace(one.ban, reason=HOSTILE, policy=HOSTILE), ended_why=HOSTILE) for one in day.bans),
        spared=(replace(day.spared[0], verdict=verdict),),
        spoofed=(replace(day.spared[0], verdict=spoofed),),
        incidents=tuple(replace(one, kind=HOSTILE, note=HOSTILE) for one in day.incidents),
        possible_false_positives=(PossibleFalsePositive(HOSTILE, HOSTILE),),
        actions=(ActionRecord(NOW, HOSTILE, HOSTILE),),
        findings=(Finding(HOSTILE, Level.BAD, HOSTILE, HOSTILE),),
        false_positives={"b1": FalsePositives("b1", 1, (HOSTILE,), NOW)},
        cut=(HOSTILE,),
    )
