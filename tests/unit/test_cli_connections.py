"""The words of ``synguard connections``: what is asked, what is refused, how often it is shown."""

from __future__ import annotations

import json
import os
import time
from itertools import count

import pytest

from synguard.cli.main import app
from synguard.report.connections import ConnectionsQuery
from synguard.report.group_by import By
from synguard.report.sockets import SocketView
from synguard.socket_table import TcpState


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as leaving:
        app(["connections", *words])
    return int(leaving.value.code or 0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ConnectionsQuery]:
    """Questions that reach the kernel, each answered with this host's own sockets."""
    import synguard.cli.connections as verb

    questions: list[ConnectionsQuery] = []
    read = verb._read

    def noted(sockets: object, question: ConnectionsQuery) -> SocketView:
        questions.append(question)
        return read(sockets, question)  # type: ignore[arg-type]

    monkeypatch.setattr(verb, "_read", noted)
    return questions


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--state", "SYN_REC"], 'synguard: "SYN_REC" is not a TCP state; did you mean SYN_RECV?'),
        (["--port", "http"], 'synguard: "http" is not a port'),
        (["--port", "80", "--port", "0"], 'synguard: "0" is not a port'),
        (["--by", "sources"], "synguard: "),
        (["--limit", "-1"], "synguard: "),
        (["--limit", "many"], "synguard: "),
        (["--prefix-length", "0"], 'synguard: "0" is no prefix length'),
        (["--prefix-length", "24,129"], 'synguard: "24,129" is no prefix length'),
        (["--prefix-length", "²"], 'synguard: "²" is no prefix length'),
        (["--prefix-length", "24", "--by", "port"], "synguard: --prefix-length goes with --by prefix"),
        (["--listening", "--udp"], "synguard: --listening stands alone"),
        (["--listening", "--by", "port"], "synguard: --listening stands alone"),
        (["--by", "process", "--udp"], "synguard: --by process knows TCP"),
        (["--by", "source", "--state", "LISTEN"], "synguard: what listens has no source"),
        (["--watch", "soon"], 'synguard: "soon" is not a duration'),
        (["--watch", "1ms"], "synguard: --watch 1ms is too often"),
        (["nginx"], "synguard: "),
    ],
)
def test_garbage_is_one_sentence_and_exit_code_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(sentence)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ([], ConnectionsQuery()),
        (["--state", "syn-recv"], ConnectionsQuery(By.SOURCE, states=frozenset({TcpState.SYN_RECV}))),
        (["--port", "80,8000-8002"], ConnectionsQuery(By.SOURCE, ports=(range(80, 81), range(8000, 8003)))),
        (["--prefix-length", "20"], ConnectionsQuery(By.PREFIX, lengths=(20, 48))),
        (["--prefix-length", "56"], ConnectionsQuery(By.PREFIX, lengths=(24, 56))),
        (["--prefix-length", "20,64"], ConnectionsQuery(By.PREFIX, lengths=(20, 64))),
        (["--state", "LISTEN"], ConnectionsQuery(listening=True)),
        (["--by", "remote", "--udp", "--limit", "0"], ConnectionsQuery(By.REMOTE, limit=0, udp=True)),
    ],
)
def test_words_are_understood(words: list[str], question: ConnectionsQuery, asked: list[ConnectionsQuery]) -> None:
    assert call(*words) == 0
    assert asked == [question]


def test_watching_shows_again_until_interrupted(
    asked: list[ConnectionsQuery], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    assert call("--by", "state", "--watch", "2s", "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["by"] for line in lines] == ["state"] * 3
    assert len(asked) == 3
    assert all(0 < seconds < 2 for seconds in slept)


def test_watching_a_slow_table_leaves_half_of_the_time_to_others(
    asked: list[ConnectionsQuery], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count(0, 2)  # each look at the clock costs two seconds; a dump gives up after ten
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(time, "sleep", sleep)
    assert call("--by", "state", "--watch", "1s") == 0
    assert slept[0] >= 2


def test_a_redraw_keeps_to_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from synguard.cli import connections as verb

    monkeypatch.setattr(verb.shutil, "get_terminal_size", lambda: os.terminal_size((10, 5)))
    verb._redraw([f"{n} a line wider than that" for n in range(100)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "\x1b[H0 a line w\x1b[K"
    assert len(lines) == 5, "four lines and the clearing of what is below them"
