"""Man pages, the reference page and completions: they are what the code says, and the tools that read them agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from synguard.cli.main import VERBS, app
from synguard.enforcer import flush
from synguard.errors import ConfigError, NotPermittedError, PlaneUnavailableError, RefusedError, SynguardError
from tests.support.calm_day import calm
from tests.support.cli_host import CliHost
from tests.support.manual.__main__ import PACKAGE, pages
from tests.support.manual.roff import verb_page
from tests.support.manual.surface import Option, Page, surface
from tests.support.manual.words import EXIT_CODES, JSON_KEYS
from tests.support.pages import ROOT
from tests.support.recordings import write_recording

MAN = sorted((PACKAGE / "share" / "man").glob("man?/*"))
SCRIPTS = {shell: PACKAGE / "share" / "completions" / f"synguard.{shell}" for shell in ("bash", "zsh", "fish")}


@pytest.fixture(scope="module")
def root() -> Page:
    return surface()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    return CliHost(tmp_path, monkeypatch)


def test_every_written_page_is_up_to_date() -> None:
    stale = [str(path) for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    assert stale == [], "run: make man"


def test_no_page_of_a_verb_that_is_gone_stays() -> None:
    assert set(MAN) - pages().keys() == set(), "run: make man"


def test_every_verb_and_option_has_its_place_in_its_man_page(root: Page) -> None:
    assert {page.words[1] for page in root.walk() if len(page.words) == 2} == {verb.name for verb in VERBS}
    for page in root.walk():
        text = verb_page(page, root)
        for one in (*page.arguments, *page.options):
            assert one.names[0].replace("-", "\\-") in text, f"{page.command} {one.names[0]}"


@pytest.mark.parametrize("path", MAN, ids=lambda path: path.name)
def test_man_and_mandoc_find_nothing_to_warn_of(path: Path) -> None:
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, text=True)
    assert (lint.returncode, lint.stdout) == (0, "")
    set_ = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(path)]
    ran = subprocess.run(set_, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("page", tuple(surface().walk()), ids=lambda page: page.command)
def test_every_help_fits_a_terminal_of_80_columns_and_names_no_python_type(
    page: Page, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an example shows may be longer: it is one line to copy."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        app(["--help"] if len(page.words) == 1 else [*page.words[1:], "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("  synguard")] == []
    assert re.findall(r"<str>|<int[^>]*>|<float[^>]*>|<path>", "\n".join(lines), re.IGNORECASE) == []


def test_no_text_can_become_a_request_of_roff() -> None:
    """A help text that begins with a full stop or a quote would vanish from the page, or worse, be carried out."""
    trap = Option(("--trap",), None, (), ".so /etc/passwd and 'ab \\fB back\\slash", None, False, False, False)
    page = Page(("synguard", "x"), "x", ".sy touch /tmp/x", (), ("'br",), (), (trap,), ())
    text = verb_page(page, page)
    shown = subprocess.run(["mandoc", "-Tascii"], input=text, capture_output=True, text=True, check=True).stdout
    for words in (".sy touch /tmp/x", "'br", ".so /etc/passwd and 'ab \\fB back\\slash"):
        assert words in " ".join(shown.split())


def test_the_exit_codes_are_those_of_the_errors() -> None:
    errors = (SynguardError, ConfigError, RefusedError, NotPermittedError, PlaneUnavailableError)
    assert set(EXIT_CODES) == {0, 130} | {error.exit_code for error in errors}


@pytest.mark.parametrize("command", JSON_KEYS)
def test_json_has_the_documented_keys(command: str, host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush, "flush_kernel", lambda: None)
    recording = str(host.base / "day.rec")
    write_recording(Path(recording), calm(60, loud={"192.0.2.77": 40}))
    words: dict[str, tuple[str, ...]] = {
        "synguard ban": ("203.0.113.8",),
        "synguard why": ("203.0.113.7",),
        "synguard review": ("--within", "any"),
        "synguard unban": ("203.0.113.7",),
        "synguard flush": ("--yes",),
        "synguard panic": ("--yes",),
        "synguard import": ("csf", "csf.deny", "--yes"),
        "synguard extend": ("203.0.113.7", "--for", "1h"),
        "synguard allow add": ("203.0.113.9",),
        "synguard allow remove": ("203.0.113.9",),
        "synguard policy check": (str(ROOT / "rules/web.toml"),),
        "synguard policy replay": (recording,),
        "synguard policy suggest": (recording,),
    }
    host.run("ban", "203.0.113.7")
    monkeypatch.chdir(host.base)
    (host.base / "csf.deny").write_text("203.0.113.9\n", encoding="utf-8")
    if command == "synguard allow remove":
        host.run("allow", "add", "203.0.113.9")
    ran = host.run(*command.split()[1:], *words.get(command, ()), "--json")
    assert keys_of(ran.json) == sorted(JSON_KEYS[command].split()), "correct manual/words.py, then: make man"


def keys_of(answer: Any) -> list[str]:
    if isinstance(answer, list):
        assert answer, "an empty list shows no keys"
        answer = answer[0]
    return sorted(answer)


def test_every_verb_that_has_json_has_its_keys_documented(root: Page) -> None:
    """But for ``enable``, which wants a running agent, ``notify test`` and the fleet, which want peers.

    tests/contract holds the keys that scripts depend on.
    """
    with_json = {page.command for page in root.walk() if not page.verbs and "--json" in names(page)}
    assert with_json - set(JSON_KEYS) <= {
        "synguard enable",
        "synguard notify test",
        "synguard fleet",
        "synguard upstream show",
    }


def names(page: Page) -> set[str]:
    return {name for one in page.options for name in one.names}


# --- completions --------------------------------------------------------------------------------------------------


def bash(line: str, path: str = "/usr/bin:/bin") -> set[str]:
    """What bash offers at the end of a line, without the package bash-completion."""
    program = f"""
source {SCRIPTS["bash"]}
read -ra COMP_WORDS <<< "$1"
[[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_synguard
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    ran = subprocess.run(["bash", "-c", program, "bash", line], capture_output=True, text=True, env={"PATH": path})
    assert ran.stderr == ""
    return set(ran.stdout.split())


def fish(line: str, path: str = "/usr/bin:/bin") -> set[str]:
    """What fish offers."""
    program = f"source {SCRIPTS['fish']}; complete -C '{line}'"
    environment = {"PATH": path, "HOME": "/nonexistent", "XDG_DATA_DIRS": "/nonexistent"}
    ran = subprocess.run(["fish", "--no-config", "-c", program], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    return {word.partition("\t")[0] for word in ran.stdout.splitlines()}


def zsh(line: str, path: str = "/usr/bin:/bin") -> set[str]:
    """What zsh offers: a shell in a pseudo terminal is given the line and Tab, and its matches are read off."""
    ran = subprocess.run(
        ["zsh", "-f", str(ROOT / "tests/support/zsh_offers.zsh"), str(SCRIPTS["zsh"]), line],
        capture_output=True,
        text=True,
        env={"PATH": path, "HOME": "/nonexistent", "TERM": "dumb"},
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr
    return {word.strip() for word in ran.stdout.splitlines()}


SHELLS = pytest.mark.parametrize("offers", [bash, fish, zsh])


@SHELLS
def test_verbs_are_offered(offers: Any, root: Page) -> None:
    assert offers("synguard ") == {verb.name for verb in VERBS}
    assert offers("synguard --config x.toml policy ") == {"check", "show", "replay", "suggest", "example"}


@SHELLS
@pytest.mark.parametrize("command", ["ban", "policy replay", "review"])
def test_options_are_offered(offers: Any, command: str, root: Page) -> None:
    page = next(one for one in root.walk() if one.command == f"synguard {command}")
    long = {name for name in names(page) if name.startswith("--")}
    assert {word for word in offers(f"synguard {command} --") if word.startswith("--")} == long


@SHELLS
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("synguard ban --scope ", {"new", "all"}),
        ("synguard ban 203.0.113.7 --action r", {"reject"}),
        ("synguard report --format ", {"text", "json", "html"}),
        ("synguard connections --state SYN_", {"SYN_SENT", "SYN_RECV"}),
        ("synguard policy replay day.rec --policy ba", {"bastion"}),
        ("synguard completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_values_are_offered(offers: Any, line: str, words: set[str]) -> None:
    assert offers(line) == words


@SHELLS
def test_unban_is_offered_what_is_banned(offers: Any, tmp_path: Path) -> None:
    """Through the command itself, as found on PATH."""
    program = tmp_path / "synguard"
    program.write_text('#!/bin/sh\n[ "$*" = "completion --targets" ] && printf "203.0.113.7\\n198.51.100.0/24\\n"\n')
    program.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    assert offers("synguard unban ", path) >= {"203.0.113.7", "198.51.100.0/24"}
    assert offers("synguard unban 203", path) == {"203.0.113.7"}


def test_the_command_prints_the_script_of_a_shell(host: CliHost) -> None:
    assert host.run("completion", "bash").out == SCRIPTS["bash"].read_text("utf-8")
    assert host.run("completion").code == 2
    assert host.run("completion", "tcsh").code == 2


def test_targets_are_those_of_bans_that_stand(host: CliHost) -> None:
    host.run("ban", "203.0.113.7", "2001:db8:7::/48")
    host.run("ban", "198.51.100.1", "--for", "permanent")
    host.run("ban", "198.51.100.2")
    host.run("unban", "198.51.100.2")
    assert set(host.run("completion", "--targets").out.split()) == {"203.0.113.7", "2001:db8:7::/48", "198.51.100.1"}


@pytest.mark.parametrize("content", [None, b"", b"not a database"])
def test_targets_of_a_ledger_that_cannot_be_read_are_none(host: CliHost, content: bytes | None) -> None:
    if content is not None:
        host.state.mkdir()
        (host.state / "ledger.db").write_bytes(content)
    ran = host.run("completion", "--targets")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_asking_for_targets_neither_makes_a_ledger_nor_loads_what_is_heavy(host: CliHost) -> None:
    program = "sys.argv[1:] = ['completion', '--targets']; from synguard.__main__ import run; run()"
    watch = f"import atexit, sys; atexit.register(lambda: print(sorted(sys.modules), file=sys.stderr)); {program}"
    ran = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True, check=True)
    loaded = set(re.findall(r"'([\w.]+)'", ran.stderr))
    assert "synguard.cli.tab" in loaded
    assert not {"typer", "synguard.policy", "synguard.ledger", "numpy", "rich", "iptc", "psutil"} & loaded
    assert not host.state.exists()
