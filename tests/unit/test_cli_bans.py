"""ban and unban: everything is looked at before anything is written."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from synguard.errors import LedgerError, PlaneError
from synguard.ledger import Ledger
from synguard.socket_table import TcpState
from tests.support.cli_host import GATEWAY, OWN, CliHost


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    return CliHost(tmp_path, monkeypatch)


def test_a_ban_stands_in_ledger_and_kernel_and_unban_takes_it_out_of_both(host: CliHost) -> None:
    ran = host.run("ban", "203.0.113.7", "2001:db8:7::/64", "--for", "2h")
    assert ran.code == 0, ran.err
    assert "undo: synguard unban 203.0.113.7 2001:db8:7::/64" in ran.out
    assert host.active_bans() == host.held() == {"203.0.113.7/32", "2001:db8:7::/64"}
    assert host.run("unban", "203.0.113.7", "2001:db8:7::/64").code == 0
    assert host.active_bans() == host.held() == set()


def test_an_ipv4_mapped_target_is_banned_as_ipv4(host: CliHost) -> None:
    assert host.run("ban", "::ffff:203.0.113.7").code == 0
    assert host.held() == {"203.0.113.7/32"}


@pytest.mark.parametrize("target", [GATEWAY, "192.0.2.128/25", "0.0.0.0/7", "2000::/16"])
def test_a_refused_target_changes_nothing(host: CliHost, target: str) -> None:
    ran = host.run("ban", target)
    assert ran.code == 3
    assert ran.err.startswith("synguard: ")
    assert host.records() == []
    assert host.held() == set()


@pytest.mark.parametrize("target", [OWN, "192.0.2.0/24", "127.0.0.1", "127.0.0.0/8", "0.0.0.0/0", "::/0", "::1"])
def test_own_addresses_and_loopback_are_refused_even_with_force(host: CliHost, target: str) -> None:
    ran = host.run("ban", target, "--force", "--yes")
    assert ran.code == 3
    assert "--force insists" not in ran.err
    assert host.records() == []


def test_force_bans_a_protected_target_and_the_ban_is_marked_forced(host: CliHost) -> None:
    assert host.run("ban", GATEWAY, "--force", "--yes").code == 0
    assert [record.ban.forced for record in host.records()] == [True]
    assert host.held() == {f"{GATEWAY}/32"}


def test_one_refused_target_among_several_bans_none_of_them(host: CliHost) -> None:
    assert host.run("ban", "203.0.113.7", GATEWAY, "203.0.113.9").code == 3
    assert host.records() == []
    assert host.held() == set()


def test_the_address_a_person_is_logged_in_from_is_refused(host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "203.0.113.50 50022 192.0.2.1 22")
    ran = host.run("ban", "203.0.113.0/24")
    assert ran.code == 3
    assert "you are logged in from 203.0.113.50" in ran.err
    assert host.run("ban", "203.0.113.0/24", "--force", "--yes").code == 0


def test_what_a_ban_would_hit_is_shown_by_state(host: CliHost) -> None:
    host.connect(
        ("203.0.113.7", TcpState.ESTABLISHED),
        ("203.0.113.7", TcpState.ESTABLISHED),
        ("203.0.113.8", TcpState.SYN_RECV),
        ("198.51.100.1", TcpState.ESTABLISHED),
    )
    impact = host.run("ban", "203.0.113.0/24", "--dry-run", "--json").json["impact"][0]
    assert impact["sockets"] == {"ESTABLISHED": 2, "SYN_RECV": 1}
    assert impact["peers"] == 1
    assert host.records() == []


def test_a_standing_ban_that_overlaps_is_named(host: CliHost) -> None:
    host.run("ban", "203.0.113.7")
    ran = host.run("ban", "203.0.113.0/24")
    assert "already banned: 203.0.113.7" in ran.out


def test_a_ban_the_kernel_did_not_take_is_not_left_in_the_ledger(host: CliHost) -> None:
    host.plane.fail_next("apply", PlaneError("filling sets", "no memory"))
    ran = host.run("ban", "203.0.113.7")
    assert ran.code == 1
    assert "no memory" in ran.err
    assert host.active_bans() == set()


def test_a_failed_ban_gives_back_the_one_it_replaced(host: CliHost) -> None:
    host.run("ban", "203.0.113.7", "--for", "1h", "--reason", "first")
    host.plane.fail_next("apply", PlaneError("filling sets", "no memory"))
    assert host.run("ban", "203.0.113.7", "--for", "5h", "--reason", "second").code == 1
    assert host.active_bans() == host.held() == {"203.0.113.7/32"}
    ran = host.run("bans", "--json")
    assert [one["reason"] for one in ran.json] == ["first"]


def test_without_permission_nothing_is_written_and_the_capability_is_named(host: CliHost) -> None:
    host.plane.permitted = False
    ran = host.run("ban", "203.0.113.7")
    assert ran.code == 4
    assert "CAP_NET_ADMIN" in ran.err
    assert not host.state.exists()


def test_unknown_protected_parties_are_warned_of_and_a_person_may_go_on(host: CliHost) -> None:
    host.problems = ("allow.txt: no such file",)
    ran = host.run("ban", "203.0.113.7")
    assert ran.code == 0
    assert "allow.txt: no such file" in ran.err
    assert host.held() == {"203.0.113.7/32"}


def test_ports_close_only_new_connections(host: CliHost) -> None:
    assert host.run("ban", "203.0.113.7", "--ports", "80,443").code == 0
    ban = host.records()[0].ban
    assert (ban.scope, ban.ports) == ("new", (80, 443))
    assert host.run("ban", "203.0.113.7", "--ports", "80", "--scope", "all").code == 2


def test_unban_inside_a_banned_prefix_names_the_ban_that_covers_it(host: CliHost) -> None:
    host.run("ban", "203.0.113.0/24")
    ran = host.run("unban", "203.0.113.7")
    assert ran.code == 1
    assert "the ban of 203.0.113.0/24 covers it" in ran.err
    assert host.held() == {"203.0.113.0/24"}


def test_unban_lifts_exactly_its_target_and_not_one_that_begins_the_same(host: CliHost) -> None:
    """ddos-deflate unbanned by an unanchored pattern: 1.2.3.4 also dropped 1.2.3.40 from its list."""
    host.run("ban", "203.0.113.4", "203.0.113.40")
    assert host.run("unban", "203.0.113.4").code == 0
    assert host.active_bans() == {"203.0.113.40/32"}


def test_a_range_is_banned_and_unbanned_by_what_covers_it(host: CliHost) -> None:
    ran = host.run("ban", "203.0.113.8-203.0.113.12")
    assert ran.code == 0, ran.err
    assert host.active_bans() == {"203.0.113.8/30", "203.0.113.12/32"}
    assert host.run("unban", "203.0.113.8-203.0.113.12").code == 0
    assert host.active_bans() == set()


def test_unban_takes_an_id(host: CliHost) -> None:
    host.run("ban", "203.0.113.7")
    assert host.run("unban", host.records()[0].ban.id).code == 0
    assert host.active_bans() == set()


def test_unban_all_lifts_everything_once_confirmed(host: CliHost) -> None:
    host.run("ban", "203.0.113.7", "2001:db8::/48")
    assert host.run("unban", "--all", "--yes").code == 0
    assert host.active_bans() == host.held() == set()


def test_a_wiped_kernel_is_told_by_bans(host: CliHost) -> None:
    host.run("ban", "203.0.113.7")
    host.plane.wipe()
    assert "NOT IN KERNEL" in host.run("bans").out
    assert host.run("bans", "--json").json[0]["in_kernel"] is False


def test_whoever_reads_the_kernel_but_does_not_own_the_ledger_is_shown_the_bans(
    host: CliHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's counts cannot be kept then, which once was the end of the verb."""
    assert host.run("ban", "203.0.113.7").code == 0
    host.plane.count(host.records()[0].ban.id, 1000)
    monkeypatch.setattr("synguard.cli.context.os.geteuid", lambda: 4711)
    ran = host.run("bans", "--json")
    assert ran.code == 0, ran.err
    assert [one["in_kernel"] for one in ran.json] == [True]


def test_review_extends_what_still_hits_and_releases_what_is_quiet(
    host: CliHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synguard.cli.review_found._BETWEEN_READS_S", 0.0)
    host.run("ban", "203.0.113.7", "203.0.113.8", "--for", "5m")
    hitting = next(record.ban.id for record in host.records() if str(record.ban.target) == "203.0.113.7/32")
    host.plane.count(hitting, 1000)
    done = host.run("review", "--extend", "1h", "--still-hitting", "--release", "--json").json
    assert [one["target"] for one in done["extended"]] == ["203.0.113.7"]
    assert [one["target"] for one in done["released"]] == ["203.0.113.8"]
    assert host.active_bans() == host.held() == {"203.0.113.7/32"}


@pytest.mark.parametrize("words", [("bans",), ("bans", "--json"), ("review", "--within", "any")])
def test_a_full_disk_hides_no_ban(host: CliHost, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """In a flood with a full disk, `bans` said that the disk is full, and nothing else: it had counts to keep."""
    monkeypatch.setattr("synguard.cli.review_found._BETWEEN_READS_S", 0.0)
    host.run("ban", "203.0.113.7")
    host.plane.count(host.records()[0].ban.id, 1000)
    monkeypatch.setattr(Ledger, "record_hits", Mock(side_effect=LedgerError("the disk is full")))
    shown = host.run(*words)
    assert (shown.code, "203.0.113.7" in shown.out) == (0, True)


def test_review_without_options_changes_nothing(host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synguard.cli.review_found._BETWEEN_READS_S", 0.0)
    host.run("ban", "203.0.113.7", "--for", "5m")
    before = [record.ban for record in host.records()]
    assert host.run("review").code == 0
    assert [record.ban for record in host.records()] == before


def test_bans_whose_rules_are_gone_are_not_in_the_kernel_whatever_its_sets_hold(host: CliHost) -> None:
    """A flush of the table leaves the members of our sets: `bans` and `why` said banned while the source connected."""
    host.run("ban", "203.0.113.7")
    assert host.run("why", "203.0.113.7", "--json").json["banned"] is True
    assert "      by hand\n      stopped by the set, see " in host.run("why", "203.0.113.7").out
    host.plane.damage("raw: the jump to SYNGUARD")
    listed = host.run("bans")
    assert "NOT IN KERNEL" in listed.out
    assert "rules are missing or changed, without which no ban stops a packet: raw: the jump to SYNGUARD" in listed.out
    assert host.run("bans", "--json").json[0]["in_kernel"] is False
    known = host.run("why", "203.0.113.7").out
    assert "is NOT stopped: its ban" in known
    assert known.count("NOT IN KERNEL") == 2
    assert host.run("why", "203.0.113.7", "--json").json["banned"] is False


@pytest.mark.parametrize(
    ("target", "why"), [("64:ff9b::/64", "IPv4 addresses are embedded"), ("64:ff9b::{}", "protected")]
)
def test_a_ban_of_translated_addresses_is_refused_for_whom_they_embed(host: CliHost, target: str, why: str) -> None:
    ran = host.run("ban", target.format(GATEWAY))
    assert ran.code == 3
    assert why in ran.err
    assert host.run("ban", "64:ff9b::203.0.113.7").code == 0
    assert host.run("ban", named := f"2001:db8:64::{GATEWAY}", "--dry-run").code == 0
    host.configure('pref64 = ["2001:db8:64::/96"]')
    assert "protected" in host.run("ban", named, "--dry-run").err
    for wide in ("2001:db8:64::/96", "2001:db8:64::/48"):
        assert "IPv4 addresses are embedded" in host.run("ban", wide, "--dry-run").err
        assert "wider than /104" in host.run("allow", "add", wide).err
