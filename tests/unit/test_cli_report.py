"""`synguard report`: from when to when, and sent as a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email import message_from_string
from pathlib import Path

import pytest

from synguard.cli.parameter_types import past
from synguard.errors import UsageError
from tests.support.bans import ban
from tests.support.cli_host import CliHost
from tests.support.mail_and_web import Mail, Web

NOW = datetime(2026, 11, 29, 15, 30, tzinfo=UTC)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    return CliHost(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("word", "when"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("now", NOW),
        ("today", datetime(2026, 11, 29).astimezone()),
        ("yesterday", datetime(2026, 11, 28).astimezone()),
        ("2026-11-28", datetime(2026, 11, 28).astimezone()),
        ("2026-11-28T14:00Z", datetime(2026, 11, 28, 14, tzinfo=UTC)),
    ],
)
def test_a_moment_that_is_over_is_written_as_people_say_it(word: str, when: datetime) -> None:
    assert past(word, NOW) == when


@pytest.mark.parametrize("word", ["last week", "2026-12-24", ""])
def test_what_is_no_past_moment_is_refused(word: str) -> None:
    with pytest.raises(UsageError):
        past(word, NOW)


def test_a_report_between_two_times_holds_what_began_in_between(host: CliHost) -> None:
    now = datetime.now(UTC)
    with host.ledger() as ledger:
        for hours in (5, 3, 1):
            ledger.add_bans([ban(f"m{hours}", f"203.0.113.{hours}", start=now - timedelta(hours=hours), seconds=600)])
    told = host.run("report", "--between", "4h", "2h", "--json").json
    assert [one["target"] for one in told["bans"]] == ["203.0.113.3"]
    assert (host.run("report", "--between", "2h", "4h").code, host.run("report", "--between", "4h").code) == (2, 2)
    assert host.run("report", "--since", "1h", "--between", "4h", "2h").code == 2


def test_a_report_is_sent_as_a_page_where_files_are_taken_and_in_words_elsewhere(host: CliHost) -> None:
    with Mail() as mail, Web() as web:
        host.configure(f'[notify]\nname = "web1"\nurls = ["{mail.url}", "{web.url()}"]\n')
        told = host.run("report", "--since", "yesterday", "--send", "--json")
    assert (told.code, [one["answer"] for one in told.json]) == (0, ["taken, with the page", "HTTP 200 OK"])
    parts = [*message_from_string(mail.taken[0]).walk()]
    (page,) = [part for part in parts if part.get_filename()]
    assert str(page.get_filename()).startswith("synguard-web1-")
    assert b"<!doctype html>" in bytes(page.get_payload(decode=True))[:100].lower()
    assert web.bodies[0]["event"] == "report"
    assert "No attack" in web.bodies[0]["text"]
