"""Whatever fails, and in whichever verb: a sentence, a documented exit code, never a traceback."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synguard.cli import flush
from synguard.cli.main import VERBS, app
from synguard.ledger import LEDGER_FILE
from tests.support.calm_day import calm
from tests.support.cli_host import CliHost
from tests.support.pages import ROOT
from tests.support.recordings import write_recording

DOCUMENTED = {0, 1, 2, 3, 4, 5, 130}

VERB_WORDS = {
    "status": "",
    "top": "",
    "bans": "",
    "ban": "203.0.113.8",
    "unban": "203.0.113.7",
    "extend": "203.0.113.7 --for 1h",
    "allow add": "203.0.113.9 --comment office",
    "allow remove": "203.0.113.9",
    "allow list": "",
    "allow resolve": "",
    "panic": "--yes",
    "import": "csf CSF --yes",
    "review": "--within any",
    "report": "",
    "why": "203.0.113.7",
    "enable": "--yes",
    "connections": "",
    "policy check": str(ROOT / "rules/web.toml"),
    "policy show": "",
    "policy replay": "RECORDING",
    "policy suggest": "RECORDING",
    "policy example": "",
    "doctor": "",
    "notify show": "",
    "notify test": "",
    "fleet": "",
    "upstream blackhole": "192.0.2.2 --for 30m --yes",
    "upstream release": "192.0.2.2",
    "upstream show": "",
    "flush": "--yes",
    "completion": "bash",
}
"""Every verb but ``run``, with words that carry it out."""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliHost]:
    monkeypatch.setattr(flush, "flush_kernel", lambda: None, raising=False)
    monkeypatch.setattr("synguard.enforcer.flush.flush_kernel", lambda: None)
    monkeypatch.setattr("synguard.cli.review_found._BETWEEN_READS_S", 0.0)
    made = CliHost(tmp_path, monkeypatch)
    assert made.run("ban", "203.0.113.7").code == 0
    streams = sys.stdin, sys.stdout, sys.stderr
    yield made
    sys.stdin, sys.stdout, sys.stderr = streams


def words_of(verb: str, host: CliHost) -> list[str]:
    words = f"{verb} {VERB_WORDS[verb]}".split()
    if "CSF" in words:
        (host.base / "csf.deny").write_text("203.0.113.9\n", encoding="utf-8")
        words = [str(host.base) if word == "CSF" else word for word in words]
    if "RECORDING" in words:
        recording = host.base / "day.rec"
        write_recording(recording, calm(5))
        words = [str(recording) if word == "RECORDING" else word for word in words]
    return words


def told(err: str) -> None:
    """Hold that what is on stderr is fit for an operator."""
    assert "Traceback" not in err
    assert "unexpected" not in err


def test_every_verb_is_walked() -> None:
    parts = {f"{verb.name} {part}" for verb in VERBS for part in verb.parts}
    whole = {verb.name for verb in VERBS if not verb.parts}
    assert VERB_WORDS.keys() == (parts | whole) - {"run"}


@pytest.mark.parametrize("verb", VERB_WORDS)
def test_a_ledger_that_is_none(verb: str, host: CliHost) -> None:
    (host.state / LEDGER_FILE).write_bytes(b"no database at all" * 100)
    ran = host.run(*words_of(verb, host))
    assert ran.code in DOCUMENTED
    told(ran.err)


@pytest.mark.parametrize("verb", VERB_WORDS)
def test_a_full_disk_below_the_ledger(verb: str, host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    words = words_of(verb, host)
    monkeypatch.setattr("synguard.ledger.database.Database._transaction", full)
    ran = host.run(*words)
    assert ran.code in DOCUMENTED
    told(ran.err)
    if verb in ("ban", "unban"):
        assert "the disk is full" in ran.err


@pytest.mark.parametrize("verb", VERB_WORDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), PermissionError(13, "Permission denied", "/etc/x")], ids=repr)
def test_ctrl_c_and_a_file_that_may_not_be_read(
    verb: str, error: BaseException, host: CliHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise error

    words = words_of(verb, host)
    monkeypatch.setattr("synguard.policy.load.load_config", stopped)
    ran = host.run(*words)
    told(ran.err)
    if ran.code:
        assert ran.code == (130 if isinstance(error, KeyboardInterrupt) else 1)


class Broken(io.RawIOBase):
    """A stream that takes nothing."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise self.error


def text_stream(raw: io.RawIOBase, encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(raw, 16), encoding=encoding)


def called(words: list[str]) -> int:
    """Call the command line with the streams as they are; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        app(words)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("verb", VERB_WORDS)
def test_nobody_reads_and_no_room_is_left(verb: str, host: CliHost, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_of(verb, host)
    for error, code in ((BrokenPipeError(32, "Broken pipe"), 0), (OSError(28, "No space left on device"), 1)):
        sys.stdout = text_stream(Broken(error))
        got = called(words)
        err = capsys.readouterr().err
        told(err)
        assert got == code or "No space" not in err


@pytest.mark.parametrize("verb", VERB_WORDS)
def test_a_terminal_that_speaks_ascii_only(verb: str, host: CliHost) -> None:
    words = words_of(verb, host)
    raw = io.BytesIO()
    sys.stdout = io.TextIOWrapper(raw, encoding="ascii")
    sys.stderr = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert called(words) in DOCUMENTED
    sys.stdout.flush()
    sys.stderr.flush()
    told(sys.stderr.buffer.getvalue().decode("ascii"))  # type: ignore[attr-defined]  # a BytesIO


@pytest.mark.parametrize("verb", VERB_WORDS)
def test_closed_streams(verb: str, host: CliHost) -> None:
    words = words_of(verb, host)
    sys.stdin = sys.stdout = None  # type: ignore[assignment]  # as Python has it after >&- and <&-
    sys.stderr = io.StringIO()
    assert called(words) in DOCUMENTED
    told(sys.stderr.getvalue())


class Terminal(io.StringIO):
    """What says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("verb", VERB_WORDS)
def test_a_terminal_of_20_columns(verb: str, host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((20, 5)))
    words = words_of(verb, host)
    sys.stdout, sys.stderr = Terminal(), io.StringIO()
    assert called(words) in DOCUMENTED
    told(sys.stderr.getvalue())
    for help_words in ([*verb.split(), "--help"], ["--help"]):
        assert called(help_words) == 0


REAL: list[tuple[str, int, Callable[[str], bool]]] = [
    ("--help >&-", 0, lambda err: err == ""),
    ("--help >/dev/full", 1, lambda err: "No space left on device" in err),
    ("policy show | head -c 1", 0, lambda err: err == ""),
    ("policy show >/dev/full", 1, lambda err: "No space left on device" in err),
]


@pytest.mark.parametrize(("command", "code", "fits"), REAL, ids=[one[0] for one in REAL])
def test_the_interpreters_own_end_is_quiet_too(command: str, code: int, fits: Callable[[str], bool]) -> None:
    """What is left in a buffer is written once more as Python ends, and would complain by itself."""
    script = f"set -o pipefail; {sys.executable} -m synguard {command}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert fits(done.stderr)
    assert len(done.stderr.splitlines()) <= 1
