"""The page of faults: what a row says is shown by a test is shown by a test."""

from __future__ import annotations

import re

import pytest

from tests.support.pages import ROOT

PAGE = ROOT / "docs/faults.md"
_SHOWN = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    """Return the cells of every row of every table of the page."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [cells for cells in found if cells[0] != "injected" and not set(cells[0]) <= set("-:")]


@pytest.mark.parametrize("cells", rows(), ids=lambda cells: cells[0][:60])
def test_a_fault_is_shown_by_a_test_that_is_there(cells: list[str]) -> None:
    injected, happens, _, shown = cells
    assert injected
    assert happens
    named = _SHOWN.fullmatch(shown)
    assert named, f"not a test: {shown}"
    source = (ROOT / named[1]).read_text(encoding="utf-8")
    assert re.search(rf"^(?:def {named[2]}\(|{named[2]} = )", source, re.MULTILINE), f"{named[1]} has no {named[2]}"


def test_the_faults_are_found() -> None:
    """A search that finds nothing would let everything pass."""
    assert len(rows()) >= 30
