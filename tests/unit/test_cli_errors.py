"""Exit codes and sentences: scripts depend on the first, operators on the second."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synguard.cli.main import VERBS
from synguard.cli.usage_errors import OTHER_WORDS
from synguard.model import Evidence, Hits, Scope, Signal
from tests.support.bans import ban
from tests.support.cli_host import CliHost


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    return CliHost(tmp_path, monkeypatch)


HANDSHAKES = Evidence(Signal.CONNECTIONS, 900.0, 250.0)

USAGE = [
    ("bnas",),
    ("ban",),
    ("ban", "1.2.3"),
    ("ban", "203.0.113.7/24"),
    ("ban", "203.0.113.7", "garbage"),
    ("ban", "203.0.113.7", "--for", "10"),
    ("ban", "203.0.113.7", "--for", "0s"),
    ("ban", "203.0.113.7", "--for", "60d"),
    ("ban", "203.0.113.7", "--ports", "99999"),
    ("ban", "203.0.113.7", "--ports", "1-1000"),
    ("ban", "203.0.113.7", "--scope", "some"),
    ("ban", "203.0.113.7", "--frce"),
    ("unban",),
    ("unban", "garbage"),
    ("unban", "203.0.113.7", "--all"),
    ("bans", "--expiring", "soon"),
    ("bans", "--page", "2"),
    ("bans", "--config", "/nowhere/synguard.toml"),
    ("review", "--still-hitting"),
    ("review", "--quiet", "1h"),
    ("report", "--json", "--format", "html"),
    ("report", "--since", "tomorrow"),
    ("why", "nobody"),
    ("policy", "check", "/nowhere/web.toml"),
    ("policy", "show", "--policy", "nothing"),
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_a_word_that_cannot_be_read_is_told_in_one_sentence_and_changes_nothing(
    host: CliHost, words: tuple[str, ...]
) -> None:
    ran = host.run(*words)
    assert ran.code == 2
    assert ran.err.startswith("synguard: ")
    assert len(ran.err.splitlines()) == 1
    assert "Traceback" not in ran.err
    assert host.records() == []
    assert host.plane.changes == []


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("bnas", "bans"),
        ("ban 203.0.113.7 --frce", "--force"),
        ("ban 203.0.113.7 --scope al", "all"),
        ("ban 203.0.113.7 --action rejct", "reject"),
        ("report --format htm", "html"),
        ("bans --sort pakets", "packets"),
        ("connections --by sorce", "source"),
        ("connections --state SYN_RECIVED", "SYN_RECV"),
        ("policy shwo", "show"),
        ("ban 203.0.113.7 --comment x", "--reason"),
        ("ban 203.0.113.7 --permanent", "--for permanent"),
        ("ban 203.0.113.7 --duration 2h", "--for"),
        ("allow add 203.0.113.7 --reason x", "--comment"),
        ("report --last 2h", "--since"),
        ("policy show --policy defualt", "default"),
        ("completion bsh", "bash"),
        ("block 203.0.113.7", "ban"),
        ("list", "bans"),
        ("watch", "top"),
        ("help", "--help"),
        ("disable", "enable --off"),
        ("203.0.113.7", "synguard why 203.0.113.7"),
        ("allow 2001:db8::/48", "synguard allow add 2001:db8::/48"),
        ("bans 203.0.113.7", "--target"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(host: CliHost, words: str, meant: str) -> None:
    ran = host.run(*words.split())
    assert ran.code == 2
    assert f"did you mean {meant}?" in ran.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("ban 203.0.113.7 2h", "for how long: --for 2h"),
        ("ban 203.0.113.7 permanent", "for how long: --for permanent"),
        ("ban 203.0.113.7 scanner", "as a remark: --reason scanner"),
        ("allow add 203.0.113.7 office", "as a remark: --comment office"),
        ("ban 203.0.113.7;203.0.113.9", "write them apart: 203.0.113.7 203.0.113.9"),
    ],
)
def test_a_word_that_belongs_behind_an_option_names_it(host: CliHost, words: str, meant: str) -> None:
    told = host.run(*words.split())
    assert (told.code, meant in told.err, host.records()) == (2, True, [])


def test_a_word_that_is_near_nothing_is_answered_with_all_there_are(host: CliHost) -> None:
    assert "takes drop, reject, challenge or limit; see" in host.run("ban", "203.0.113.7", "--action", "xyz").err
    assert 'see "synguard --help"' in host.run("frobnicate").err
    assert "missing argument 'FILE', as in: synguard import csf /etc/csf --dry-run; see" in host.run("import", "x").err
    assert "give a whole number" in host.run("bans", "--limit", "x").err


def test_every_other_word_leads_to_a_verb_and_stands_in_no_verbs_way() -> None:
    verbs = {verb.name for verb in VERBS}
    assert not OTHER_WORDS.keys() & verbs
    assert {meant.split()[0] for meant in OTHER_WORDS.values()} <= verbs | {"--help", "--version"}


@pytest.mark.parametrize(
    "words",
    [
        ("unban", "--all"),
        ("flush",),
        ("flush", "--json"),
        ("review", "--apply-suggestions"),
        ("review", "--make-permanent"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_undone_wants_yes_where_nobody_can_be_asked(
    host: CliHost, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synguard.enforcer.flush.flush_kernel", lambda: pytest.fail("flushed"))
    with host.ledger() as ledger:
        ledger.add_bans([replace(ban("again", "203.0.113.7", scope=Scope.ALL), evidence=(HANDSHAKES,), times=9)])
        ledger.record_hits({"again": Hits(7, 420)}, datetime.now(UTC))
    ran = host.run(*words, "--within", "any") if words[0] == "review" else host.run(*words)
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "--yes" in ran.err
    assert host.active_bans() == {"203.0.113.7/32"}


def test_every_fault_of_a_config_is_told_at_once(host: CliHost) -> None:
    host.configure('mode = "maybe"\nplane = "magic"\n')
    ran = host.run("bans")
    assert ran.code == 2
    assert "mode" in ran.err
    assert "plane" in ran.err


def test_an_unexpected_error_is_one_sentence_and_debug_shows_where(
    host: CliHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr("synguard.ledger.Ledger.count_bans", broken)
    ran = host.run("bans")
    assert (ran.code, "Traceback" in ran.err) == (1, False)
    assert "ZeroDivisionError" in ran.err
    assert "Traceback" in host.run("bans", "--debug").err


def test_config_may_stand_before_or_after_the_verb(host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNGUARD_CONFIG", "/nowhere/synguard.toml")
    assert host.run("--config", str(host.config), "bans").code == 0
    assert host.run("bans", "--config", str(host.config)).code == 0
    assert host.run("bans").code == 2


def test_json_may_stand_before_the_verb(host: CliHost) -> None:
    assert host.run("--json", "bans").json == []


def test_control_characters_of_others_do_not_reach_the_terminal(host: CliHost) -> None:
    host.run("ban", "203.0.113.7", "--reason", "evil\x1b]0;title\x07")
    for verb in (("bans",), ("report",), ("why", "203.0.113.7")):
        assert "\x1b" not in host.run(*verb).out


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_in_the_table_has_help_that_begins_with_an_example(host: CliHost, verb: str) -> None:
    ran = host.run(verb, "--help")
    assert ran.code == 0, ran.err
    assert ran.out.index("Examples:") < ran.out.index("Usage:")


@pytest.mark.parametrize("words", ["--help", "--version", "bans --help"])
def test_help_does_not_load_what_is_heavy(words: str) -> None:
    program = (
        "import sys\nfrom synguard.cli.main import app\n"
        f"try: app({words.split()!r})\nexcept SystemExit: pass\n"
        "print(sorted({'iptc', 'numpy', 'psutil', 'pyroute2', 'sqlite3'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"


def test_a_closed_pipe_is_quiet(host: CliHost) -> None:
    command = f"{sys.executable} -m synguard --help | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
