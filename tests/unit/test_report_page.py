"""The report as a page: what it says, what it must never hold, and how large it may get. No browser."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from synguard.model import Mode
from synguard.report.account import MOST_BANS, Account
from synguard.report.account_text import account_text
from synguard.report.html import page
from synguard.report.html_rows import MOST_ROWS, meter, said_beyond
from tests.support.accounts import HOSTILE, NOW, account, flooded_day, hostile, thousand_bans, timeline, would_ban

VOID = {"meta", "link", "br", "rect", "line", "circle", "path", "img"}


class Parsed(HTMLParser):
    """A page as a browser's parser sees it: elements, their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag
        elif self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def tags(self, *names: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in names]


ALL = {"flood": flooded_day(), "calm": account(), "many": thousand_bans(), "hostile": hostile()}


@pytest.mark.parametrize("told", ALL.values(), ids=ALL.keys())
def test_a_page_runs_nothing_loads_nothing_and_says_so_to_the_browser(told: Account) -> None:
    parsed = Parsed(page(told))
    assert parsed.tags("script", "img", "iframe", "object", "embed", "form", "base", "audio", "video", "image") == []
    assert parsed.tags("link") == [{"rel": "icon", "href": "data:,"}]
    for tag, attributes in parsed.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("href", "src", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:,")), (tag, attributes)
    (policy,) = (one["content"] for one in parsed.tags("meta") if "http-equiv" in one)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_hostile_words_are_only_ever_words() -> None:
    text = page(hostile())
    assert "<script" not in text.lower()
    assert text.count("</style>") == 1
    assert "49" not in re.findall(r"x\\u202e(\S*?)&amp;amp;", text), "a template in a reason is not filled in"
    assert "\x1b" not in text
    assert "\u202e" not in text
    parsed = Parsed(text)
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\x07", "\\x07").replace("\u202e", "\\u202e")
    assert parsed.text.count(re.sub(r"\s+", " ", shown)) >= 8
    elements = [tag for tag, _ in Parsed(page(flooded_day())).elements]
    assert {tag for tag, _ in parsed.elements} == {*elements}, "no element comes from hostile words"


def test_headings_landmarks_captions_and_labels_are_there() -> None:
    parsed = Parsed(page(flooded_day()))
    for landmark in ("header", "nav", "main", "footer"):
        assert len(parsed.tags(landmark)) == 1, landmark
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in (attributes for _, attributes in parsed.elements):
        for name in attributes.get("aria-labelledby", "").split():
            assert name in ids
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids
    assert len(parsed.tags("table")) == len(parsed.tags("caption"))
    charts = [one for one in parsed.tags("svg") if one.get("class", "").startswith("chart")]
    assert len(charts) == 8
    assert all(one["role"] == "group" and one["aria-labelledby"] for one in charts)


def test_the_page_says_what_the_text_says() -> None:
    told = flooded_day()
    words = Parsed(page(told)).text
    for sentence in (
        "5 bans, 2 served clients refused, 2 decisions worth a look",
        "198.18.7.200, 198.18.7.201",
        "a close call: 1.2 times its limit",
        "proven: completed a handshake 2s ago",
        "everybody else in this prefix shares the ban",
        "listen 80 backlog=4096",
        "synguard why 198.18.7.0/24",
        "turned SYN cookies on: port 80 overflowed",
    ):
        assert sentence in words, sentence
        assert sentence in re.sub(r"\s+", " ", account_text(told)), sentence
    assert "198.51.100.20" in words


def test_dry_run_and_enforcing_have_words_of_their_own() -> None:
    dry = Parsed(page(flooded_day())).text
    real = replace(flooded_day(), mode=Mode.ENFORCE)
    real = replace(real, bans=tuple(replace(one, ban=replace(one.ban, dry_run=False), packets=77) for one in real.bans))
    enforced = Parsed(page(real)).text
    assert "Who would have been banned" in dry
    assert "dry-run bans" in dry
    assert "Who was banned" in enforced
    assert "77 packets" in enforced
    assert "would have been banned" not in enforced
    assert "Had you enforced" not in enforced
    assert "served clients refused" in dry
    assert "served clients refused" not in enforced, "whom bans keep away, nobody sees"
    assert "packets stopped" in enforced


def test_a_page_of_nothing_says_that_there_is_nothing() -> None:
    words = Parsed(page(account())).text
    for sentence in ("Nobody would have been.", "None was seen.", "No ban that stands now", "had to be spared"):
        assert sentence in words


def test_times_of_an_axis_have_their_zone() -> None:
    assert "Times of day in UTC" in Parsed(page(account())).text or "UTC+" in Parsed(page(account())).text


def test_a_page_stays_small_and_says_what_it_left_out() -> None:
    """20,000 bans with long reasons, a year of history, hundreds of attacks: what a report reads at most."""
    bans = tuple(
        would_ban(
            number,
            f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            NOW - timedelta(seconds=number),
            reason="x" * 5000,
        )
        for number in range(MOST_BANS)
    )
    span = timedelta(days=365)
    many = thousand_bans()
    told = replace(
        account(span, bans=bans, spared=many.spared * 20, incidents=many.incidents * 6, timeline=timeline(span)),
        cut=("What the bans before the latest 20,000 were: a report holds no more.",),
    )
    text = page(told)
    assert len(text.encode()) < 2_000_000
    words = Parsed(text).text
    assert f"{MOST_BANS - MOST_ROWS:,} more sources and networks are left out here" in words
    assert "What the bans before the latest 20,000 were" in words


def test_a_meter_is_even_up_to_the_limit_and_logarithmic_beyond() -> None:
    assert [meter(0), meter(0.5), meter(1), meter(10), meter(100), meter(1e9)] == [0, 12.5, 25, 62.5, 100, 100]


def test_a_reason_that_only_repeats_the_evidence_is_not_said_twice() -> None:
    ban = would_ban(1, "198.18.7.0/24", NOW).ban
    assert said_beyond(ban) == ""
    more = replace(ban, reason=ban.reason + "; 3 recently served clients in it keep a way through")
    assert said_beyond(more) == "3 recently served clients in it keep a way through"
    assert said_beyond(replace(ban, reason="by hand")) == "by hand"


def test_only_what_was_watched_is_drawn_where_that_is_little() -> None:
    span, began = timedelta(hours=24), NOW - timedelta(minutes=20)
    gaps = ((NOW - span, began), (began + timedelta(minutes=5), NOW))
    little = timeline(span, gaps=gaps)
    first, last = little.shown
    assert timedelta(minutes=5) <= last - first < timedelta(minutes=12)
    assert first <= little.stretches[0].at
    assert "Drawn: " in page(account(span, timeline=little))
    assert timeline(span).shown == (NOW - span, NOW)
    assert "Drawn: " not in page(account(span))


def test_the_bar_of_an_attack_leads_to_it_and_from_there_to_its_bans() -> None:
    text = page(flooded_day())
    for link in ("#attack-b99eb4b9", "#ban-198.18.7.0/24", "#ban-2001:db8:7:9::/64"):
        assert f'href="{link}"' in text
    assert {f"#{one}" for one in re.findall(r' id="([^"]+)"', text)} >= set(re.findall(r'href="(#[^"]+)"', text))
