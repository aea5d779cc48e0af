"""The documentation as tests read it: pages, fenced blocks, code spans, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
CHANGELOG: Final = ROOT / "CHANGELOG.md"
PAGES: Final = tuple(sorted([README, CHANGELOG, *ROOT.glob("docs/**/*.md")]))

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_UNTIL: Final = frozenset({"|", "||", "&&", ";", "&", ">", ">>", "<"})


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, and what its fence calls it."""

    page: Path
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command as a reader would type it; ``mention`` where it stands in a sentence."""

    page: Path
    words: tuple[str, ...]
    mention: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {shlex.join(self.words)}"


def blocks() -> list[Block]:
    """Return every fenced block of every page."""
    return [Block(page, *found) for page in PAGES for found in _FENCE.findall(page.read_text(encoding="utf-8"))]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def code_spans(page: Path) -> list[str]:
    r"""Return what stands between backticks in a page's sentences and tables, where ``\|`` is a ``|``."""
    return [span.replace(r"\|", "|") for span in _SPAN.findall(prose(page))]


def commands(program: str) -> list[Command]:
    """Return every call of a program, once a page, without what the shell would take for itself.

    The bare program, and what is cut short by …, are no calls.
    """
    found: dict[Command, None] = {}
    for page, line, mention in _lines():
        for first, *words in _simple_commands(line):
            if words and (first == program or first.endswith(f"bin/{program}")) and "…" not in words:
                found[Command(page, tuple(words), mention)] = None
    return list(found)


def _lines() -> Iterator[tuple[Path, str, bool]]:
    for block in blocks():
        for line in block.text.splitlines():
            if block.language == "sh" or line.startswith("$ "):
                yield block.page, line.removeprefix("$ "), False
    for page in PAGES:
        yield from ((page, span, True) for span in code_spans(page))


def _simple_commands(line: str) -> Iterator[tuple[str, ...]]:
    """Yield what a line of shell calls, one after the other; nothing for what is no shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = [word for word in lexer if word != "sudo"]
    except ValueError:
        return
    while words:
        end = next((i for i, word in enumerate(words) if word in _UNTIL), len(words))
        if end:
            yield tuple(words[:end])
        words = words[end + 1 :]
