"""What `why` tells of an address: each ground once."""

from __future__ import annotations

from datetime import timedelta

from synguard.addresses import parse_network
from synguard.ledger.records import BanRecord, VerdictRecord
from synguard.model import Action, Ban, Evidence, Origin, Scope, Signal, Verdict, VerdictKind
from synguard.report.knowledge import Knowledge, knowledge_lines
from tests.support.accounts import NOW as AT

TARGET = parse_network("203.0.113.0/24")
EVIDENCE = (Evidence(Signal.SYN_RATE, 6_794, 250, (80,)),)
REASON = f"{EVIDENCE[0]} on port 80; dropped"


def told(*verdicts: Verdict) -> list[str]:
    ban = Ban(
        id="a1-7", target=TARGET, scope=Scope.NEW, action=Action.DROP, origin=Origin.AUTO, policy="web",
        reason=REASON, created_at=AT, expires_at=AT + timedelta(minutes=2), ports=(80,), evidence=EVIDENCE,
    )  # fmt: skip
    judged = tuple(VerdictRecord(one, AT, AT, 1, "i1") for one in verdicts)
    known = Knowledge(TARGET, {}, False, {}, (), (BanRecord(ban),), judged, ())
    return list(knowledge_lines(known, AT))


def test_what_ban_and_verdict_say_alike_is_told_once() -> None:
    lines = told(Verdict(VerdictKind.BAN, TARGET, 300.0, "web", REASON, EVIDENCE))
    assert sum(str(EVIDENCE[0]) in line for line in lines) == 1
    assert lines[0].endswith(f": {REASON}")
    assert "      by web" in lines


def test_another_reason_and_evidence_that_it_does_not_name_are_told() -> None:
    lines = told(Verdict(VerdictKind.SPARE, TARGET, 120.0, "web", "proven peer", EVIDENCE))
    assert "      proven peer" in lines
    assert f"      evidence: {EVIDENCE[0]}" in lines
