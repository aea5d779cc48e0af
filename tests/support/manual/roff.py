"""Man pages, from the command line's surface and the config models: section 8 for verbs, section 5 for files."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from synguard import __version__
from tests.support.manual.keys import Key, Table, config_tables, policy_tables
from tests.support.manual.surface import Option, Page
from tests.support.manual.words import ENVIRONMENT, EXIT_CODES, FILES

REVISED: Final = "2026-11-25"
"""The date in the foot of every page: when what they say beside the parser and the models last changed."""

_CONFIG_ABOUT: Final = (
    "TOML. Every key is optional; a key that is not known is a fault, and every fault of a file is told at once. "
    "Durations are text with a unit: 250ms, 30s, 10m, 1h30m, 7d. Paths are relative to the file's directory.",
    "SIGHUP lets a running agent read the file again; a file with a fault changes nothing.",
)
_PACK_ABOUT: Final = (
    "A pack is a TOML file of one or more [[policy]] tables, named in policies of synguard.toml(5). For a port, the "
    "first policy that names it judges. Only name must be given.",
)

_ESCAPES: Final = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", "…": "..."}


def verb_page(page: Page, root: Page) -> str:
    """Return the man page of one verb, in section 8."""
    return _text(
        _head(page.name, 8, page.line),
        [".SH SYNOPSIS", *_synopsis(page)],
        [".SH DESCRIPTION", *_paragraphs([*page.about.split("\n\n"), *page.notes])],
        _verbs(page),
        _definitions("ARGUMENTS", ((_term(one), _about(one)) for one in page.arguments if one.about)),
        _definitions("OPTIONS", ((_term(one), _about(one)) for one in page.options)),
        _examples(page.examples),
        _definitions("EXIT STATUS", ((_bold(str(code)), what) for code, what in EXIT_CODES.items())),
        _mapping("ENVIRONMENT", ENVIRONMENT),
        _mapping("FILES", FILES),
        _see_also(page, root),
    )


def config_page(example: str) -> str:
    """Return synguard.toml(5); ``example`` is the text of a small config."""
    return _text(
        _head("synguard.toml", 5, "configuration of synguard"),
        [
            ".SH DESCRIPTION",
            *_paragraphs(_CONFIG_ABOUT),
        ],
        *(_table(one) for one in config_tables()),
        [".SH EXAMPLE", ".nf", *map(_line, example.rstrip().splitlines()), ".fi"],
        _mapping("FILES", FILES),
        [".SH SEE ALSO", *_references(["synguard(8)", "synguard-policy(5)", "synguard-policy-show(8)"])],
    )


def pack_page(example: str) -> str:
    """Return synguard-policy(5), the form of a policy pack; ``example`` is the text of a small one."""
    return _text(
        _head("synguard-policy", 5, "policy packs of synguard"),
        [
            ".SH DESCRIPTION",
            *_paragraphs(_PACK_ABOUT),
        ],
        *(_table(one) for one in policy_tables()),
        [".SH EXAMPLE", ".nf", *map(_line, example.rstrip().splitlines()), ".fi"],
        [".SH SEE ALSO", *_references(["synguard(8)", "synguard.toml(5)", "synguard-policy(8)"])],
    )


def _text(*parts: Iterable[str]) -> str:
    return "".join(f"{line}\n" for part in parts for line in part)


def _head(name: str, section: int, line: str) -> Iterator[str]:
    yield '.\\" Written by "make man"; do not edit.'
    yield f'.TH "{name.upper()}" "{section}" "{REVISED}" "synguard {__version__}" "synguard"'
    yield from (".nh", ".ad l", ".SH NAME", f"{_escaped(name)} \\- {_escaped(line[:1].lower() + line[1:])}")


def _synopsis(page: Page) -> Iterator[str]:
    words = page.synopsis.removeprefix(page.command).split()
    yield f".B {_escaped(page.command)}"
    for word in words:
        name = re.sub(r"[\w-]+", lambda found: f"\\fI{_escaped(found[0])}\\fR", word)
        yield name if not name.startswith((".", "'")) else f"\\&{name}"


def _paragraphs(paragraphs: Iterable[str]) -> Iterator[str]:
    for number, one in enumerate(paragraphs):
        yield from ([".PP"] if number else [])
        yield from _sentences(one)


def _sentences(text: str) -> Iterator[str]:
    """Yield lines of input, each sentence beginning one, as roff wants it to set the space between them."""
    for sentence in re.split(r"(?<=[.;:?!]) (?=[^ ])", text):
        yield from (_line(line) for line in textwrap.wrap(sentence, 70, break_long_words=False, break_on_hyphens=False))


def _line(text: str) -> str:
    """Return text as one line of input that is no request."""
    safe = _escaped(text)
    return f"\\&{safe}" if safe.startswith((".", "\\(aq")) else safe


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(one, one) for one in text)


def _bold(text: str) -> str:
    return f"\\fB{_escaped(text)}\\fR"


def _term(one: Option) -> str:
    if not one.names[0].startswith("-"):
        return f"\\fI{_escaped(one.names[0])}\\fR"
    names = ", ".join(_bold(name) for name in one.names)
    return names if one.value is None else f"{names} \\fI{_escaped(one.shown)}\\fR"


def _about(one: Option) -> str:
    default = f" Default: {one.default}." if one.default else ""
    return f"{one.about}{default}"


def _definitions(title: str, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    found = list(pairs)
    if found:
        yield f".SH {title}"
    for term, about in found:
        yield from (".TP", term, *_sentences(about))


def _mapping(title: str, meanings: Mapping[str, str]) -> Iterator[str]:
    return _definitions(title, ((_bold(name), about) for name, about in meanings.items()))


def _verbs(page: Page) -> Iterator[str]:
    return _definitions("VERBS", ((f"\\fB{_escaped(verb.name)}\\fR(8)", f"{verb.line}.") for verb in page.verbs))


def _examples(examples: Iterable[tuple[str, str]]) -> Iterator[str]:
    found = list(examples)
    if found:
        yield ".SH EXAMPLES"
    for number, (command, about) in enumerate(found):
        yield from ([".TP"] if about else [".PP"] if number else [])
        yield from (_bold(command), *_sentences(about))


def _see_also(page: Page, root: Page) -> Iterator[str]:
    others = [one.name for one in root.walk() if one is not page and (page is root or len(one.words) <= 2)]
    yield ".SH SEE ALSO"
    yield from _references([*sorted(f"{name}(8)" for name in others), "synguard-policy(5)", "synguard.toml(5)"])


def _references(names: list[str]) -> Iterator[str]:
    for name in names:
        page, section = name.rstrip(")").split("(")
        yield f".BR {_escaped(page)} ({section})" + ("," if name != names[-1] else "")


def _table(table: Table) -> Iterator[str]:
    yield f".SH \\(lB{_escaped(table.name)}\\(rB" if table.name else ".SH KEYS"
    yield from _sentences(table.about)
    for key in table.keys:
        yield from (".TP", _bold(key.name), *_sentences(_key(key)))


def _key(key: Key) -> str:
    default = "Must be given." if key.required else f"Default: {key.default}." if key.default else "No default."
    return f"{key.sentence} {default} Values: {key.values}."
