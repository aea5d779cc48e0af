"""What the ledger keeps and gives back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synguard.addresses import parse_network
from synguard.errors import LedgerError
from synguard.incidents import Incident, Phase
from synguard.ledger import ActionRecord, Ledger, Offence
from synguard.ledger import verdicts as verdict_table
from synguard.model import Action, Ban, Evidence, Hits, Origin, Scope, Signal, Verdict, VerdictKind
from synguard.policy.models import LedgerLimits
from synguard.syn_header import SynHeader

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
EVIDENCE = (Evidence(Signal.SYN_RATE, 812.5, 100.0, (80, 443), 3, 12.25), Evidence(Signal.HALF_OPEN, 312.0, 64.0))


def ban(id_: str, target: str = "192.0.2.7", **changes: object) -> Ban:
    made = Ban(
        id=id_,
        target=parse_network(target),
        scope=Scope.NEW,
        action=Action.DROP,
        origin=Origin.AUTO,
        policy="web",
        reason="syn_rate 812/s / 100",
        created_at=NOW,
        expires_at=NOW + timedelta(minutes=10),
        ports=(80, 443),
        score=170.5,
        times=2,
        evidence=EVIDENCE,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def manual(id_: str, target: str = "192.0.2.7", **changes: object) -> Ban:
    wanted: dict[str, object] = {"origin": Origin.MANUAL, "scope": Scope.ALL, "ports": (), "policy": ""}
    return ban(id_, target, **{**wanted, **changes})


def verdict(
    target: str | None, kind: VerdictKind = VerdictKind.WATCH, score: float = 50.0, **changes: object
) -> Verdict:
    network = parse_network(target) if target else None
    return replace(Verdict(kind, network, score, "web", "half way", EVIDENCE), **changes)  # type: ignore[arg-type]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "state" / "ledger.db") as opened:
        yield opened


@pytest.mark.parametrize("target", ["192.0.2.7", "192.0.2.0/24", "2001:db8:1:2::/64", "2001:db8::1", "::/0"])
def test_a_ban_comes_back_as_it_was_written(ledger: Ledger, target: str) -> None:
    written = ban("a1", target, dry_run=False)
    ledger.add_bans([written])
    assert ledger.active_bans(NOW) == {"a1": written}
    (record,) = ledger.bans_since(NOW)
    assert record.ban == written
    assert (record.ended_at, record.packets, record.last_hit_at) == (None, 0, None)
    assert record.stands(NOW)


def test_a_permanent_forced_manual_ban_comes_back_as_it_was_written(ledger: Ledger) -> None:
    written = manual("m1", expires_at=None, forced=True, action=Action.REJECT)
    ledger.add_bans([written])
    assert ledger.active_bans(NOW + timedelta(days=10_000)) == {"m1": written}


def test_a_ban_stands_until_its_expiry_and_not_a_microsecond_longer(ledger: Ledger) -> None:
    ledger.add_bans([ban("a1")])
    expiry = NOW + timedelta(minutes=10)
    assert ledger.active_bans(expiry - timedelta(microseconds=1))
    assert not ledger.active_bans(expiry)


def test_a_clock_that_jumps_ahead_and_back_ends_nothing_for_good(ledger: Ledger) -> None:
    ledger.add_bans([ban("a1")])
    assert not ledger.active_bans(NOW + timedelta(days=365))
    assert set(ledger.active_bans(NOW)) == {"a1"}


def test_would_be_bans_and_real_ones_are_kept_apart(ledger: Ledger) -> None:
    ledger.add_bans([ban("real"), ban("would", dry_run=True)])
    assert set(ledger.active_bans(NOW)) == {"real"}
    assert set(ledger.active_bans(NOW, dry_run=True)) == {"would"}
    assert {record.ban.id for record in ledger.active_records(NOW)} == {"real", "would"}


def test_a_new_ban_takes_the_place_of_the_same_one(ledger: Ledger) -> None:
    later = NOW + timedelta(minutes=1)
    ledger.add_bans([ban("a1")])
    ledger.add_bans([ban("a2", created_at=later, ports=(443, 80)), ban("other", ports=(22,))])
    assert set(ledger.active_bans(later)) == {"a2", "other"}
    ended = {record.ban.id: (record.ended_at, record.ended_why) for record in ledger.bans_since(NOW)}
    assert ended["a1"] == (later, "replaced")
    assert ended["a2"] == (None, "")


def test_of_the_same_ban_twice_in_one_batch_the_last_stands(ledger: Ledger) -> None:
    ledger.add_bans([ban("a1"), ban("a2")])
    assert set(ledger.active_bans(NOW)) == {"a2"}
    assert len(ledger.bans_since(NOW)) == 2


def test_a_expired_ban_whose_place_is_taken_has_expired_and_was_not_replaced(ledger: Ledger) -> None:
    ledger.add_bans([ban("a1")])
    ledger.add_bans([ban("a2", created_at=NOW + timedelta(hours=1), expires_at=NOW + timedelta(hours=2))])
    (record,) = [record for record in ledger.bans_since(NOW) if record.ban.id == "a1"]
    assert (record.ended_at, record.ended_why) == (NOW + timedelta(minutes=10), "expired")


def test_an_automatic_ban_does_not_replace_a_persons_order(ledger: Ledger) -> None:
    order = manual("m1", expires_at=None)
    ledger.add_bans([order])
    ledger.add_bans([ban("a1", scope=Scope.ALL, ports=())])
    assert ledger.active_bans(NOW) == {"m1": order}
    assert ledger.offences(NOW) == {}


def test_an_automatic_ban_may_follow_a_persons_order_that_has_expired(ledger: Ledger) -> None:
    ledger.add_bans([manual("m1")])
    later = NOW + timedelta(hours=1)
    ledger.add_bans([ban("a1", scope=Scope.ALL, ports=(), created_at=later, expires_at=later + timedelta(hours=1))])
    assert set(ledger.active_bans(later)) == {"a1"}


def test_an_id_that_is_taken_fails_the_whole_batch(ledger: Ledger) -> None:
    ledger.add_bans([ban("a1")])
    with pytest.raises(LedgerError, match=r"ledger\.db"):
        ledger.add_bans([ban("b1", "198.51.100.1"), ban("a1", "198.51.100.2")])
    assert set(ledger.active_bans(NOW)) == {"a1"}


def test_ended_bans_no_longer_stand_and_say_why(ledger: Ledger) -> None:
    ledger.add_bans([ban("a1"), ban("a2", "198.51.100.1")])
    ledger.end_bans(["a1", "unknown"], NOW + timedelta(seconds=5), "unbanned by root")
    ledger.end_bans(["a1"], NOW + timedelta(seconds=9), "again")
    assert set(ledger.active_bans(NOW)) == {"a2"}
    (record,) = ledger.bans_of(parse_network("192.0.2.7"))
    assert (record.ended_at, record.ended_why) == (NOW + timedelta(seconds=5), "unbanned by root")
    assert not record.stands(NOW)


def test_an_expiry_can_be_moved_while_the_ban_stands(ledger: Ledger) -> None:
    ledger.add_bans([ban("a1")])
    assert set(ledger.active_bans(NOW)) == {"a1"}
    until = NOW + timedelta(hours=3)
    ledger.change_expiries({"a1": until}, NOW)
    assert ledger.active_bans(NOW)["a1"].expires_at == until


def test_an_expiry_cannot_be_moved_once_the_ban_has_expired_or_taken_from_an_automatic_one(ledger: Ledger) -> None:
    ledger.add_bans([ban("a1"), manual("m1", "198.51.100.1")])
    with pytest.raises(LedgerError, match="no ban with id a1 stands"):
        ledger.change_expiries({"a1": NOW + timedelta(days=2)}, NOW + timedelta(days=1))
    with pytest.raises(LedgerError, match="automatic and must expire"):
        ledger.change_expiries({"m1": None, "a1": None}, NOW)
    assert ledger.active_bans(NOW)["m1"].expires_at is not None, "all or none"
    ledger.change_expiries({"m1": None}, NOW)
    assert ledger.active_bans(NOW)["m1"].expires_at is None


def test_bans_are_told_newest_first_in_pages(ledger: Ledger) -> None:
    ledger.add_bans([ban(f"b{i}", f"192.0.2.{i}", created_at=NOW + timedelta(seconds=i)) for i in range(5)])
    ids = [record.ban.id for record in ledger.bans_since(NOW + timedelta(seconds=1), limit=2, offset=1)]
    assert ids == ["b3", "b2"]


def test_bans_of_a_network_are_those_inside_it_and_those_around_it(ledger: Ledger) -> None:
    targets = ["192.0.2.7", "192.0.2.0/24", "192.0.0.0/16", "192.0.3.0/24", "192.0.2.128/25", "2001:db8::/32", "::/0"]
    ledger.add_bans([ban(f"b{i}", target) for i, target in enumerate(targets)])

    def found(network: str) -> set[str]:
        return {str(record.ban.target) for record in ledger.bans_of(parse_network(network))}

    assert found("192.0.2.7") == {"192.0.2.7/32", "192.0.2.0/24", "192.0.0.0/16"}
    assert found("192.0.2.0/24") == {"192.0.2.7/32", "192.0.2.0/24", "192.0.0.0/16", "192.0.2.128/25"}
    assert found("2001:db8::5") == {"2001:db8::/32", "::/0"}
    assert found("203.0.113.1") == set()


def test_offences_count_automatic_bans_of_the_same_kind_within_memory(ledger: Ledger) -> None:
    hour = timedelta(hours=1)
    for i in range(3):
        ledger.add_bans([ban(f"a{i}", created_at=NOW + i * hour, expires_at=NOW + i * hour + timedelta(minutes=10))])
    ledger.add_bans([ban("dry", dry_run=True), manual("m1", "203.0.113.9")])
    assert ledger.offences(NOW + hour) == {parse_network("192.0.2.7"): Offence(2, NOW + 2 * hour)}
    assert ledger.offences(NOW, dry_run=True) == {parse_network("192.0.2.7"): Offence(1, NOW)}


def test_hits_are_summed_over_a_kernel_that_began_again_at_zero(ledger: Ledger) -> None:
    ledger.add_bans([ban("a1")])

    def after(packets: int, seconds: int) -> tuple[int, int, datetime | None]:
        ledger.record_hits({"a1": Hits(packets, packets * 60), "gone": Hits(1, 1)}, NOW + timedelta(seconds=seconds))
        (record,) = ledger.bans_since(NOW)
        return record.packets, record.bytes, record.last_hit_at

    assert after(0, 1) == (0, 0, None)
    assert after(10, 2) == (10, 600, NOW + timedelta(seconds=2))
    assert after(10, 3) == (10, 600, NOW + timedelta(seconds=2))
    assert after(0, 4) == (10, 600, NOW + timedelta(seconds=2))
    assert after(5, 5) == (15, 900, NOW + timedelta(seconds=5))
    assert after(2**64 - 1, 6)[0] == 2**63 - 1


def test_a_challenge_of_everybody_and_a_drop_of_one_header_come_back_as_they_were_written(ledger: Ledger) -> None:
    everybody = ban("a1", "0.0.0.0/0", action=Action.CHALLENGE, ports=(80,))
    one_header = ban("a2", "0.0.0.0/0", ports=(80,), header=SynHeader((40, 64), 512, 0, 0xFE, 40))
    ledger.add_bans([everybody, one_header])
    assert ledger.active_bans(NOW) == {"a1": everybody, "a2": one_header}


def test_the_next_step_against_a_target_takes_the_place_of_the_one_before(ledger: Ledger) -> None:
    for number, action in enumerate((Action.CHALLENGE, Action.LIMIT, Action.DROP)):
        ledger.add_bans([ban(f"a{number}", action=action)])
    assert set(ledger.active_bans(NOW)) == {"a2"}


def test_answered_and_passed_syns_are_summed_over_a_program_that_was_loaded_again(ledger: Ledger) -> None:
    ledger.add_bans([ban("a1", action=Action.CHALLENGE)])

    def after(hits: Hits) -> tuple[int, int, int]:
        ledger.record_hits({"a1": hits}, NOW)
        (record,) = ledger.bans_since(NOW)
        return record.packets, record.answered, record.passed

    assert after(Hits(10, 600, answered=8, passed=2)) == (10, 8, 2)
    assert after(Hits(10, 600, answered=8, passed=3)) == (10, 8, 3)
    assert after(Hits(4, 240, answered=4, passed=1)) == (14, 12, 4)


def test_verdicts_of_one_target_in_one_incident_are_one_row(ledger: Ledger) -> None:
    for i, score in enumerate((50.0, 90.0, 70.0)):
        ledger.record_verdicts([verdict("192.0.2.7", score=score, reason=f"no {i}")], NOW + timedelta(seconds=i), "i1")
    ledger.record_verdicts([verdict("192.0.2.7", VerdictKind.BAN)], NOW, "i1")
    ledger.record_verdicts([verdict("192.0.2.7")], NOW, "i2")
    watch = [r for r in ledger.verdicts_since(NOW) if r.verdict.kind is VerdictKind.WATCH and r.incident == "i1"]
    (record,) = watch
    assert (record.times, record.verdict.score, record.verdict.reason) == (3, 90.0, "no 2")
    assert (record.first_at, record.last_at) == (NOW, NOW + timedelta(seconds=2))
    assert record.verdict.evidence == EVIDENCE
    assert len(ledger.verdicts_since(NOW)) == 3


def test_a_verdict_about_a_whole_flood_has_no_target(ledger: Ledger) -> None:
    ledger.record_verdicts([verdict(None, VerdictKind.SPOOFED)], NOW, "i1")
    (record,) = ledger.verdicts_since(NOW)
    assert record.verdict.target is None
    assert not record.others


def test_verdicts_in_calm_times_are_kept_by_the_day(ledger: Ledger) -> None:
    for hours in (0, 1, 24):
        ledger.record_verdicts([verdict("2001:db8::/64")], NOW + timedelta(hours=hours))
    assert [(record.times, record.incident) for record in ledger.verdicts_since(NOW)] == [(1, None), (2, None)]
    assert len(ledger.verdicts_of(parse_network("2001:db8::1"))) == 2


def test_an_attacker_with_many_addresses_does_not_grow_the_ledger(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict_table, "TARGETS_KEPT", 10)
    for second in range(3):
        crowd = [verdict(f"10.0.{second}.{i}", score=float(i)) for i in range(100)]
        ledger.record_verdicts(crowd, NOW + timedelta(seconds=second), "i1")
    ledger.record_verdicts([verdict("192.0.2.7", VerdictKind.BAN)], NOW, "i1")
    records = ledger.verdicts_since(NOW)
    (others,) = [record for record in records if record.others]
    assert len(records) == 10 + 1 + 1
    assert others.times == 290
    assert others.verdict.score == 99.0
    assert others.verdict.target is None
    assert [record.verdict.kind for record in ledger.verdicts_of(parse_network("192.0.2.7"))] == [VerdictKind.BAN]


def test_an_incident_is_written_over_its_earlier_state(ledger: Ledger) -> None:
    begun = Incident("i1", Phase.ATTACK, "syn-flood", NOW, peak_half_open=129)
    ended = replace(
        begun,
        phase=Phase.CALM,
        ended_at=NOW + timedelta(minutes=3),
        peak_syn_pps=9876.5,
        sources=128,
        bans=128,
        note="x",
    )
    ledger.save_incident(begun)
    ledger.save_incident(ended)
    assert ledger.incidents_since(NOW + timedelta(minutes=2)) == [ended]
    assert ledger.incidents_since(NOW + timedelta(minutes=4)) == []


def test_an_incident_under_way_is_told_whenever_it_began(ledger: Ledger) -> None:
    begun = Incident("i1", Phase.ATTACK, "syn-flood", NOW)
    ledger.save_incident(begun)
    assert ledger.incidents_since(NOW + timedelta(days=9)) == [begun]


def test_actions_are_told_latest_first(ledger: Ledger) -> None:
    for i in range(3):
        ledger.record_action(NOW + timedelta(seconds=i), "cookies", f"step {i}")
    assert ledger.actions_since(NOW + timedelta(seconds=1)) == [
        ActionRecord(NOW + timedelta(seconds=2), "cookies", "step 2"),
        ActionRecord(NOW + timedelta(seconds=1), "cookies", "step 1"),
    ]


def pruned(ledger: Ledger, now: datetime) -> int:
    gone = total = ledger.prune(now)
    while gone:
        gone = ledger.prune(now)
        total += gone
    return total


def test_old_records_go_and_standing_bans_stay(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.db", LedgerLimits(keep="1d")) as ledger:  # type: ignore[arg-type]  # as in TOML
        ledger.add_bans([ban("old"), manual("permanent", "198.51.100.1", expires_at=None)])
        ledger.add_bans([ban("long", "203.0.113.1", expires_at=NOW + timedelta(days=9))])
        ledger.record_verdicts([verdict("192.0.2.7")], NOW)
        ledger.record_action(NOW, "x", "y")
        ledger.save_incident(Incident("i", Phase.CALM, "syn-flood", NOW, ended_at=NOW))
        assert ledger.prune(NOW + timedelta(hours=23)) == 0
        assert pruned(ledger, NOW + timedelta(days=2)) == 4
        assert {record.ban.id for record in ledger.bans_since(NOW)} == {"permanent", "long"}


def test_rows_beyond_the_bound_go_oldest_first_and_standing_bans_stay(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.db", LedgerLimits(rows=1000)) as ledger:
        active_bans = [ban(f"s{i}", f"10.0.{i // 256}.{i % 256}") for i in range(1200)]
        ledger.add_bans(active_bans)
        ledger.add_bans([ban(f"d{i}", f"10.9.0.{i}") for i in range(50)])
        ledger.end_bans([f"d{i}" for i in range(50)], NOW, "x")
        for i in range(1010):
            ledger.record_action(NOW, "x", str(i))
        assert pruned(ledger, NOW) == 50 + 10
        assert len(ledger.active_bans(NOW)) == 1200
        assert ledger.actions_since(NOW, limit=5000)[-1].text == "10"


def test_a_naive_time_is_a_programmers_mistake(ledger: Ledger) -> None:
    with pytest.raises(TypeError):
        ledger.active_bans(datetime(2026, 3, 1))


def test_a_list_of_20000_bans_goes_in_as_one_transaction(ledger: Ledger) -> None:
    bans = [manual(f"m{i}", f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", evidence=()) for i in range(20_000)]
    ledger.add_bans(bans)
    assert len(ledger.active_bans(NOW)) == 20_000
