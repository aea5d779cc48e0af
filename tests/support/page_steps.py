"""What a page tells its reader to do, in order: files to write, lines of shell to type, and what the shell answers.

A line is typed where it stands in a ``sh`` block, or after ``$ `` in an unnamed one. What follows a ``$ `` line, or is
an unnamed block right after a ``sh`` block whose last line it answers, is the output that the page promises. A ``toml``
or ``ini`` block that begins with ``# /a/path`` is a file. What a terminal draws stands in a ``screen`` block: it is
no output of a pipe, and is not compared.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.pages import PAGES, ROOT

_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SCENE: Final = re.compile(r"<!-- scene: ([^>]*?) -->")
_PATH: Final = re.compile(r"# (/[\w./-]+)\n")
_EXIT: Final = re.compile(r"#.*\bexit(?: code)? (\d+)\b")
_PLAIN: Final = frozenset({"", "text", "json"})
ELISION: Final = "…"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of shell as the reader types it."""

    text: str
    shown: str | None = None
    """The output that the page promises; None where it promises none."""
    span: tuple[int, int] = (0, 0)
    """Where ``shown`` stands in the page."""
    block: str = ""
    """What the fence of the output calls it."""

    @property
    def exit_code(self) -> int | None:
        """The exit code that a comment on the line names: ``# exit code 3: …``."""
        found = _EXIT.search(self.text)
        return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class File:
    """A file that the page shows, and so has its reader write."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What goes on around a page's commands: ``<!-- scene: agent=enforce flood=prefix -->``."""

    agent: str = "dry-run"
    flood: str = "mixed"
    cookies: str = "off"
    packs: str = "default"
    bans: str = ""
    """Targets banned by hand beforehand, joined by commas."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page with everything that its reader does."""

    path: Path
    scene: Scene
    steps: tuple[Line | File, ...] = field(repr=False)

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def lines(self) -> list[Line]:
        """The lines of shell alone."""
        return [step for step in self.steps if isinstance(step, Line)]


def read_page(path: Path) -> Page:
    """Return a page as its reader works through it."""
    text = path.read_text(encoding="utf-8")
    scene = _SCENE.search(text)
    words = dict(word.split("=", 1) for word in scene[1].split()) if scene else {}
    return Page(path, Scene(**words), tuple(_steps(text)))


def pages() -> list[Page]:
    """Return every page that has its reader type something."""
    return [page for page in map(read_page, PAGES) if page.lines]


def _steps(text: str) -> Iterator[Line | File]:
    waiting: Line | None = None
    end = 0
    for block in _BLOCK.finditer(text):
        language, body, start = block[1], block[2], block.start(2)
        answers = waiting is not None and language in _PLAIN and not text[end : block.start()].strip()
        if waiting is not None:
            if answers and not body.startswith("$ "):
                yield Line(waiting.text, body, (start, start + len(body)), language)
                waiting, end = None, block.end()
                continue
            yield waiting
            waiting = None
        end = block.end()
        if language == "sh":
            *before, last = whole_commands(body.splitlines())
            yield from map(Line, before)
            waiting = Line(last)
        elif language in _PLAIN and body.startswith("$ "):
            yield from _dialogue(body, start)
        elif path := _PATH.match(body):
            yield File(path[1], body)
    if waiting is not None:
        yield waiting


def _dialogue(body: str, start: int) -> Iterator[Line]:
    """Yield the lines of a block where ``$ `` marks what is typed and the rest answers it."""
    for part in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, re.MULTILINE):
        begin = start + part.start(2)
        yield Line(part[1], part[2] or None, (begin, begin + len(part[2])))


def whole_commands(lines: Sequence[str]) -> list[str]:
    """Join lines until the shell takes them for a whole command: loops, here-documents, a ``\\`` at the end."""
    whole: list[str] = []
    begun: list[str] = []
    for line in lines:
        if not begun and (not line.strip() or line.lstrip().startswith("#")):
            continue
        begun.append(line)
        if _complete("\n".join(begun)):
            whole.append("\n".join(begun))
            begun = []
    return whole + (["\n".join(begun)] if begun else [])


def _complete(text: str) -> bool:
    if text.endswith("\\"):
        return False
    checked = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
    return checked.returncode == 0 and "here-document" not in checked.stderr


def skeleton(line: str) -> str:
    """Return a line without what differs from flood to flood: numbers, addresses, moments, names that hold digits."""
    words = re.sub(r"[^\s:,()\[\]|=\"']*\d[^\s,()|\"']*?(?=[:;.]?(?:[\s,()|\"']|$))", "#", line).split()
    return " ".join(word for nth, word in enumerate(words) if word != "#" or words[nth - 1 : nth] != ["#"])


def unlike(shown: str, said: str, block: str = "") -> list[str]:
    """Return what a page promises and the command no longer says; empty where they are alike.

    JSON is compared by its keys. Elsewhere heads of tables must be the same, and of other lines at least half must
    have a line of the same shape: floods differ, and so do the sentences that tell of them.
    """
    if block == "json":
        return sorted(set(re.findall(r'"(\w+)":', shown)) - set(re.findall(r'"(\w+)":', said)))
    promised = [line for line in shown.splitlines() if line.strip() and line.strip() != ELISION]
    heads = [line for line in promised if re.fullmatch(r"[A-Z][A-Z /,-]*  +[A-Z][A-Z /,.-]*", line.strip())]
    has = {skeleton(line) for line in said.splitlines()}
    lost_heads = [line for line in heads if skeleton(line) not in has]
    others = [line for line in promised if line not in heads]
    lost = [line for line in others if not any(_alike(skeleton(line), one) for one in has)]
    return lost_heads + (lost if 2 * len(lost) > len(others) else [])


def _alike(shown: str, said: str) -> bool:
    """Whether a line is of a shape; what the page cuts short with … may go on."""
    head = shown.partition(ELISION)[0].strip()
    return shown == said or (ELISION in shown and bool(head) and said.startswith(head))
