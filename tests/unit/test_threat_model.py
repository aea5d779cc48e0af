"""The threat model and its table name tests that are there."""

from __future__ import annotations

import re

import pytest

from tests.support.attackers import ROWS
from tests.support.pages import ROOT
from tests.support.replays import REPLAYS

PAGE = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
SOURCES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
NAMED = sorted(set(re.findall(r"`(test_\w+)", PAGE)))


@pytest.mark.parametrize("name", NAMED)
def test_each_named_test_is_there(name: str) -> None:
    assert any(f"def {name}" in text for text in SOURCES.values())


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/]+(?:\.py)?)`", PAGE))))
def test_each_named_file_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def rows_of_tables() -> list[str]:
    """Return the lines of tables that promise something."""
    lines = [line for line in PAGE.partition("## Not promised")[0].splitlines() if line.startswith("|")]
    return [line for line in lines if not line.startswith(("|---", "| may |", "| promise |"))]


def test_each_promise_names_the_test_that_holds_it() -> None:
    for row in rows_of_tables():
        shown_by = row.strip("|").split("|")[-1]
        assert re.search(r"`test\w*|`tests/", shown_by), row
    for section in PAGE.partition("## Not promised")[0].split("\n## ")[1:]:
        assert re.search(r"`test\w+|`tests/", section), section


def test_each_row_is_replayed() -> None:
    assert sorted(REPLAYS) == [row.number for row in ROWS]


def test_the_table_has_seventeen_rows_each_with_a_test_that_measures() -> None:
    assert [row.number for row in ROWS] == list(range(1, 18))
    for row in ROWS:
        path, name = row.test.split("::")
        body = SOURCES[ROOT / path].split(f"def {name.partition('[')[0]}(")[1].split("\ndef ")[0]
        assert 'record_property("now"' in body
