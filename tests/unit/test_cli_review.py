"""``synguard review``: what it shows, what it changes, and that it says exactly what it changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synguard.errors import PlaneError
from synguard.model import Evidence, Hits, Scope, Signal
from synguard.report.advice import MANY
from synguard.socket_table import TcpState
from tests.support.bans import ban
from tests.support.cli_host import CliHost, Ran

HITS, QUIET, CAME_BACK, WOULD = "203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"
HANDSHAKES = Evidence(Signal.CONNECTIONS, 900.0, 250.0)
FORGEABLE = Evidence(Signal.SYN_RATE, 90.0, 25.0)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    """One who still hits, one who never did, one who came back on handshakes, and one of a dry run."""
    monkeypatch.setattr("synguard.cli.review_found._BETWEEN_READS_S", 0.0)
    made = CliHost(tmp_path, monkeypatch)
    now = datetime.now(UTC)
    with made.ledger() as ledger:
        ledger.add_bans(
            [
                replace(ban("hits1", HITS, seconds=100, start=now), evidence=(FORGEABLE,)),
                replace(ban("quiet1", QUIET, seconds=3500, start=now - timedelta(seconds=3380)), evidence=(FORGEABLE,)),
                replace(ban("back1", CAME_BACK, scope=Scope.ALL, start=now), evidence=(HANDSHAKES,), times=MANY),
                replace(ban("would1", WOULD, start=now, seconds=600.0, dry_run=True), evidence=(FORGEABLE,)),
            ]
        )
        ledger.record_hits({"hits1": Hits(7, 420), "back1": Hits(9, 540)}, now)
    made.run("ban", "198.51.100.1", "--for", "10m")
    return made


def active_bans(host: CliHost) -> dict[str, datetime | None]:
    now = datetime.now(UTC)
    return {str(one.ban.target): one.ban.expires_at for one in host.records() if one.stands(now)}


def suggestions(host: CliHost) -> dict[str, str]:
    return {one["target"]: one["suggestion"] for one in host.run("review", "--within", "any", "--json").json["bans"]}


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch, host: CliHost) -> Callable[..., Ran]:
    """Return what reviews with these keys pressed, and this answer to the last question."""

    def run(keys: Iterable[str], confirm: str = "y") -> Ran:
        pressed: Iterator[str] = iter(keys)
        monkeypatch.setattr("typer.getchar", lambda: next(pressed))
        monkeypatch.setattr("synguard.cli.prompt.is_interactive", lambda: True)
        monkeypatch.setattr("synguard.cli.prompt.can_prompt", lambda: True)
        return host.run("review", "--within", "any", stdin=f"{confirm}\n")

    return run


def test_json_carries_a_suggestion_and_its_reason_for_every_ban(host: CliHost) -> None:
    assert suggestions(host) == {
        HITS: "extend",
        QUIET: "release",
        CAME_BACK: "make permanent",
        WOULD: "release",
        "198.51.100.1": "keep",
    }
    told = host.run("review", "--within", "any", "--json").json
    assert all(one["suggestion_reason"] for one in told["bans"])
    assert {one["target"] for one in told["bans"] if one["dry_run"]} == {WOULD}


def test_half_open_sockets_alone_show_that_a_target_still_hits(host: CliHost) -> None:
    host.connect((QUIET, TcpState.SYN_RECV), (QUIET, TcpState.SYN_RECV), ("9.9.9.9", TcpState.SYN_RECV))
    (one,) = [one for one in host.run("review", "--within", "any", "--json").json["bans"] if one["target"] == QUIET]
    assert (one["still_hitting"], one["half_open"], one["suggestion"]) == (True, 2, "extend")


def test_looking_changes_nothing_and_says_so(host: CliHost) -> None:
    before = active_bans(host)
    ran = host.run("review", "--within", "any")
    assert "nothing was changed" in ran.out
    assert "would ban" in ran.out
    assert active_bans(host) == before


def test_a_would_be_ban_is_never_changed(host: CliHost) -> None:
    host.run("review", "--within", "any", "--release")
    host.run("review", "--within", "any", "--extend", "1h")
    (record,) = [one for one in host.records() if one.ban.dry_run]
    assert record.ended_at is None
    assert record.ban.expires_at is not None
    assert record.ban.expires_at < datetime.now(UTC) + timedelta(minutes=11)


def test_suggestions_want_a_yes_where_nobody_can_be_asked(host: CliHost) -> None:
    before = active_bans(host)
    ran = host.run("review", "--within", "any", "--apply-suggestions")
    assert (ran.code, "--yes" in ran.err) == (2, True)
    assert active_bans(host) == before


def test_applied_suggestions_are_told_one_by_one(host: CliHost) -> None:
    before = active_bans(host)
    ran = host.run("review", "--within", "any", "--apply-suggestions", "--yes")
    assert ran.code == 0, ran.err
    for words in (f"extended {HITS} until", f"released {QUIET}, id quiet1", f"made permanent {CAME_BACK}"):
        assert words in ran.out
    after = active_bans(host)
    assert after.keys() == before.keys() - {f"{QUIET}/32"}
    assert after[f"{CAME_BACK}/32"] is None
    assert host.held() == after.keys() - {f"{WOULD}/32"}
    (made,) = [one.ban for one in host.records() if one.ban.expires_at is None]
    assert (made.origin, made.scope, made.evidence) == ("manual", Scope.ALL, (HANDSHAKES,))
    assert "made permanent, banned" in made.reason


def test_make_permanent_takes_only_those(host: CliHost) -> None:
    done = host.run("review", "--within", "any", "--make-permanent", "--yes", "--json").json
    assert [one["target"] for one in done["made_permanent"]] == [CAME_BACK]
    assert (done["extended"], done["released"]) == ([], [])


def test_one_protected_meanwhile_is_refused_an_end_that_never_comes(host: CliHost) -> None:
    """Between suggestion and answer somebody logs in from there; the order is weighed as any ban by hand."""
    from synguard.addresses import parse_network
    from synguard.cli.context import open_context
    from synguard.cli.review_changes import Changes, carry_out
    from synguard.errors import RefusedError
    from synguard.policy.load import load_config

    (record,) = [one for one in host.records() if str(one.ban.target) == f"{CAME_BACK}/32"]
    host.protected[parse_network(CAME_BACK)] = "logged in over SSH"
    with open_context(load_config(host.config)) as reach, pytest.raises(RefusedError, match="logged in"):
        carry_out(Changes(made_permanent=[record.ban]), reach)
    assert active_bans(host)[f"{CAME_BACK}/32"] is not None


def test_a_key_a_ban_and_one_yes_at_the_end(host: CliHost, at_a_terminal: Callable[..., Ran]) -> None:
    """In the order of their end: the one who hits, the quiet one, three that end in ten minutes."""
    ran = at_a_terminal(["\r", "\r", "e", "r"])
    assert ran.code == 0, ran.err
    assert "suggested: extend by" in ran.out
    assert f"would ban {WOULD}, not changed; had it been real: release" in ran.out
    assert "this would change:" in ran.out
    assert {f"{QUIET}/32"} <= {str(one.ban.target) for one in host.records()} - active_bans(host).keys()


def test_a_takes_all_that_is_left_as_suggested(host: CliHost, at_a_terminal: Callable[..., Ran]) -> None:
    ran = at_a_terminal(["a"])
    assert "make these 3 changes?" in ran.err
    assert active_bans(host)[f"{CAME_BACK}/32"] is None


def test_no_at_the_end_changes_nothing(host: CliHost, at_a_terminal: Callable[..., Ran]) -> None:
    before = active_bans(host)
    ran = at_a_terminal(["a"], confirm="n")
    assert (ran.code, active_bans(host)) == (1, before)
    assert "nothing was changed" in ran.err


def test_b_goes_back_and_q_leaves_the_rest_as_it_is(host: CliHost, at_a_terminal: Callable[..., Ran]) -> None:
    before = active_bans(host)
    ran = at_a_terminal(["r", "b", "k", "q"])
    assert active_bans(host) == before
    assert "nothing was changed" in ran.out


def test_what_can_be_forged_cannot_be_made_permanent_by_a_key(host: CliHost, at_a_terminal: Callable[..., Ran]) -> None:
    ran = at_a_terminal(["p", "k", "q"])
    assert "not permanent: its evidence can be forged" in ran.out
    assert None not in active_bans(host).values()


def test_ctrl_c_before_the_end_changes_nothing_and_says_so(host: CliHost, at_a_terminal: Callable[..., Ran]) -> None:
    before = active_bans(host)
    ran = at_a_terminal(["r", "r", "\x03"])
    assert (ran.code, active_bans(host)) == (130, before)
    assert "stopped; nothing was changed" in ran.out


@pytest.mark.parametrize("error", [PlaneError("filling sets", "no"), KeyboardInterrupt()])
def test_a_review_that_is_stopped_half_way_says_what_was_done_and_what_was_not(
    host: CliHost, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stopped(*_: object) -> None:
        raise error

    monkeypatch.setattr("synguard.operator.apply.BanApplier.extend_each", stopped)
    ran = host.run("review", "--within", "any", "--apply-suggestions", "--yes")
    assert ran.code == (1 if isinstance(error, PlaneError) else 130)
    assert f"synguard: done: {QUIET}\n" in ran.err
    assert f"synguard: not done: {HITS}, {CAME_BACK}\n" in ran.err
    assert "Traceback" not in ran.err


def test_a_ban_that_ends_while_one_reviews_is_left_out(host: CliHost, at_a_terminal: Callable[..., Ran]) -> None:
    host.run("unban", QUIET)
    ran = at_a_terminal(["a"])
    assert ran.code == 0
    assert QUIET not in ran.out
