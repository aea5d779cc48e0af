"""What a page has its reader do is found, and told from what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.page_player import NOT_TYPED, Typed, why_not, wrong
from tests.support.page_steps import File, Line, Scene, pages, read_page, skeleton, unlike, whole_commands
from tests.support.pages import ROOT
from tests.support.refresh_pages import abridged, refreshed
from tests.support.sandbox import Ran

PAGE = """\
# A page
<!-- scene: agent=enforce flood=source -->

```toml
# /etc/synguard/synguard.toml
mode = "enforce"
```

```sh
synguard doctor   # first
synguard bans
```

```
TARGET  SCOPE
1.2.3.4/32  new
```

A table that answers nothing:

```
A  B
```

```
$ synguard status
running
$ synguard why 1.2.3.4
1.2.3.4 is banned
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_a_page_is_read_in_the_order_of_its_reader(page: Path) -> None:
    read = read_page(page)
    assert read.scene == Scene(agent="enforce", flood="source")
    assert [step.path if isinstance(step, File) else (step.text, step.shown) for step in read.steps] == [
        "/etc/synguard/synguard.toml",
        ("synguard doctor   # first", None),
        ("synguard bans", "TARGET  SCOPE\n1.2.3.4/32  new\n"),
        ("synguard status", "running\n"),
        ("synguard why 1.2.3.4", "1.2.3.4 is banned\n"),
    ]


def test_an_output_is_replaced_where_it_stands_and_cut_as_it_was(page: Path) -> None:
    lines = read_page(page).lines
    said = ["", "TARGET  SCOPE\n5.6.7.8/32  new\n", "not running\n", "5.6.7.8 is at large\n"]
    played = [Typed(line, Ran(line.text, 0, output)) for line, output in zip(lines, said, strict=True)]
    text = refreshed(PAGE, played)
    assert text.count("5.6.7.8") == 2
    assert "$ synguard status\nnot running\n$ synguard why 1.2.3.4\n5.6.7.8 is at large\n```" in text
    assert abridged("a\nb\nc\nd\ne\n", "1\n…\n9\n") == "a\n…\ne\n"
    assert abridged("a\ne\n", "1\n…\n9\n") == "a\ne\n"


def test_lines_that_the_shell_takes_for_one_command_are_one() -> None:
    lines = ["# a comment", "for i in 1 2; do", "  echo $i", "done", "echo a \\", "  b", "cat <<END", "x", "END"]
    assert whole_commands(lines) == ["for i in 1 2; do\n  echo $i\ndone", "echo a \\\n  b", "cat <<END\nx\nEND"]


def test_numbers_and_addresses_make_no_difference_but_words_do() -> None:
    assert skeleton("ban 203.0.113.5: score 300, until 14:07:10 UTC") == "ban #: score #, until # UTC"
    assert unlike("half-open 129, 18 SYN/s\n", "half-open 4, 1 SYN/s\n") == []
    assert unlike("half-open 129\n", "half open: 4\n") == ["half-open 129"]


def test_the_head_of_a_table_must_be_the_same() -> None:
    assert unlike("TARGET  SCOPE\na\n", "TARGET  REACH\na\n") == ["TARGET  SCOPE"]
    assert unlike('{"target": 1, "gone": 2}', '{"target": 3}', "json") == ["gone"]


def test_a_line_fails_unless_the_page_says_that_it_does() -> None:
    fails = Line("synguard why nobody")
    assert wrong(Typed(fails, Ran(fails.text, 2, "synguard: no")))
    assert not wrong(Typed(Line("nft list  # exit code 1 where there is none"), Ran("", 1, "")))
    assert not wrong(Typed(Line("synguard doctor"), Ran("", 1, "")))


def test_what_is_not_typed_is_little_and_argued() -> None:
    left_out = [(line.text, why_not(line.text)) for page in pages() for line in page.lines if why_not(line.text)]
    assert all(len(reason) > 15 for reason in NOT_TYPED.values())
    assert not why_not("synguard doctor")
    typed = sum(len(page.lines) for page in pages()) - len(left_out)
    assert typed >= 2 * len(left_out), f"more than a third is not typed: {left_out}"


@pytest.mark.parametrize("page", pages(), ids=str)
def test_a_module_that_a_page_runs_is_there(page: object) -> None:
    """For the lines that no sandbox types."""
    words = [word for line in getattr(page, "lines", []) for word in line.text.split()]
    modules = [word for word in words if word.startswith("tests.")]
    files = [word for word in words if word.startswith("tests/")]
    assert [m for m in modules if not (ROOT / (m.replace(".", "/") + ".py")).exists()] == []
    assert [f for f in files if not (ROOT / f.partition("::")[0]).exists()] == []
