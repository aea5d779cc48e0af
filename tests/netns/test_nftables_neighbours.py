"""The nftables plane among others: wiped and damaged tables, foreign things in ours, nested networks, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from synguard import programs
from synguard.capabilities import give_up_all_but
from synguard.enforcer.choose import choose_plane
from synguard.enforcer.flush import flush_kernel
from synguard.enforcer.iptables import xtables
from synguard.enforcer.nftables import parser
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Delta, Desired
from synguard.enforcer.reconcile.delta import delta
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.errors import NotPermittedError, PlaneError, PlaneUnavailableError
from synguard.model import Action, Scope
from synguard.policy.models import Config
from tests.support.bans import ban, wanted
from tests.support.network_thread import NetworkThread, PlaneThere

pytestmark = pytest.mark.kernel

FOREIGN = """
nft add table inet mine; nft add chain inet mine input '{ type filter hook input priority -20; }'
nft add rule inet mine input tcp dport 22 accept; nft add table ip synguard
nft add table inet synguard-of-mine '{ flags dormant; }'
iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT; ipset create other hash:net
iptables-nft -A INPUT -s 198.18.0.2 -j DROP
"""
SAVES = "nft -s list ruleset; iptables-legacy-save -t filter; ipset save"
GOAL = wanted(
    ban("a", "192.0.2.0/24", ports=(80, 443)),
    ban("b", "2001:db8::/64", Scope.ALL, Action.REJECT),
    ban("c", "192.0.2.1", Scope.ALL),
    ban("d", "192.0.2.128/25", seconds=None),
    allow=("127.0.0.1", "::1", "10.0.0.0/8", "10.1.0.0/16"),
    proven=("192.0.2.9",),
)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NetworkThread]:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    thread = NetworkThread()
    yield thread
    thread.close()


@pytest.fixture
def plane(host: NetworkThread) -> PlaneThere:
    return PlaneThere(host, lambda: NftablesPlane(now))


@pytest.fixture
def reconciler(plane: PlaneThere, tmp_path: Path) -> Reconciler:
    return Reconciler(plane, tmp_path / "apply.lock")


def saved(host: NetworkThread) -> list[str]:
    return [line.split(" [")[0].split(" initval")[0] for line in host.sh(SAVES).splitlines() if line[:1] != "#"]


def frame(host: NetworkThread) -> list[str]:
    """Return the table as text, without members and in an order that does not depend on which set came first."""
    return sorted(host.sh("nft -t list table inet synguard").splitlines())


def test_flush_leaves_the_kernel_as_it_was_before(host: NetworkThread, reconciler: Reconciler) -> None:
    host.sh(FOREIGN)
    before = saved(host)
    reconciler.reconcile(GOAL, now())
    assert saved(host) != before
    reconciler.flush()
    assert saved(host) == before


def test_looking_and_checking_leave_nothing_in_the_kernel(host: NetworkThread, plane: PlaneThere) -> None:
    plane.check()
    plane.read()
    plane.flush()
    assert host.sh("nft list ruleset; cat /proc/thread-self/net/ip_tables_names") == ""


@pytest.mark.parametrize(
    "wiping",
    [
        "nft flush ruleset",
        "nft delete table inet synguard",
        "nft flush table inet synguard",
        "nft flush chain inet synguard port-drop-4",
        "nft flush chain inet synguard answer",
        "nft 'flush chain inet synguard forward; delete chain inet synguard forward'",
        "nft 'flush chain inet synguard input; delete chain inet synguard input;"
        " add chain inet synguard input { type filter hook output priority 0; }'",
        "nft 'flush chain inet synguard input; delete chain inet synguard input; add chain inet synguard input'",
        "nft 'chain inet synguard prerouting { policy drop; }'",
        "nft 'add table inet synguard { flags dormant; }'",
        "nft 'flush chain inet synguard all-drop-4; delete set inet synguard all-drop-4-32;"
        " add set inet synguard all-drop-4-32 { type ipv4_addr; size 10; }'",
    ],
)
def test_what_others_wipe_or_bend_is_told_and_put_back(
    host: NetworkThread, reconciler: Reconciler, wiping: str
) -> None:
    reconciler.reconcile(GOAL, now())
    before = frame(host)
    host.sh(wiping)
    outcome = reconciler.reconcile(GOAL, now(), full=True)
    assert outcome.drift
    assert frame(host) == before
    again = reconciler.reconcile(GOAL, now(), full=True)
    assert not again.change
    assert again.drift == ()
    assert set(again.held) == set(GOAL.bans)


def test_a_rule_that_was_moved_is_moved_back(host: NetworkThread, reconciler: Reconciler) -> None:
    """With the exceptions asked last, everybody who is protected is stopped, and nothing is missing."""
    reconciler.reconcile(GOAL, now())
    first = host.call(parser.read_frame).rules["drop-4"][0]
    host.sh(
        f"nft 'delete rule inet synguard drop-4 handle {first.handle};"
        f' add rule inet synguard drop-4 jump allow-4 comment "{first.comment}"\''
    )
    outcome = reconciler.reconcile(GOAL, now(), full=True)
    assert outcome.drift == ("the rules of chain drop-4 or their order: missing or changed, put back",)
    assert "allow" in host.sh("nft list chain inet synguard drop-4 | grep -m1 jump")


def test_members_that_others_take_out_are_put_back(host: NetworkThread, reconciler: Reconciler) -> None:
    reconciler.reconcile(GOAL, now())
    host.sh(
        "nft delete element inet synguard port-drop-4-24 '{ 192.0.2.0 . 80 }'; nft flush set inet synguard allow-6-128"
    )
    assert reconciler.reconcile(GOAL, now(), full=True).drift == (
        "1 ban gone from the kernel, put back: a (192.0.2.0/24)",
        "1 exception gone from the kernel, put back: ::1",
    )
    assert not reconciler.reconcile(GOAL, now(), full=True).change


def test_a_change_upon_a_wiped_table_mends_it_at_once(host: NetworkThread, reconciler: Reconciler) -> None:
    reconciler.reconcile(GOAL, now())
    host.sh("nft flush ruleset")
    more = wanted(*GOAL.bans.values(), ban("e", "198.51.100.1"), allow=("127.0.0.1",))
    outcome = reconciler.reconcile(more, now())
    assert outcome.drift
    assert not reconciler.reconcile(more, now(), full=True).change


def test_a_change_that_others_have_made_already_is_no_error(host: NetworkThread, plane: PlaneThere) -> None:
    """Between our reading and our writing a member is gone, another one is there: the change is made all the same."""
    plane.apply(delta(GOAL, plane.read(), now()))
    goal = wanted(ban("a", "192.0.2.0/24", ports=(80, 443), seconds=900), ban("c", "192.0.2.2", Scope.ALL))
    change = delta(goal, plane.read(), now())
    host.sh(
        "nft delete element inet synguard port-drop-4-24 '{ 192.0.2.0 . 80 }';"
        "nft delete element inet synguard all-drop-4-32 '{ 192.0.2.1 }';"
        "nft add element inet synguard all-drop-4-32 '{ 192.0.2.2 timeout 1h comment \"of somebody\" }'"
    )
    plane.apply(change)
    assert delta(goal, plane.read(), now()) == Delta()


def test_foreign_things_in_our_table_are_told_of_and_outlive_mending(
    host: NetworkThread, reconciler: Reconciler
) -> None:
    reconciler.reconcile(GOAL, now())
    host.sh(
        "nft add chain inet synguard mine; nft add set inet synguard others '{ type ipv4_addr; }';"
        "nft insert rule inet synguard drop-4 ip saddr 198.18.0.3 counter accept;"
        "nft add element inet synguard all-drop-4-32 '{ 198.18.0.4 }'; nft add counter inet synguard mine;"
        "nft add element inet synguard port-drop-4-24 '{ 198.18.0.4 . 80 comment \"bits beyond the mask\" }'"
    )
    outcome = reconciler.reconcile(GOAL, now(), full=True)
    assert not outcome.change
    told = "; ".join(outcome.foreign)
    for words in ("chain mine", "set others", "chain drop-4", "198.18.0.4 in set all-drop-4-32", "counter mine",
                  "198.18.0.4 in set port-drop-4-24"):  # fmt: skip
        assert words in told
    host.sh("nft flush chain inet synguard drop-syn-4")
    assert reconciler.reconcile(GOAL, now(), full=True).change
    assert "198.18.0.3" in host.sh("nft list chain inet synguard drop-4")
    reconciler.flush()
    assert host.sh("nft list ruleset") == ""


def test_networks_of_every_length_inside_one_another_are_held_and_their_sets_go_with_them(
    host: NetworkThread, plane: PlaneThere, reconciler: Reconciler
) -> None:
    """A set of intervals would refuse the second of these: "conflicting intervals specified"."""
    nested = [ban(f"v4-{length}", f"0.0.0.0/{length}", ports=(80,)) for length in range(1, 33)]
    nested += [ban(f"w4-{length}", f"10.0.0.0/{length}", Scope.ALL) for length in range(8, 33)]
    nested += [ban(f"v6-{length}", f"2000::/{length}") for length in range(4, 129, 4)]
    goal = wanted(*nested, allow=("127.0.0.1",))
    reconciler.reconcile(goal, now())
    assert delta(goal, plane.read(), now()) == Delta()
    fewer = wanted(nested[0], ban("one", "192.0.2.1"), allow=("127.0.0.1",))
    reconciler.reconcile(fewer, now(), full=True)
    reconciler.reconcile(wanted(nested[0], allow=("127.0.0.1",)), now(), full=True)
    reconciler.reconcile(wanted(nested[0], allow=("127.0.0.2",)), now(), full=True)
    assert {one.name for one in host.call(parser.read_frame).sets} <= {"port-drop-4-1", "allow-4-32", "new-drop-4-32"}
    assert plane.read().intact


def test_an_empty_set_that_a_foreign_rule_uses_stays_and_stops_nothing(
    host: NetworkThread, plane: PlaneThere, reconciler: Reconciler
) -> None:
    reconciler.reconcile(GOAL, now())
    host.sh("nft add chain inet synguard mine; nft add rule inet synguard mine ip saddr @all-drop-4-32 accept")
    reconciler.reconcile(Desired(), now(), full=True)
    plane.read()
    reconciler.reconcile(wanted(ban("e", "198.51.100.1")), now(), full=True)
    assert "all-drop-4-32" in {one.name for one in host.call(parser.read_frame).sets}
    assert set(plane.read().bans) == {"e"}


def test_a_full_set_is_an_error_that_names_the_ceiling_and_changes_nothing(host: NetworkThread, tmp_path: Path) -> None:
    plane = PlaneThere(host, lambda: NftablesPlane(now, 8))
    reconciler = Reconciler(plane, tmp_path / "lock")
    fits = wanted(*(ban(f"b{number}", f"192.0.2.{number}") for number in range(8)))
    reconciler.reconcile(fits, now())
    before = plane.read()
    too_many = wanted(*fits.bans.values(), ban("other", "198.51.100.0/24"), ban("more", "192.0.2.200"))
    with pytest.raises(PlaneError, match=r"new-drop-4-32 .*holds its ceiling of 8 members"):
        reconciler.reconcile(too_many, now())
    assert plane.read() == before
    assert set(reconciler.reconcile(fits, now()).held) == set(fits.bans)


def test_an_extension_keeps_the_count_that_stands_in_the_kernel_when_it_is_made(
    host: NetworkThread, plane: PlaneThere
) -> None:
    """The count known from the last read-back may be minutes old."""
    first = ban("x", "192.0.2.0/24", ports=(80, 443))
    plane.apply(delta(wanted(first), plane.read(), now()))
    change = delta(wanted(ban("x", "192.0.2.0/24", ports=(80, 443), seconds=900)), plane.read(), now())
    for port, packets in ((80, 7), (443, 4)):
        host.sh(
            f"nft 'delete element inet synguard port-drop-4-24 {{ 192.0.2.0 . {port} }}; add element inet synguard"
            f" port-drop-4-24 {{ 192.0.2.0 . {port} counter packets {packets} bytes 600 timeout 60s"
            f' comment "synguard ban x until {first.expires_at:%Y-%m-%dT%H:%M:%S.%fZ}" }}\''
        )
    plane.apply(change)
    held = plane.read().bans["x"]
    assert (held.hits.packets, held.hits.bytes) == (11, 1200)


def test_bans_go_in_while_others_keep_changing_their_own_tables(host: NetworkThread, reconciler: Reconciler) -> None:
    others = (
        "for i in $(seq 60); do nft add table inet other; nft add set inet other s '{ type ipv4_addr; }';"
        " nft delete table inet other; done &"
    )
    host.sh(f"({others}) >/dev/null 2>&1")
    for number in range(1, 15):
        goal = wanted(*(ban(f"b{one}", f"192.0.2.{one}") for one in range(number)))
        reconciler.reconcile(goal, now())
        assert set(reconciler.reconcile(goal, now(), full=True).held) == set(goal.bans)


def test_a_ban_of_years_and_one_of_a_moment_end_when_they_should(plane: PlaneThere) -> None:
    goal = wanted(ban("long", "192.0.2.1", seconds=30 * 365 * 86400.0), ban("short", "192.0.2.2", seconds=0.8))
    plane.apply(delta(goal, plane.read(), now()))
    assert set(plane.read().bans) == {"long", "short"}
    end = goal.bans["short"].expires_at
    assert end is not None
    while "short" in plane.read().bans:
        assert now() < end + timedelta(seconds=20)
    assert now() >= end


def test_bans_of_another_release_are_replaced_with_its_frame(host: NetworkThread, reconciler: Reconciler) -> None:
    reconciler.reconcile(GOAL, now())
    host.sh(
        "nft flush table inet synguard; nft add rule inet synguard drop-4 accept comment '\"synguard frame v0 old\"';"
        "nft add rule inet synguard new-drop-4 accept comment '\"synguard frame v0 old\"'"
    )
    reconciler.reconcile(GOAL, now(), full=True)
    assert "v0" not in host.sh("nft list table inet synguard")


NO_LISTING = """#!/bin/sh
for word; do [ "$word" = list ] && { echo 'Error: syntax error, unexpected table of somebody' >&2; exit 1; }; done
exec /usr/sbin/nft "$@"
"""


def test_a_tool_whose_listings_cannot_be_read_costs_neither_bans_nor_the_table(
    host: NetworkThread, reconciler: Reconciler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nft 1.1.7 adds ``# count 1`` to a set's size; others fail at a table of somebody else's."""
    tool = tmp_path / "nft"
    tool.write_text(NO_LISTING)
    tool.chmod(0o755)
    monkeypatch.setattr(programs, "PLACES", f"{tmp_path}:{programs.PLACES}")
    reconciler.reconcile(GOAL, now())
    handles = host.sh("/usr/sbin/nft -a -t list table inet synguard | grep -c handle")
    again = reconciler.reconcile(GOAL, now(), full=True)
    assert (bool(again.change), again.drift, set(again.held)) == (False, (), set(GOAL.bans))
    reconciler.reconcile(wanted(*list(GOAL.bans.values())[1:]), now(), full=True)
    assert int(host.sh("/usr/sbin/nft -a -t list table inet synguard | grep -c handle")) <= int(handles)


def without_legacy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this host be one whose kernel has no legacy xtables."""

    def missing(*_: Any) -> Any:
        raise PlaneUnavailableError("opening iptables raw", "do you need to insmod?: the kernel has no legacy xtables")

    monkeypatch.setattr(xtables, "_iptc", missing)


def without_nft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synguard.programs.PLACES", str(tmp_path))


def chosen(host: NetworkThread, **keys: str) -> str:
    return host.call(choose_plane, Config.model_validate(keys)).name


def test_nftables_is_chosen_by_config_or_where_legacy_does_not_work(
    host: NetworkThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(host) == "iptables-sets"
    assert chosen(host, plane="nftables") == "nftables"
    without_legacy(monkeypatch)
    assert chosen(host) == "nftables"
    with pytest.raises(PlaneUnavailableError, match="no legacy xtables"):
        chosen(host, plane="iptables")


def test_nftables_is_taken_where_the_library_cannot_build_a_rule(
    host: NetworkThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """iptables 1.8.11 beside a library made for 1.8.10: doctor said that it works, and bans stopped nothing."""

    def refuses(*_: Any) -> None:
        raise AttributeError("tcp: no such parameter tcp-flags")

    monkeypatch.setattr(xtables.XTable, "_buffer", refuses)
    assert chosen(host) == "nftables"
    with pytest.raises(PlaneUnavailableError, match="does not fit the installed iptables"):
        chosen(host, plane="iptables")


def test_a_host_with_neither_plane_gets_one_sentence_that_names_both(
    host: NetworkThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_nft(tmp_path, monkeypatch)
    with pytest.raises(PlaneUnavailableError, match="install the package nftables"):
        chosen(host, plane="nftables")
    without_legacy(monkeypatch)
    with pytest.raises(PlaneUnavailableError) as caught:
        chosen(host)
    assert caught.value.exit_code == 5
    words = str(caught.value)
    assert "no legacy xtables" in words
    assert "install the package nftables" in words
    assert "\n" not in words


def test_without_the_capability_it_is_named_and_nothing_is_held_to_be_absent(
    host: NetworkThread, plane: PlaneThere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool is root still; the kernel refuses it, which must never read as an empty table."""

    host.call(give_up_all_but, ["CAP_SYS_ADMIN"])
    for call in (plane.read, plane.flush, lambda: plane.apply(Delta(add=(ban("b", "192.0.2.1"),), frame=True))):
        with pytest.raises(NotPermittedError, match="CAP_NET_ADMIN"):
            call()


def test_flush_removes_the_table_on_a_host_whose_legacy_library_is_gone(
    host: NetworkThread, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconciler.reconcile(GOAL, now())
    without_legacy(monkeypatch)
    host.call(flush_kernel)
    assert host.sh("nft list tables") == ""
