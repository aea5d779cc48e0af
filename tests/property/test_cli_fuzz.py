"""Any words at all on the command line: a documented exit code and a sentence, no traceback, no escape sequence."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from synguard.cli.main import VERBS
from tests.fuzz.guard import Guard
from tests.support.cli_host import CliHost

CODES = {0, 1, 2, 3, 4, 5}
ELSEWHERE = {"run", "flush", "doctor", "--watch", "-w"}
"""They would watch for good, or ask the kernel of the machine that tests."""

OPTIONS = (
    "--for", "--scope", "--action", "--ports", "--reason", "--force", "--dry-run", "--json", "--yes", "--all",
    "--within", "--extend", "--release", "--quiet", "--since", "--format", "-o", "--by", "--state", "--port",
    "--config", "--debug", "--confirm", "--confirm-within", "--off", "--policy", "--limit", "--file", "--help", "-h",
    "--", "-", "--version",
)  # fmt: skip
VALUES = (
    "192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "::ffff:192.0.2.1", "0.0.0.0/0", "fe80::1%eth0", "1h", "-5s", "0",
    "80,443", "1-99999", "new", "all", "drop", "json", "html", "any", "10m", "99999999999999999999d", "/dev/null",
    "/dev/zero", ".", "/etc/passwd", "nowhere.toml", "\x1b[2J", "\x00", "a" * 5000, "1.2.3.4\nMAINPID=1", "é",
    "\udcff",
)  # fmt: skip
WORDS = (
    st.sampled_from(OPTIONS)
    | st.sampled_from(VALUES)
    | st.text(max_size=12)
    | st.builds("{}={}".format, st.sampled_from(OPTIONS), st.sampled_from(VALUES))
)
FIRST = st.sampled_from(
    [verb.name for verb in VERBS] + ["policy show", "policy check", "policy replay", "policy suggest"]
)


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[CliHost, Guard]]:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        home = Path(directory) / "home"
        home.mkdir()
        patch.chdir(home)
        yield CliHost(home, patch), Guard(home, lenient=True)


@settings(max_examples=120, suppress_health_check=list(HealthCheck))
@given(first=FIRST | WORDS, rest=st.lists(WORDS, max_size=6), stdin=st.text(max_size=40))
@example(first="report", rest=["-o", "/etc/passwd"], stdin="")
@example(first="ban", rest=["192.0.2.9", "--reason", "\x1b]0;owned\x07"], stdin="")
@example(first="policy check", rest=["/dev/zero"], stdin="")
def test_any_words_get_a_documented_code_and_printable_sentences(
    host: tuple[CliHost, Guard], first: str, rest: list[str], stdin: str
) -> None:
    cli, guard = host
    words = [*(first.split() if first.startswith("policy ") else [first]), *rest]
    if ELSEWHERE & set(words):
        words.append("--help")
        if "--" in words:
            return
    with guard.watching():
        ran = cli.run(*words, stdin=stdin)
    assert ran.code in CODES, (words, ran.code)
    assert "Traceback" not in ran.err or "--debug" in words, words
    assert "--debug shows where" not in ran.err, (words, ran.err)
    for line in (ran.out + ran.err).split("\n"):
        assert not any((ord(one) < 32 and one not in "\t\r") or ord(one) == 127 for one in line), (words, line)
    assert ran.code == 0 or ran.err.strip() or ran.out.strip()
