"""What the documentation has its reader type, typed: each page on a host of its own, in order, under a real flood."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.page_player import Stage, Typed, wrong
from tests.support.page_steps import Page, pages, unlike

pytestmark = [pytest.mark.kernel, pytest.mark.pages, pytest.mark.timeout(240)]
PAGES = pages()


@pytest.fixture(scope="module")
def stages() -> Iterator[dict[str, Stage]]:
    """One lab for pages with SYN cookies off, one for those with them on."""
    with Stage("off") as off, Stage("on") as on:
        yield {"off": off, "on": on}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_can_be_worked_through(page: Page, stages: dict[str, Stage]) -> None:
    """Every command ends as it should, and what the page shows of its output is what it says."""
    played = stages[page.scene.cookies].play(page)
    assert [trouble for typed in played if (trouble := wrong(typed))] == []
    assert [lost for typed in played if (lost := no_longer_said(typed))] == []


def no_longer_said(typed: Typed) -> dict[str, list[str]]:
    """Return what the page promises of a line and the line does not say, by the line."""
    if typed.ran is None or typed.line.shown is None:
        return {}
    lost = unlike(typed.line.shown, typed.ran.output, typed.line.block)
    return {typed.line.text: lost} if lost else {}


def test_the_pages_are_found() -> None:
    assert {page.path.name for page in PAGES} >= {"README.md", "operations.md", "replay.md"}
