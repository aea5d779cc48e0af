"""What reports are made of, each by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network

import pytest

from synguard.addresses import parse_network
from synguard.ledger import BanRecord
from synguard.model import Action, Hits, Origin, Scope
from synguard.output.tables import Column, print_table, printable
from synguard.policy.models import Policy
from synguard.readings import Protected
from synguard.report.account import possible_false_positives_in
from synguard.report.ban_table import print_bans
from synguard.report.policy_view import judged_ports
from synguard.report.review import Traces, candidates, grown_between
from synguard.syn_header import SynHeader
from tests.support.bans import ban

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOBODY = Protected({})


def record(
    target: str, seconds: float = 600.0, last_hit: timedelta | None = None, scope: Scope = Scope.NEW
) -> BanRecord:
    made = ban(
        target.replace(".", "-").replace(":", "-").replace("/", "-"), target, scope=scope, seconds=seconds, start=NOW
    )
    return BanRecord(made, last_hit_at=None if last_hit is None else NOW - last_hit)


def test_a_prefix_may_hurt_its_other_addresses_and_a_single_source_may_not() -> None:
    hurt = possible_false_positives_in([record("203.0.113.0/24"), record("198.51.100.1")], {}, NOBODY, NOW)
    assert [one.target for one in hurt] == ["203.0.113.0/24"]


def test_a_prefix_behind_a_translator_hurts_its_other_ipv4_addresses_and_one_address_does_not() -> None:
    behind = Protected({}, embedding=(IPv6Network("2001:db8:64::/96"),))
    translated = [record("2001:db8:64::c000:200/120"), record("2001:db8:64::c000:207/128")]
    hurt = possible_false_positives_in(translated, {}, behind, NOW)
    assert [one.target for one in hurt] == ["2001:db8:64::c000:200/120"]


def test_the_connections_of_a_source_banned_for_its_connections_are_the_offenders_own() -> None:
    peers = {"203.0.113.7": 1}
    assert possible_false_positives_in([record("203.0.113.7", scope=Scope.ALL)], peers, NOBODY, NOW) == ()
    assert len(possible_false_positives_in([record("203.0.113.7", scope=Scope.NEW)], peers, NOBODY, NOW)) == 1


def test_a_ban_that_covers_a_protected_party_names_it() -> None:
    protected = Protected({parse_network("203.0.113.7"): "resolver"})
    (hurt,) = possible_false_positives_in([record("203.0.113.7")], {}, protected, NOW)
    assert "resolver" in hurt.reason


def test_an_ended_ban_hurts_nobody() -> None:
    ended = replace(record("203.0.113.0/24"), ended_at=NOW)
    assert possible_false_positives_in([ended], {}, NOBODY, NOW) == ()


def test_review_takes_what_ends_in_time_soonest_first() -> None:
    records = [record("203.0.113.7", 500), record("203.0.113.8", 100), record("203.0.113.9", 5000)]
    found = candidates(records, NOW, 600.0, Traces(), {})
    assert [str(one.record.ban.target) for one in found] == ["203.0.113.8/32", "203.0.113.7/32"]
    assert len(candidates(records, NOW, None, Traces(), {})) == 3


@pytest.mark.parametrize(
    ("last_hit", "hitting"), [(None, False), (timedelta(seconds=5), True), (timedelta(hours=1), False)]
)
def test_a_target_hits_while_its_last_packet_is_young(last_hit: timedelta | None, hitting: bool) -> None:
    (found,) = candidates([record("203.0.113.7", last_hit=last_hit)], NOW, None, Traces(), {})
    assert found.hitting is hitting


def test_a_count_that_grew_between_two_reads_is_a_target_that_hits() -> None:
    before = {"a": Hits(5, 0), "b": Hits(5, 0)}
    after = {"a": Hits(6, 0), "b": Hits(5, 0), "new": Hits(9, 0)}
    assert grown_between(before, after) == {"a"}


def test_a_port_is_shown_only_by_the_first_policy_that_names_it() -> None:
    web, rest = Policy(name="web", ports="80,443"), Policy(name="rest", ports="any")
    assert judged_ports([web, rest]) == ["80,443", "1-79,81-442,444-65535"]
    assert judged_ports([rest, web])[1] == ""


def test_a_narrow_terminal_loses_columns_and_never_breaks_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    address = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"
    columns = (Column("TARGET"), Column("NOTE", spare=1), Column("LEFT", "right"))
    print_table(columns, [[address, "n" * 60, "1h"]], width=80)
    out = capsys.readouterr().out
    assert address in out
    assert out.splitlines()[0].split() == ["TARGET", "LEFT"]
    assert out.splitlines()[-1] == "not shown in 80 columns: NOTE; all with | less -S"
    assert max(map(len, out.splitlines())) <= 80


def test_bans_at_80_columns_show_why_and_how_to_name_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synguard.output.tables.terminal_width", lambda: 80)
    usual = BanRecord(
        replace(ban("m1f8c22d0aaaa", "203.0.113.128/25"), origin=Origin.MANUAL, reason="scanner"), packets=12345
    )
    print_bans([usual], NOW)
    assert {"ID", "REASON", "PACKETS", "SCOPE"} <= {*capsys.readouterr().out.splitlines()[0].split()}
    print_bans([usual, BanRecord(replace(usual.ban, id="m2", dry_run=True))], NOW)
    out = capsys.readouterr().out
    assert "would ban" in out
    assert "scanner" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_pipe_gets_every_column_of_a_row_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((Column("A"), Column("B", spare=1, fold=True)), [["x", "word " * 100]])
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert "\x1b" not in out


def test_control_characters_are_written_out() -> None:
    assert printable("a\x1b[2J\nb\x7f\u202e") == "a\\x1b[2J\\nb\\x7f\\u202e"


def test_a_challenge_can_hurt_no_one_and_the_drop_of_a_header_only_whose_syns_bear_it() -> None:
    """Each challenge of everybody was said to cover the gateway, and to refuse everybody else in its prefix."""
    protected = Protected({parse_network("192.0.2.1"): "gateway"})
    everybody = record("0.0.0.0/0")
    header = SynHeader((64, 64), 512, 0, 0, 40)
    bans = [
        replace(everybody, ban=replace(everybody.ban, action=Action.CHALLENGE)),
        replace(everybody, ban=replace(everybody.ban, header=header)),
    ]
    (hurt,) = possible_false_positives_in(bans, {"0.0.0.0/0": 3}, protected, NOW)
    assert not hurt.somebody
    assert hurt.reason.startswith("clients that were never served and whose SYNs bear the dropped header (ttl 64-64")
