"""The report in a real browser: nothing is loaded, nothing overflows, people with other eyes can read it, it prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from synguard.report.account import Account
from synguard.report.html import page
from synguard.report.html_rows import MOST_PRINTED, MOST_ROWS
from tests.support.accounts import account, flooded_day, hostile, thousand_bans
from tests.support.browser import DESKTOP, PHONE, Shown, chromium


def short() -> Account:
    """Every kind of thing that a page shows, and few of each."""
    told = flooded_day()
    return replace(told, timeline=replace(told.timeline, stretches=told.timeline.stretches[::12]))


PAGES = {"flood": flooded_day, "calm": account, "many": thousand_bans, "hostile": hostile, "short": short}
WINDOWS = {"phone": PHONE, "desktop": DESKTOP, "smallest": (320, 640)}
LOOKED_AT = [(name, size) for name in ("flood", "many") for size in WINDOWS] + [
    ("calm", "phone"),
    ("hostile", "smallest"),
    ("hostile", "desktop"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("pages")
    files = {name: base / f"{name}.html" for name in PAGES}
    for name, path in files.items():
        path.write_text(page(PAGES[name]()), encoding="utf-8")
    return files


@pytest.mark.parametrize(("name", "window"), LOOKED_AT)
def test_a_page_loads_nothing_complains_of_nothing_and_fits_the_window(
    browser: Browser, files: dict[str, Path], name: str, window: str
) -> None:
    size = WINDOWS[window]
    shown = Shown(browser, files[name], size)
    assert shown.requests == [files[name].as_uri()]
    assert shown.complaints == []
    assert shown.overflows == []
    assert shown.ask("document.documentElement.scrollWidth <= window.innerWidth")
    assert shown.ask("document.scripts.length") == 0
    width = size[0] > 640
    shows = "getComputedStyle(document.querySelector('.chart.{}')).display"
    assert (shown.ask(shows.format("wide")) == "block") is width
    assert (shown.ask(shows.format("narrow")) == "block") is not width
    smallest = shown.ask(
        "Math.min(...[...document.querySelectorAll('.chart text')].filter(one => one.getClientRects().length)"
        ".map(one => one.getBoundingClientRect().height))"
    )
    assert smallest >= 8, "words in charts can be read"
    shown.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_people_who_read_otherwise(
    browser: Browser, files: dict[str, Path], scheme: Literal["light", "dark"]
) -> None:
    """Contrast, names, landmarks, order of headings: axe knows some ninety rules, WCAG 2.2 AA among them."""
    shown = Shown(browser, files["short"], DESKTOP, scheme)
    shown.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    found = Axe().run(shown.page)
    told = [(one["id"], [node["html"][:90] for node in one["nodes"][:3]]) for one in found.response["violations"]]
    assert told == []
    assert len(found.response["passes"]) > 25, "it looked at something"
    shown.close()


def test_dark_is_dark_and_light_is_light(browser: Browser, files: dict[str, Path]) -> None:
    papers = []
    for scheme in ("light", "dark"):
        shown = Shown(browser, files["flood"], DESKTOP, scheme)  # type: ignore[arg-type]  # literals from a tuple
        papers.append(shown.ask("getComputedStyle(document.body).backgroundColor"))
        shown.close()
    assert papers == ["rgb(255, 255, 255)", "rgb(15, 20, 25)"]


@pytest.mark.parametrize(("name", "most_pages"), [("flood", 8), ("calm", 5), ("many", 20)])
def test_it_prints(browser: Browser, files: dict[str, Path], name: str, most_pages: int) -> None:
    shown = Shown(browser, files[name], DESKTOP, "dark")
    printed = shown.page.pdf(format="A4", print_background=True)
    assert printed.startswith(b"%PDF")
    assert 1 <= printed.count(b"/Type /Page\n") <= most_pages
    shown.page.emulate_media(media="print")
    assert shown.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.ask("getComputedStyle(document.querySelector('.chart.wide')).display") == "block"
    shown.close()


def test_paper_gets_the_first_rows_and_says_how_many_more_there_are(browser: Browser, files: dict[str, Path]) -> None:
    shown = Shown(browser, files["many"], DESKTOP, "light")
    visible = "[...document.querySelectorAll('.card')].filter((one) => getComputedStyle(one).display != 'none').length"
    told = "[...document.querySelectorAll('.on-paper')].map((one) => one.innerText).join(' ')"
    assert shown.ask(visible) == MOST_ROWS
    shown.page.emulate_media(media="print")
    assert shown.ask(visible) == MOST_PRINTED
    assert "975 more sources and networks are not printed" in shown.ask(told)
    shown.close()


def test_what_tempts_a_browser_is_refused_by_the_page_s_own_policy(
    browser: Browser, files: dict[str, Path], tmp_path: Path
) -> None:
    """So that an escape which a later change forgets still runs nothing and loads nothing."""
    path = tmp_path / "tampered.html"
    evil = (
        "<script>document.title='run'</script><img src='http://127.0.0.1:9/x.png'>"
        "<p style='color:red' id=p>x</p></main>"
    )
    path.write_text(files["flood"].read_text().replace("</main>", evil), encoding="utf-8")
    shown = Shown(browser, path)
    assert shown.ask("document.title") != "run"
    assert shown.refused == [("http://127.0.0.1:9/x.png", "csp")], "the browser refused it, not the network"
    assert shown.ask("getComputedStyle(document.getElementById('p')).color") != "rgb(255, 0, 0)"
    assert len(shown.complaints) == 3
    shown.close()
