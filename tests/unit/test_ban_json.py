"""A list of bans as JSON text: the same, letter for letter, as one made of objects."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synguard.ban_order import BanOrder
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.ledger.listing import Choice
from synguard.model import Action, Evidence, Hits, Origin, Scope, Signal
from synguard.report.ban_json import ban_objects
from synguard.report.shapes import record_shape
from synguard.syn_header import SynHeader
from tests.support.bans import ban

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
EVIDENCE = (
    Evidence(Signal.SYN_RATE, 1234.5, 25.0, (80, 443), 3, 12.25),
    Evidence(Signal.HALF_OPEN, 312.0, 64.0),
)
BANS = (
    replace(ban("a", "192.0.2.7", Scope.ALL, seconds=None, start=NOW), reason='said "no" \\ é\n\x1b[2J'),
    replace(ban("b", "2001:db8::/64", ports=(443, 80), start=NOW), evidence=EVIDENCE, score=1e22, times=3),
    replace(ban("c", "198.51.100.0/24", action=Action.CHALLENGE, start=NOW), dry_run=True),
    replace(
        ban("h", "0.0.0.0/0", ports=(80,), start=NOW),
        header=SynHeader((1, 64), 512, 1460, 7, 60),
        origin=Origin.CROWDSEC,
    ),
    replace(ban("d", "203.0.113.9", start=NOW - timedelta(hours=3), seconds=60), forced=True, score=0.1),
    replace(ban("e", "203.0.113.10", start=NOW, seconds=1.5), origin=Origin.MANUAL, policy="it's"),
)


@pytest.mark.parametrize("held", [None, frozenset(), frozenset({"192.0.2.7", "2001:db8::/64", "198.51.100.0/24"})])
def test_the_text_is_what_the_records_would_give(tmp_path: Path, held: frozenset[str] | None) -> None:
    with Ledger.open(tmp_path / "state" / LEDGER_FILE) as ledger:
        ledger.add_bans(BANS)
        ledger.record_hits({"a": Hits(7, 420, 3, 1)}, NOW)
        ledger.end_bans(["e"], NOW + timedelta(seconds=1), "unbanned by hand")
        every = Choice(begun_since=NOW - timedelta(days=1))
        rows = ledger.list_rows(every, BanOrder.TARGET, NOW)
        texts = list(ban_objects(rows, NOW, held))
        records = list(ledger.list_bans(every, BanOrder.TARGET, NOW))
    inside = {
        one.ban.id: None if held is None else one.ban.id in "ab" and bool(held)
        for one in records
        if one.stands(NOW) and not one.ban.dry_run
    }
    shapes = [record_shape(one, NOW) | {"in_kernel": inside.get(one.ban.id, False)} for one in records]
    for text, shape in zip(texts, shapes, strict=True):
        assert text == json.dumps(shape)
    assert len(texts) == len(BANS)
