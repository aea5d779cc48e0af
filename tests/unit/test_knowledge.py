"""What `why` tells of an address: each ground once."""

from __future__ import annotations

from datetime import timedelta

from synguard.addresses import parse_network
from synguard.ledger.records import BanRecord, VerdictRecord
from synguard.model import Action, Ban, Evidence, Origin, Scope, Signal, Verdict, VerdictKind
from synguard.report.knowledge import Knowledge, knowledge_lines, knowledge_shape
from tests.support.accounts import NOW as AT

TARGET = parse_network("203.0.113.0/24")
EVIDENCE = (Evidence(Signal.SYN_RATE, 6_794, 250, (80,)),)
REASON = f"{EVIDENCE[0]} on port 80; dropped"


def ban_of(target: str, scope: Scope = Scope.NEW, action: Action = Action.DROP) -> BanRecord:
    return BanRecord(Ban(
        id=f"of {target}", target=parse_network(target), scope=scope, action=action, origin=Origin.AUTO, policy="web",
        reason=REASON, created_at=AT, expires_at=AT + timedelta(minutes=2), evidence=EVIDENCE,
        ports=() if scope is Scope.ALL else (80,),
    ))  # fmt: skip


def asked(word: str, *bans: BanRecord, protected: str = "") -> Knowledge:
    parties = {parse_network(protected): "added"} if protected else {}
    return Knowledge(parse_network(word), parties, False, {}, (), bans, (), ())


def told(*verdicts: Verdict) -> list[str]:
    ban = ban_of("203.0.113.0/24")
    judged = tuple(VerdictRecord(one, AT, AT, 1, "i1") for one in verdicts)
    known = Knowledge(TARGET, {}, False, {}, (), (ban,), judged, ())
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


def test_a_prefix_in_which_one_address_is_banned_is_not_called_banned() -> None:
    """Of a /24 in which one address was challenged, `why` said: is challenged."""
    inside = (ban_of("203.0.113.7", action=Action.CHALLENGE), ban_of("203.0.113.9"))
    known = asked("203.0.113.0/24", *inside)
    expected = "203.0.113.0/24 is not banned as a whole; challenged in it: 203.0.113.7; banned in it: 203.0.113.9"
    assert next(knowledge_lines(known, AT)) == expected
    assert knowledge_shape(known, AT)["banned"] is False


def test_a_prefix_that_holds_someone_protected_is_not_called_protected() -> None:
    first = next(knowledge_lines(asked("10.0.0.0/8", protected="10.0.0.1"), AT))
    assert first == "10.0.0.0/8 is not banned; it holds whom synguard protects"


def test_of_two_bans_the_one_that_stops_more_is_the_answer() -> None:
    """A scraper that was banned by hand was said to be challenged, by the prefix around it."""
    around, own = ban_of("203.0.113.0/24", action=Action.CHALLENGE), ban_of("203.0.113.7", Scope.ALL)
    for bans in ((around, own), (own, around)):
        assert next(knowledge_lines(asked("203.0.113.7", *bans), AT)).startswith("203.0.113.7 is banned until ")


def test_a_protected_address_in_a_banned_prefix_is_not_called_banned() -> None:
    """Its packets pass the ban, and `why` said: is banned, and two lines below: protected."""
    known = asked("203.0.113.7", ban_of("203.0.113.0/24"), protected="203.0.113.7")
    expected = "203.0.113.7 is protected: its packets pass the ban of 203.0.113.0/24"
    assert next(knowledge_lines(known, AT)) == expected
    assert knowledge_shape(known, AT)["banned"] is False
