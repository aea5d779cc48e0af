"""The verdict of a report, what it says is not known, and what it advises."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from synguard.doctor.findings import Finding, Level
from synguard.ledger import OVERLOOKED, ActionRecord, BanRecord, FalsePositives
from synguard.model import Evidence, Mode, Origin, Scope, Signal
from synguard.report.account import PossibleFalsePositive
from synguard.report.html_rows import tiles
from synguard.report.judgement import judged
from synguard.report.next_steps import advice, next_command
from synguard.report.timeline import Timeline
from tests.support.accounts import NOW, account, flooded_day, would_ban

BANS = (would_ban(1, "198.18.7.0/24", NOW - timedelta(hours=2)), would_ban(2, "203.0.113.5", NOW - timedelta(hours=1)))
SINCE = "Wednesday 2026-03-04 14:30:00 UTC"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_a_clean_dry_run_says_so_and_leads_to_a_trial() -> None:
    told = account(bans=BANS)
    judgement = judged(told)
    assert judgement.headline == (
        f"Had you enforced since {SINCE}: 2 bans, 0 served clients refused, 0 decisions worth a look."
    )
    assert judgement.unknown == ()
    assert next_command(told, judgement) == "synguard enable --confirm-within 5m"
    assert advice(told, judgement)[-1].how == "synguard enable --confirm-within 5m"


def test_a_quiet_day_has_nothing_to_tell_and_nothing_unknown() -> None:
    told = account()
    judgement = judged(told)
    assert "0 bans, 0 served clients refused, 0 decisions worth a look" in judgement.headline
    assert judgement.paragraph.endswith("An agent watched all of these 1d.")


def test_clients_that_would_have_been_turned_away_are_counted_and_named() -> None:
    told = account(bans=BANS, false_positives={"b1": FalsePositives("b1", 3, ("198.18.7.9",), NOW)})
    judgement = judged(told)
    assert judgement.false_positives == 3
    assert "2 bans, 3 served clients refused, 1 decision worth a look" in judgement.headline
    (look,) = judgement.looks
    assert look.target == "198.18.7.0/24"
    assert look.reasons == ("3 clients in it would have been turned away: 198.18.7.9",)
    assert next_command(told, judgement) == "synguard why 198.18.7.0/24"
    assert all("enable" not in step.how for step in advice(told, judgement))


def test_where_no_agent_looked_for_touched_clients_their_number_is_not_known() -> None:
    judgement = judged(account(bans=BANS, clients_watched=False))
    assert judgement.false_positives is None
    assert "served clients refused: not known" in judgement.headline
    assert any("no agent looked" in sentence for sentence in judgement.unknown)


def test_nothing_is_known_of_a_host_without_history() -> None:
    told = account(timeline=Timeline(NOW - timedelta(days=1), NOW), clients_watched=False, running=False)
    judgement = judged(told)
    assert judgement.false_positives is None
    assert "No attack is known of." in judgement.sentences
    assert "No agent runs now." in judgement.sentences
    assert next_command(told, judgement) == "synguard run"


def test_a_close_call_and_somebody_connected_are_worth_a_look_those_that_hurt_first() -> None:
    close = would_ban(3, "192.0.2.77", NOW, 30.0, 25.0)
    hurt = (
        PossibleFalsePositive("203.0.113.5", "peers with a completed connection now: 1"),
        PossibleFalsePositive("198.18.7.0/24", "shares", False),
    )
    looks = judged(account(bans=(close, *BANS), possible_false_positives=hurt)).looks
    assert [(look.target, look.reasons) for look in looks] == [
        ("203.0.113.5", ("peers with a completed connection now: 1",)),
        ("192.0.2.77", ("a close call: 1.2 times its limit",)),
    ]


def test_enforcing_is_told_in_its_own_words() -> None:
    real = BanRecord(replace(BANS[0].ban, dry_run=False), packets=1234)
    by_hand = BanRecord(replace(BANS[1].ban, dry_run=False, origin=Origin.MANUAL), packets=1)
    told = account(bans=(real, by_hand), mode=Mode.ENFORCE)
    judgement = judged(told)
    assert judgement.headline == (
        f"Since {SINCE}: 1 automatic ban, 1 more by hand, 1,235 packets stopped, 0 decisions worth a look."
    )
    assert "Had you" not in judgement.paragraph
    assert next_command(told, judgement) == "synguard review"
    quiet = judged(account(mode=Mode.ENFORCE))
    assert quiet.headline.startswith(f"Enforcing since {SINCE}: no ban was needed")


def test_tiles_and_sentence_are_of_one_count() -> None:
    """A tile said 10 automatic bans, the sentence below it 7 and 3 dry-run bans."""
    real = BanRecord(replace(BANS[0].ban, dry_run=False), packets=4)
    told = account(bans=(real, *(would_ban(n, f"203.0.113.{n}", NOW - timedelta(hours=1)) for n in (2, 3))))
    judgement = judged(told)
    assert "1 automatic ban and 2 dry-run bans, 4 packets stopped" in judgement.headline
    assert [(tile["name"], tile["value"]) for tile in tiles(told, judgement)[:2]] == [
        ("automatic bans", "1"),
        ("dry-run bans", "2"),
    ]
    trial = account(bans=told.bans[1:], mode=Mode.ENFORCE)
    assert "0 automatic bans and 2 dry-run bans" in judged(trial).headline


def test_gaps_full_queues_and_what_was_cut_are_said_to_be_not_known() -> None:
    judgement = judged(replace(flooded_day(), cut=("What the bans before the latest 20,000 were.",)))
    gap, full, kept_out, cut = judgement.unknown
    assert "1 gap from 2026-03-05 05:30:00 UTC to 2026-03-05 06:50:00 UTC" in gap
    assert "The true count was higher" in full
    assert "a handshake that is never completed names no client" in kept_out
    assert cut.startswith("What the bans before")


def test_the_host_s_faults_come_first_the_worst_ahead() -> None:
    findings = (
        Finding("backlog of port 80", Level.WARN, "small", "raise it"),
        Finding("exposed ports", Level.OK, "80"),
        Finding("SYN cookies", Level.BAD, "off", "sysctl -w net.ipv4.tcp_syncookies=1"),
    )
    told = account(findings=findings)
    steps = advice(told, judged(told))
    assert [step.what for step in steps[:2]] == ["Fix: SYN cookies", "Fix: backlog of port 80"]
    assert steps[0].how == "sysctl -w net.ipv4.tcp_syncookies=1"


def test_people_behind_one_address_are_candidates_for_the_allow_list() -> None:
    crowd = would_ban(
        7, "192.0.2.44", NOW, scope=Scope.ALL, ports=(), evidence=(Evidence(Signal.CONNECTIONS, 520, 400),)
    )
    flood = would_ban(
        8, "192.0.2.45", NOW, scope=Scope.ALL, ports=(), evidence=(Evidence(Signal.CONNECTIONS, 9000, 400),)
    )
    told = replace(flooded_day(), bans=(crowd, flood))
    step = next(one for one in advice(told, judged(told)) if one.what == "Allow those you know")
    assert step.how == "synguard allow add 198.51.100.20 192.0.2.44"


def test_a_short_dry_run_is_advised_to_go_on() -> None:
    told = account(timedelta(hours=1))
    steps = advice(told, judged(told))
    assert steps[-1].what == "Run in dry-run for a day"
    for bans in ((), BANS):  # also where it has seen an attack: little was watched all the same
        short = account(timedelta(hours=1), bans=bans)
        assert next_command(short, judged(short)) != "synguard enable --confirm-within 5m"


def test_every_advised_command_is_one_that_is_understood() -> None:
    from tests.unit.test_docs import parse

    for told in (flooded_day(), account(), account(bans=BANS), account(running=False, clients_watched=False)):
        judgement = judged(told)
        lines = [next_command(told, judgement)]
        lines += [line for step in advice(told, judgement) for line in step.how.splitlines()]
        for line in lines:
            if line.startswith("synguard "):
                parse(line.split()[1:])


def test_a_ban_by_hand_makes_no_enforcement_of_a_dry_run() -> None:
    by_hand = BanRecord(replace(BANS[1].ban, dry_run=False, origin=Origin.MANUAL), packets=9)
    judgement = judged(account(bans=(BANS[0], by_hand)))
    assert judgement.headline.startswith("Had you enforced since")
    assert "1 ban, 0 served clients refused" in judgement.headline
    assert "1 ban made by hand, which dry-run carries out." in judgement.sentences


def test_that_there_were_too_many_clients_to_look_at_is_said() -> None:
    told = account(bans=BANS, actions=(ActionRecord(NOW, OVERLOOKED, "more than 65536 clients at once"),))
    assert any("there may be others" in sentence for sentence in judged(told).unknown)
