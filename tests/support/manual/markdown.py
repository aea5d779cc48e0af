"""``docs/cli-reference.md``, from the command line's surface."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tests.support.manual.surface import Option, Page
from tests.support.manual.words import ENVIRONMENT, EXIT_CODES, JSON_KEYS

_HEAD: Final = """\
# Reference: the command line

Written by `make man` from the parser; do not edit. The same is shown by `synguard VERB --help` and,
where the package installed them, by man pages: `man synguard`, `man synguard-ban`, `man synguard.toml`.

`--config`, `--json` and `--debug` may stand before or after the verb. TIME is a number with a unit: `30s`, `10m`,
`1h30m`, `7d`.
"""


def cli_reference(root: Page) -> str:
    """Return the whole page as Markdown."""
    verbs = [page for page in root.walk() if page is not root]
    lines = [
        _HEAD,
        "| verb | what it does |",
        "|---|---|",
        *(f"| [`{page.command}`](#{_anchor(page)}) | {_cell(page.line)} |" for page in verbs),
        "",
        *_table("Exit codes", "code", EXIT_CODES.items()),
        *_table("Environment", "variable", ENVIRONMENT.items()),
        *(line for page in verbs for line in _verb(page)),
    ]
    return "\n".join(lines)


def _anchor(page: Page) -> str:
    return page.command.replace(" ", "-")


def _table(title: str, first: str, rows: Iterable[tuple[object, str]]) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"| {first} | means |"
    yield "|---|---|"
    for key, about in rows:
        yield f"| `{key}` | {_cell(about)} |"
    yield ""


def _verb(page: Page) -> Iterator[str]:
    yield f"## {page.command}\n"
    yield f"```text\n{page.synopsis}\n```\n"
    yield f"{_prose(page.about)}\n"
    if page.examples:
        width = max(len(command) for command, _ in page.examples)
        lines = [
            f"$ {command.ljust(width)}    # {about}" if about else f"$ {command}" for command, about in page.examples
        ]
        yield "\n".join(["```console", *lines, "```\n"])
    yield from (f"{_prose(note)}\n" for note in page.notes)
    if page.verbs:
        return
    yield "| option | what it does | default |"
    yield "|---|---|---|"
    yield from (_row(one) for one in (*page.arguments, *page.options) if one.names != ("-h", "--help"))
    yield ""
    if keys := JSON_KEYS.get(page.command):
        yield f"Keys of `--json`: {', '.join(f'`{key}`' for key in keys.split())}.\n"


def _row(one: Option) -> str:
    names = ", ".join(f"`{name}`" for name in one.names)
    if one.names[0].startswith("-") and one.shown:
        names += " " + " or ".join(f"`{choice}`" for choice in one.choices or (one.shown,))
    default = f"`{one.default}`" if one.default else "must be given" if one.required else ""
    return f"| {_cell(names)} | {_cell(one.about)} | {default} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _prose(text: str) -> str:
    """Return help text as Markdown: options and commands in it are code."""
    return re.sub(r"(?<![\w`-])(--[a-z][\w-]*)", r"`\1`", text)
