"""The threat model and its table name tests that are there."""

from __future__ import annotations

import re

import pytest

from tests.support.attackers import ROWS
from tests.support.pages import ROOT

PAGE = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
SOURCES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
NAMED = sorted(set(re.findall(r"`(test_\w+)", PAGE)))


@pytest.mark.parametrize("name", NAMED)
def test_each_named_test_is_there(name: str) -> None:
    assert any(f"def {name}" in text for text in SOURCES.values())


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/]+(?:\.py)?)`", PAGE))))
def test_each_named_file_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_table_has_seventeen_rows_each_with_a_test_that_measures() -> None:
    assert [row.number for row in ROWS] == list(range(1, 18))
    for row in ROWS:
        path, name = row.test.split("::")
        body = SOURCES[ROOT / path].split(f"def {name.partition('[')[0]}(")[1].split("\ndef ")[0]
        assert 'record_property("now"' in body
