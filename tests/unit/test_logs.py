"""Log lines: their forms, their keys, and that nobody can forge one."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.agent.decision_log import DecisionLog
from synguard.logs import LONGEST, Lines, event, logging_to_stderr, reaches_journald
from synguard.status.conditions import KINDS
from tests.support.pages import ROOT

TABLE = (ROOT / "docs/logs.md").read_text(encoding="utf-8").partition("| `event` | tells |")[2]
EVENTS = {
    word: set(re.findall(r"`(\w+)`", fields))
    for word, fields in re.findall(r"^\| `([a-z-]+)` \| .+? \| (.+?) \|$", TABLE, re.MULTILINE)
}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def record(message: str, *args: object, level: int = logging.WARNING, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("synguard.x", level, __file__, 1, message, args, more.get("exc_info"))
    made.__dict__.update(more.get("extra", {}))
    return made


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for path in sorted((ROOT / "synguard").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.fullmatch(
                r"(_?log|logging\.getLogger\(__name__\))\.(debug|info|warning|error|exception|critical)",
                ast.unparse(node.func),
            ):
                yield path, node


def events_made() -> Iterator[tuple[Path, str, set[str]]]:
    for path in sorted((ROOT / "synguard").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "event" and node.args:
                word = node.args[0]
                if path.name == "conditions.py" and not isinstance(word, ast.Constant):
                    yield from (
                        (path, kind.event, set()) for kind in KINDS.values() if kind.event
                    )  # stands in its table
                    continue
                assert isinstance(word, ast.Constant), f"{path}:{node.lineno}: the word stands in the code"
                yield path, str(word.value), {keyword.arg or "**" for keyword in node.keywords}


def test_every_line_says_which_event_it_is() -> None:
    found = list(calls())
    assert len(found) > 40
    assert [f"{path}:{call.lineno}" for path, call in found if not any(k.arg == "extra" for k in call.keywords)] == []


def test_every_event_and_field_in_the_code_is_in_the_table_and_the_other_way_round() -> None:
    made = list(events_made())
    assert [(str(path), word) for path, word, fields in made if not fields <= EVENTS.get(word, set())] == []
    fields_by_event: dict[str, set[str]] = {}
    for _, word, fields in made:
        fields_by_event.setdefault(word, set()).update(fields)
    assert {word: fields for word, fields in EVENTS.items() if word != "other"} == fields_by_event


def test_a_json_line_has_its_stable_keys_and_its_own() -> None:
    line = json.loads(Lines("json").format(record("banned %s", "192.0.2.7", extra=event("ban", target="192.0.2.7"))))
    assert RFC3339.fullmatch(line.pop("ts"))
    assert line == {"level": "warning", "event": "ban", "message": "banned 192.0.2.7", "target": "192.0.2.7"}


def test_a_line_of_somebody_else_is_an_event_too() -> None:
    assert json.loads(Lines("json").format(record("hello", level=logging.INFO)))["event"] == "other"


def test_no_field_can_hide_a_stable_key() -> None:
    assert {field for fields in EVENTS.values() for field in fields} & {"ts", "level", "event", "message"} == set()


def test_a_failure_is_told_with_its_traceback_on_the_same_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        made = record("it failed", exc_info=sys.exc_info())
    assert "two\\nlines" in json.loads(Lines("json").format(made))["traceback"]
    text = Lines("text").format(made)
    assert "two\\nlines" in text
    assert "\n" not in text


@pytest.mark.parametrize("journald", [False, True])
@pytest.mark.parametrize("form", ["text", "json"])
@given(name=st.text(st.characters(codec=None), max_size=50))
def test_whatever_a_process_is_called_a_line_is_one_line_and_says_nothing_twice(
    form: Any, journald: bool, name: str
) -> None:
    made = record("port 80 (%s)", name, extra=event("leak", target=name, ban="b"))
    line = Lines(form, journald=journald).format(made)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    if form == "json":
        told = json.loads(line.removeprefix("<4>") if journald else line)
        assert list(told) == ["ts", "level", "event", "message", "target", "ban"]


def test_a_line_is_no_longer_than_its_bound() -> None:
    made = record("%s", "\x1b" * 10_000, extra=event("leak", target="\x1b" * 10_000))
    assert len(json.loads(Lines("json").format(made))["message"]) == LONGEST
    assert len(json.loads(Lines("json").format(made))["target"]) == LONGEST


@pytest.mark.parametrize(("level", "priority"), [("ERROR", 3), ("WARNING", 4), ("INFO", 6), ("DEBUG", 7)])
def test_journald_is_told_priorities_and_no_time(level: str, priority: int) -> None:
    line = Lines("text", journald=True).format(record("hello", level=getattr(logging, level)))
    assert line == f"<{priority}>hello"


def test_text_for_people_has_time_and_level() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} WARNING hello", Lines().format(record("hello")))


def test_journald_is_known_by_the_socket_and_not_by_the_variable_alone(tmp_path: Path) -> None:
    """A child of a service has the variable too, whatever its stderr is."""
    with (tmp_path / "stderr").open("w") as stream:
        there = os.fstat(stream.fileno())
        named = {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}
        assert reaches_journald(stream, named)
        assert not reaches_journald(stream, {"JOURNAL_STREAM": "8:12345"})
        assert not reaches_journald(stream, {})
    assert not reaches_journald(io.StringIO(), named)


def test_the_log_goes_to_stderr_in_the_form_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger(DecisionLog.__module__)
    with logging_to_stderr("json"):
        log.warning("hello", extra=event("flood", verdict="spoofed"))
        log.debug("not asked for")
    log.warning("not any more")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["verdict"] == "spoofed"
