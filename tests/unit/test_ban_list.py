"""A long list banned at one go, as columns: it comes to what the same targets would come to ban by ban."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.enforcer import filling
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.capacity import used
from synguard.errors import PlaneError
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.ledger.arrivals import Arrivals
from synguard.model import Ban, Scope
from synguard.operator.apply import BanApplier
from synguard.operator.ban import BanRequest, HostContext, assess, eventful
from synguard.operator.ban_list import list_for, ready, room_of
from synguard.readings import Protected
from tests.support.bans import ban
from tests.support.cli_host import GATEWAY, CliHost

LINES = """203.0.113.9 # scanner, ticket 4711
203.0.113.0/29
2001:db8:7::/48
203.0.113.9
2001:db8::1
198.51.100.7
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    return CliHost(tmp_path, monkeypatch)


@pytest.fixture
def listed(tmp_path: Path) -> str:
    (tmp_path / "list.txt").write_text(LINES)
    return str(tmp_path / "list.txt")


def as_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synguard.operator.ban_list.LONG", 2)
    monkeypatch.setattr("synguard.operator.unban.LONG", 2)


def what_counts(host: CliHost) -> dict[str, tuple[object, ...]]:
    bans = [record.ban for record in host.records() if record.ended_at is None]
    return {
        str(one.target): (one.scope, one.action, one.origin, one.policy, one.reason, one.ports, one.forced)
        for one in bans
    }


def test_a_long_list_comes_to_the_same_as_a_short_one(
    tmp_path: Path, host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = host.run("ban", "--file", listed, "--reason", "nightly")
    short, told = what_counts(host), ran.out.splitlines()[:-7]
    assert short["203.0.113.9/32"][4] == "scanner, ticket 4711"
    (tmp_path / "other").mkdir()
    other = CliHost(tmp_path / "other", monkeypatch)
    as_columns(monkeypatch)
    before = datetime.now(UTC)
    again = other.run("ban", "--file", listed, "--reason", "nightly")
    assert again.code == 0, again.err
    assert again.out.splitlines()[:-7] == told
    assert "banned 203.0.113.0/29 (all, drop) until" in again.out
    assert what_counts(other) == short
    assert other.held() == other.active_bans() == set(short)
    ends = {record.ban.expires_at for record in other.records()}
    assert len(ends) == 1
    (end,) = ends
    assert end is not None
    assert timedelta(hours=1) <= end - before < timedelta(hours=1, seconds=30)
    assert {held.expires_at for held in other.plane.actual.bans.values()} == ends


def test_a_long_list_for_good_stands_for_good(host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_columns(monkeypatch)
    assert host.run("ban", "--file", listed, "--for", "permanent").code == 0
    assert {record.ban.expires_at for record in host.records()} == {None}
    assert {held.expires_at for held in host.plane.actual.bans.values()} == {None}
    counts = host.run("ban", "--file", listed, "--for", "1h", "--json").json["counts"]
    assert (counts["banned"], counts["renewed"], counts["folded"]) == (5, 5, 1)


def test_what_the_kernel_does_not_take_of_a_long_list_leaves_nothing(
    host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.run("ban", "192.0.2.77")
    as_columns(monkeypatch)
    host.plane.fail_next("apply", PlaneError("filling sets", "no memory"))
    ran = host.run("ban", "--file", listed)
    assert ran.code == 1
    assert "no memory" in ran.err
    assert host.active_bans() == host.held() == {"192.0.2.77/32"}
    assert {record.ended_why for record in host.records() if record.ended_at} == {
        "not applied: filling sets: no memory"
    }


def test_what_of_a_long_list_is_banned_already_stays_that_ban_and_gets_its_end(
    host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.run("ban", "203.0.113.9", "--reason", "scanner, ticket 4711")
    host.run("ban", "2001:db8::1", "--ports", "80")
    (before,) = (record.ban for record in host.records() if record.ban.reason != "by hand")
    as_columns(monkeypatch)
    ran = host.run("ban", "--file", listed, "--for", "3h", "--json")
    counts = ran.json["counts"]
    assert (counts["banned"], counts["renewed"], counts["overlapping"]) == (5, 1, 2), ran.err
    assert len(ran.json["bans"]) == 5
    standing = {record.ban.id: record.ban for record in host.records() if record.ended_at is None}
    assert (standing[before.id].expires_at or before.created_at) > before.created_at + timedelta(hours=2)
    assert len(standing) == len(host.plane.actual.bans) == 6
    assert standing.keys() == host.plane.actual.bans.keys()


def test_a_long_list_that_fails_leaves_the_ends_of_what_was_banned_before(
    host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise PlaneError("filling sets", "no memory")

    host.run("ban", "203.0.113.9", "--reason", "scanner, ticket 4711")
    before = [record.ban for record in host.records()]
    as_columns(monkeypatch)
    monkeypatch.setattr("synguard.operator.apply.ready", full)
    assert host.run("ban", "--file", listed, "--for", "3h").code == 1
    assert [record.ban for record in host.records() if record.ended_at is None] == before
    assert {held.expires_at for held in host.plane.actual.bans.values()} == {before[0].expires_at}


def test_a_long_list_is_refused_where_there_is_no_room_or_one_is_protected(
    tmp_path: Path, host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_columns(monkeypatch)
    host.plane.max_elements = 4
    ran = host.run("ban", "--file", listed)
    assert (ran.code, "would hold 5, 1 more than its ceiling of 4" in ran.err) == (1, True)
    host.plane.max_elements = 100
    (tmp_path / "more.txt").write_text(f"{LINES}{GATEWAY}\n")
    ran = host.run("ban", "--file", str(tmp_path / "more.txt"))
    assert (ran.code, f"more.txt:7: {GATEWAY} is refused" in ran.err) == (3, True)
    assert host.records() == []
    ran = host.run("ban", "--file", str(tmp_path / "more.txt"), "--skip-refused", "--json")
    assert (ran.json["counts"]["banned"], ran.json["counts"]["left_out"]) == (5, 1)
    assert len(ran.json["impact"]) == len(ran.json["bans"]) == 5
    assert len(host.held()) == 5


def test_the_room_of_a_list_is_counted_where_each_plane_puts_its_bans() -> None:
    order = BanRequest(tuple(map(ip_network, ("203.0.113.0/24", "203.0.113.9", "203.0.113.8", "2001:db8::/48"))), 60)
    listed = list_for(order, datetime.now(UTC))
    for plane in (NftablesPlane(lambda: datetime.now(UTC)), IptablesSetsPlane(lambda: datetime.now(UTC))):
        assert room_of(plane, listed) == used(plane, listed.as_bans())


def test_what_another_process_ends_while_a_list_is_put_in_stays_out_of_the_kernel(
    host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended_meanwhile(plane: Plane, bans: Arrivals, renewed: Collection[str], now: datetime) -> Callable[[], None]:
        (one,) = (row for row in bans.bans if row.target == "198.51.100.7")
        with Ledger.open(host.state / LEDGER_FILE) as other:
            other.end_bans([one.id], now, "unban")
        return ready(plane, bans, renewed, now)

    as_columns(monkeypatch)
    monkeypatch.setattr("synguard.operator.apply.ready", ended_meanwhile)
    assert host.run("ban", "--file", listed).code == 0
    assert len(host.held()) == 4
    assert "198.51.100.7/32" not in host.held()


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the process runs after it."""


def killed(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_list_whose_process_is_killed_is_ordered_whole_or_not_at_all(
    at: int, host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bans that were active got their new end in a transaction before the others came: the order was half done."""
    host.run("ban", "203.0.113.9", "--reason", "scanner, ticket 4711")
    (before,) = (record.ban for record in host.records())
    as_columns(monkeypatch)
    monkeypatch.setattr(filling, "AT_ONCE", 2)
    left = iter(range(at))

    def counted(plane: Plane, bans: Arrivals, renewed: Collection[str], now: datetime) -> Callable[[], None]:
        return ready(plane, bans, renewed, now) if next(left, None) is not None else killed()

    with monkeypatch.context() as patch:
        patch.setattr(BanApplier, "_undo", killed)
        patch.setattr("synguard.operator.apply.ready", counted)
        with pytest.raises(Killed):
            host.run("ban", "--file", listed, "--for", "3h")
    ends = {record.ban.expires_at for record in host.records()}
    assert (len(host.active_bans()), len(ends)) == (5, 1)
    assert min(end for end in ends if end) > (before.expires_at or before.created_at)
    assert host.run("ban", "192.0.2.77", "--for", "3h").code == 0
    assert host.held() == host.active_bans()
    assert {held.expires_at for held in host.plane.actual.bans.values() if str(held.target) != "192.0.2.77/32"} == ends


def panics(host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synguard.enforcer.flush.flush_kernel", host.plane.flush)
    monkeypatch.setattr("synguard.cli.panic.put_back_all", lambda *_: None)
    assert host.run("panic", "--yes").code == 0


@pytest.mark.parametrize("at", [0, 1])
def test_a_panic_while_a_list_is_put_in_leaves_nothing_of_it(
    at: int, host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What panic had ended stood again, and the rules too: the list had failed, and what was there before came back."""
    host.run("ban", "192.0.2.77")
    host.run("ban", "203.0.113.9")
    as_columns(monkeypatch)
    monkeypatch.setattr(filling, "AT_ONCE", 2)
    pieces = iter(range(9))

    def panicked(plane: Plane, bans: Arrivals, renewed: Collection[str], now: datetime) -> Callable[[], None]:
        if next(pieces) == at:
            panics(host, monkeypatch)
        return ready(plane, bans, renewed, now)

    monkeypatch.setattr("synguard.operator.apply.ready", panicked)
    ran = host.run("ban", "--file", listed)
    assert (ran.code, "enforcement stopped by synguard panic" in ran.err) == (3, True)
    assert host.active_bans() == host.held() == set()
    assert not host.plane.actual.intact


def test_a_panic_while_one_is_banned_leaves_nothing_of_it(host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run("ban", "192.0.2.77")
    real = BanApplier._written

    def panicked(*given: Any) -> object:
        done = real(*given)
        panics(host, monkeypatch)
        return done

    monkeypatch.setattr(BanApplier, "_written", panicked)
    assert host.run("ban", "203.0.113.9").code == 3
    assert host.active_bans() == host.held() == set()
    assert not host.plane.actual.intact


def test_what_another_process_ends_while_an_order_fails_does_not_come_back(
    host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.run("ban", "192.0.2.77")
    host.run("ban", "203.0.113.9", "--reason", "another")
    as_columns(monkeypatch)

    def full(*_: object) -> None:
        with Ledger.open(host.state / LEDGER_FILE) as other:
            ids = [one.id for one in other.active_rows(datetime.now(UTC)) if one.target == "192.0.2.77"]
            other.end_bans(ids, datetime.now(UTC), "unban")
        raise PlaneError("filling sets", "no memory")

    monkeypatch.setattr("synguard.operator.apply.ready", full)
    assert host.run("ban", "--file", listed).code == 1
    assert host.active_bans() == host.held() == {"203.0.113.9/32"}


def meanwhile(host: CliHost, monkeypatch: pytest.MonkeyPatch, *rivals: tuple[str, ...]) -> None:
    """Let other persons give these orders while the one who gives the next order is asked whether to go on."""
    orders = [*rivals]

    def asked(*_: object) -> None:
        while orders:
            ran = host.run(*orders.pop(0))
            assert ran.code == 0, ran.err

    monkeypatch.setattr("synguard.cli.ban._confirm", asked)


def test_what_others_ban_and_extend_before_an_order_that_fails_stays(
    host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older ban stood again, and ended the newer one; a renewed ban got the end that it had at the prompt."""
    host.run("ban", "192.0.2.77", "--for", "1h", "--reason", "older")
    host.run("ban", "203.0.113.9", "--for", "1h", "--reason", "scanner, ticket 4711")
    as_columns(monkeypatch)
    meanwhile(host, monkeypatch, ("ban", "192.0.2.77", "--for", "7d"), ("extend", "203.0.113.9", "--for", "5h"))

    def full(*_: object) -> None:
        raise PlaneError("filling sets", "no memory")

    monkeypatch.setattr("synguard.operator.apply.ready", full)
    assert host.run("ban", "--file", listed, "--for", "2h").code == 1
    standing = {str(one.ban.target): one.ban for one in host.records() if one.ended_at is None}
    assert standing.keys() == {"192.0.2.77/32", "203.0.113.9/32"}
    left = {target: (one.expires_at or one.created_at) - one.created_at for target, one in standing.items()}
    assert left["192.0.2.77/32"] >= timedelta(days=7)
    assert left["203.0.113.9/32"] >= timedelta(hours=6)
    assert host.plane.actual.bans.keys() == {one.id for one in standing.values()}


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("then", [(), ("unban", "203.0.113.9")])
def test_what_others_do_while_the_kernel_is_filled_in_vain_stays(
    then: tuple[str, ...], columns: bool, host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.run("ban", "192.0.2.77", "--for", "1h", "--reason", "older")
    host.run("ban", "203.0.113.9", "--for", "1h", "--reason", "older")
    if columns:
        as_columns(monkeypatch)
    failing = iter([True])
    settle = BanApplier._settle

    def full(applier: BanApplier, **named: bool) -> None:
        if next(failing, False):
            rivals = [("ban", "192.0.2.77", "--for", "7d"), ("ban", "203.0.113.9", "--for", "7d"), then]
            assert {host.run(*words).code for words in rivals if words} == {0}
            raise PlaneError("filling sets", "no memory")
        settle(applier, **named)

    monkeypatch.setattr(BanApplier, "_settle", full)
    if columns:
        monkeypatch.setattr("synguard.operator.apply.has_frame", lambda _: True)
        monkeypatch.setattr("synguard.operator.apply.bring", lambda *_: None)
    assert host.run("ban", "--file", listed, "--for", "2h").code == 1
    standing = {str(one.ban.target): one.ban for one in host.records() if one.ended_at is None}
    assert standing.keys() == {"192.0.2.77/32", *([] if then else ["203.0.113.9/32"])}
    assert all((one.expires_at or one.created_at) > datetime.now(UTC) + timedelta(days=6) for one in standing.values())
    assert host.plane.actual.bans.keys() == {one.id for one in standing.values()}


def test_the_room_for_a_list_is_counted_when_it_is_written(
    host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bans made while a person was asked were not counted: the list was written, and filled the kernel in part."""
    as_columns(monkeypatch)
    host.plane.max_elements = 7
    meanwhile(host, monkeypatch, *(("ban", f"192.0.2.{last}", "--ports", "80,443") for last in (77, 78)))
    ran = host.run("ban", "--file", listed)
    assert (ran.code, "would hold 9, 2 more than its ceiling of 7" in ran.err) == (1, True), ran.err
    assert host.active_bans() == host.held() == {"192.0.2.77/32", "192.0.2.78/32"}
    assert len(host.records()) == 2


def test_what_a_list_leaves_out_takes_room_if_it_is_banned(
    tmp_path: Path, host: CliHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more.txt").write_text(f"{LINES}192.0.2.77\n")
    assert host.run("ban", "192.0.2.77").code == 0
    host.protected[ip_network("192.0.2.77")] = "default gateway via eth0"
    as_columns(monkeypatch)
    host.plane.max_elements = 5
    ran = host.run("ban", "--file", str(tmp_path / "more.txt"), "--skip-refused")
    assert (ran.code, "would hold 6, 1 more than its ceiling of 5" in ran.err) == (1, True), ran.err
    assert len(host.records()) == 1


def test_what_is_asked_for_again_stays_the_same_ban_and_the_rest_is_added(
    tmp_path: Path, host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_columns(monkeypatch)
    host.run("ban", "--file", listed)
    host.run("unban", "198.51.100.7")
    before = {record.ban.id for record in host.records() if record.ended_at is None}
    (tmp_path / "more.txt").write_text(f"{LINES}192.0.2.99\n")
    ran = host.run("ban", "--file", str(tmp_path / "more.txt"), "--for", "2h", "--json")
    counts = ran.json["counts"]
    assert [counts[name] for name in ("targets", "banned", "renewed", "overlapping")] == [6, 6, 4, 4]
    assert sum(bool(one["overlapping"]) for one in ran.json["impact"]) == 4
    assert before < {record.ban.id for record in host.records() if record.ended_at is None}
    assert host.held() == host.active_bans()
    assert len({held.expires_at for held in host.plane.actual.bans.values()}) == 1
    again = host.run("ban", "--file", str(tmp_path / "more.txt"), "--for", "3h", "--reason", "other").out
    assert "6 of them are banned already" in again or "6 of them were active" not in again


def test_what_another_process_ends_while_it_is_renewed_is_banned_anew(
    host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_columns(monkeypatch)
    host.run("ban", "--file", listed)
    before = {record.ban.id for record in host.records()}
    real = Ledger.add_list

    def ended(ledger: Ledger, *given: Any) -> list[str]:
        with Ledger.open(host.state / LEDGER_FILE) as other:
            other.end_bans([min(before)], datetime.now(UTC), "unban")
        return real(ledger, *given)

    monkeypatch.setattr(Ledger, "add_list", ended)
    counts = host.run("ban", "--file", listed, "--for", "2h", "--json").json["counts"]
    assert (counts["banned"], counts["renewed"]) == (5, 4)
    assert len(before - {record.ban.id for record in host.records() if record.ended_at is None}) == 1
    assert len(host.held()) == len(host.active_bans()) == 5


@pytest.mark.parametrize("columns", [False, True])
def test_a_long_list_is_unbanned_as_a_short_one(
    columns: bool, tmp_path: Path, host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other bans of the same targets end with them; what is no ban is named, and what stays stays."""
    host.run("ban", "--file", listed)
    host.run("ban", "2001:db8::1", "--ports", "80")
    host.run("ban", "192.0.2.77", "192.0.2.78")
    host.run("unban", "198.51.100.7")
    (last,) = (record.ban.id for record in host.records() if str(record.ban.target) == "192.0.2.77/32")
    if columns:
        as_columns(monkeypatch)
    ran = host.run("unban", last, "--file", listed, "--json")
    assert (ran.code, ran.json["counts"]) == (1, {"lifted": 6, "orphans": 0})
    assert {one["target"] for one in ran.json["lifted"]} == {
        "203.0.113.9", "203.0.113.0/29", "2001:db8:7::/48", "2001:db8::1", "192.0.2.77",
    }  # fmt: skip
    assert ran.err.startswith("synguard: 198.51.100.7 is not banned; see synguard bans"), ran.err
    assert host.active_bans() == host.held() == {"192.0.2.78/32"}


def test_a_plane_without_columns_is_not_read_back_for_a_list_that_is_renewed_or_unbanned(
    host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that it held was read and compared, a few objects for each ban there, for the same list again."""
    as_columns(monkeypatch)
    monkeypatch.setattr("synguard.operator.apply.has_frame", lambda _: True)
    monkeypatch.setattr(filling, "AT_ONCE", 2)
    host.run("ban", "192.0.2.77")
    host.run("ban", "--file", listed)
    host.plane.calls.clear()
    host.plane.changes.clear()
    assert host.run("ban", "--file", listed, "--for", "3h").code == 0
    assert len({held.expires_at for held in host.plane.actual.bans.values()}) == 2, "of the list, and of 192.0.2.77"
    assert host.run("unban", "--file", listed).code == 0
    assert "read" not in host.plane.calls
    sizes = [(len(change.remove), len(change.add)) for change in host.plane.changes]
    assert sizes == [(2, 2), (2, 2), (1, 1), (2, 0), (2, 0), (1, 0)]
    assert host.held() == host.active_bans() == {"192.0.2.77/32"}


def test_an_unban_of_a_list_that_the_plane_does_not_take_compares_all(
    host: CliHost, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_columns(monkeypatch)
    host.run("ban", "--file", listed)
    monkeypatch.setattr("synguard.operator.apply.has_frame", lambda _: True)
    host.plane.fail_next("apply", PlaneError("filling sets", "it is gone"))
    assert host.run("unban", "--file", listed).code == 0
    assert host.held() == host.active_bans() == set()


def test_ids_of_a_list_are_of_one_length_and_count_upwards() -> None:
    order = BanRequest(tuple(ip_network(f"203.0.113.{n}") for n in (9, 8, 7)), 60)
    bans = list_for(order, datetime.now(UTC)).bans
    assert [one.target for one in bans] == ["203.0.113.7", "203.0.113.8", "203.0.113.9"]
    assert [int(one.id[1:], 16) - int(bans[0].id[1:], 16) for one in bans] == [0, 1, 2]
    assert {(one.id[0], len(one.id)) for one in bans} == {("m", 13)}


@st.composite
def networks(draw: st.DrawFn) -> str:
    family = draw(st.sampled_from((4, 6)))
    bits = 32 if family == 4 else 128
    start = draw(st.sampled_from((0xCB007100, 0x0A000000) if family == 4 else (0x2001 << 112, 0x64FF9B << 96)))
    length = draw(st.integers(2, bits))
    word = ip_address(start + draw(st.integers(0, 15)))
    return str(ip_network(f"{word}/{length}", strict=False))


@given(st.lists(networks(), min_size=1, max_size=8, unique=True), st.lists(networks(), max_size=4), networks())
def test_of_targets_with_nothing_to_tell_there_is_nothing_but_the_target(
    targets: list[str], protected: list[str], standing: str
) -> None:
    order = BanRequest(tuple(map(ip_network, targets)), 60)
    bans: tuple[Ban, ...] = (ban("a1", standing, Scope.ALL),)
    around = HostContext(Protected(dict.fromkeys(map(ip_network, protected), "x")), active_bans=bans)
    every = assess(order, around)
    assert tuple(one.target for one in every) == order.targets
    told = {one.target for one in eventful(order, around)}
    for one in every:
        nothing = not (one.sockets or one.peers or one.udp or one.protected or one.overlapping or one.refusals)
        assert nothing == (one.target not in told)
        near = any(
            target.version == one.target.version and target.overlaps(one.target)
            for target in map(ip_network, protected)
        )  # type: ignore[arg-type]
        assert near <= bool(one.protected)
