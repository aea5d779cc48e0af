"""`synguard extend`, and reviews of some bans or of all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from synguard.model import Action, Ban, Origin, Scope
from tests.support.cli_host import CliHost

TARGET = "203.0.113.7"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    host = CliHost(tmp_path, monkeypatch)
    assert host.run("ban", TARGET, "--for", "1h").code == 0
    assert host.run("ban", "198.51.100.0/24", "--for", "1h").code == 0
    return host


def ends_in(host: CliHost, target: str = f"{TARGET}/32") -> timedelta | None:
    """How long the one ban of the target lasts from now, in the ledger and in the kernel; None for ever."""
    (ban,) = [one.ban for one in host.records() if str(one.ban.target) == target and one.stands(datetime.now(UTC))]
    (held,) = [one for one in host.plane.actual.bans.values() if str(one.target) == target]
    assert (held.expires_at is None) == (ban.expires_at is None)
    if ban.expires_at is None or held.expires_at is None:
        return None
    assert abs(held.expires_at - ban.expires_at) < timedelta(seconds=2)
    return ban.expires_at - datetime.now(UTC)


def about(seconds: float) -> tuple[timedelta, timedelta]:
    return timedelta(seconds=seconds - 60), timedelta(seconds=seconds + 1)


def test_by_a_time(host: CliHost) -> None:
    told = host.run("extend", TARGET, "--for", "2h")
    assert (told.code, told.out.startswith(f"extended {TARGET} until ")) == (0, True)
    low, high = about(3 * 3600)
    left = ends_in(host)
    assert left is not None
    assert low < left <= high
    other = ends_in(host, "198.51.100.0/24")
    assert other is not None
    assert other < timedelta(hours=1)


def test_until_a_moment_and_by_id(host: CliHost) -> None:
    (ban,) = [one.ban for one in host.records() if str(one.ban.target) == f"{TARGET}/32"]
    end = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
    told = host.run("extend", ban.id, "--until", end.isoformat(), "--json")
    assert told.json["extended"][0]["target"] == TARGET
    left = ends_in(host)
    assert left is not None
    assert abs(left - timedelta(days=2)) < timedelta(minutes=1)


def test_for_good(host: CliHost) -> None:
    (before,) = [one.ban for one in host.records() if str(one.ban.target) == f"{TARGET}/32"]
    assert f"made permanent {TARGET}, id {before.id}" in host.run("extend", TARGET, "--permanent").out
    (after,) = [one.ban for one in host.records() if str(one.ban.target) == f"{TARGET}/32"]
    assert (after.id, after.reason) == (before.id, before.reason)  # the same ban, not one in its place
    assert ends_in(host) is None
    again = host.run("extend", TARGET, "--for", "1h")
    assert (again.code, "has no end already" in again.err) == (3, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("2h",), 2, "for how long: --for 2h"),
        ((), 2, "give a length: --for TIME, --until WHEN or --permanent"),
        (("--for", "1h", "--permanent"), 2, "give a length"),
        (("--until", "tomorrow"), 2, '"tomorrow" is no time'),
        (("--until", "2026-01-01T00:00Z"), 3, "ends later already"),
        (("--for", "30d"), 3, "say --permanent"),
    ],
)
def test_what_cannot_be_changes_nothing(host: CliHost, words: tuple[str, ...], code: int, said: str) -> None:
    told = host.run("extend", TARGET, *words)
    assert (told.code, said in told.err) == (code, True), told.err
    left = ends_in(host)
    assert left is not None
    assert left < timedelta(hours=1)


def test_one_target_that_is_not_banned_keeps_all_as_they_are(host: CliHost) -> None:
    told = host.run("extend", TARGET, "198.51.100.7", "--for", "1h")
    assert told.code == 1
    assert "198.51.100.7 is not banned by itself: the ban of 198.51.100.0/24 covers it" in told.err
    assert "to extend that: synguard extend 198.51.100.0/24" in told.err
    left = ends_in(host)
    assert left is not None
    assert left < timedelta(hours=1)


def test_an_automatic_ban_on_evidence_that_can_be_forged_has_no_end_only_with_force(host: CliHost) -> None:
    now = datetime.now(UTC)
    made = Ban(
        "a1b2", ip_network("203.0.113.9"), Scope.NEW, Action.DROP, Origin.AUTO, "web", "half-open", now,
        now + timedelta(hours=1),
    )  # fmt: skip
    with host.ledger() as ledger:
        ledger.add_bans([made])
    refused = host.run("extend", "203.0.113.9", "--permanent")
    assert (refused.code, "evidence that can be forged" in refused.err) == (3, True)
    assert host.run("extend", "203.0.113.9", "--permanent", "--force").code == 0
    assert ends_in(host, "203.0.113.9/32") is None


def test_a_review_of_all_bans_asks_before_it_changes_them(host: CliHost) -> None:
    for change in (("--extend", "1h"), ("--release",)):
        refused = host.run("review", "--within", "any", *change)
        assert (refused.code, "changing every ban asks first" in refused.err) == (2, True)
    left = ends_in(host)
    assert left is not None
    assert left < timedelta(hours=1)
    assert host.run("review", "--within", "any", "--extend", "1h", "--yes").code == 0
    left = ends_in(host)
    assert left is not None
    assert left > timedelta(hours=1)


def test_a_review_of_some_needs_no_window_and_leaves_the_others_alone(host: CliHost) -> None:
    told = host.run("review", TARGET, "--extend", "1h", "--json")
    assert [one["target"] for one in told.json["bans"]] == [TARGET]
    left, other = ends_in(host), ends_in(host, "198.51.100.0/24")
    assert left is not None
    assert other is not None
    assert left > timedelta(hours=1) > other
    assert host.run("review", "192.0.2.77").code == 1
