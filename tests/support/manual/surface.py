"""The command line as data, read from the parser itself: every verb with its options, examples and notes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, get_args

import typer

from synguard.cli.main import app

_EXAMPLE: Final = re.compile(r"^ {2}(synguard .*?)(?: {2,}(\S.*))?$")


@dataclass(frozen=True, slots=True)
class Option:
    """An option, or an argument where no name begins with ``-``."""

    names: tuple[str, ...]
    value: str | None
    """What stands for its value: ``TIME``; None where it takes none."""
    choices: tuple[str, ...]
    about: str
    default: str | None
    repeats: bool
    required: bool
    is_path: bool

    @property
    def shown(self) -> str:
        """What its value is called, or may be: ``TIME``, ``new|all``."""
        return "|".join(self.choices) or self.value or ""


@dataclass(frozen=True, slots=True)
class Page:
    """One verb, or the command itself."""

    words: tuple[str, ...]
    """``("synguard", "policy", "check")``."""
    line: str
    """What it is, in half a line."""
    about: str
    examples: tuple[tuple[str, str], ...]
    """Commands, each with what is said beside it, perhaps nothing."""
    notes: tuple[str, ...]
    """Paragraphs below the examples."""
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]
    verbs: tuple[Page, ...]

    @property
    def name(self) -> str:
        """Its words with hyphens: ``synguard-policy-check``, the name of its man page."""
        return "-".join(self.words)

    @property
    def command(self) -> str:
        """Its words as typed."""
        return " ".join(self.words)

    @property
    def synopsis(self) -> str:
        """How it is called: ``synguard ban [OPTIONS] TARGET...``."""
        rest = ["VERB ..."] if self.verbs else [_argument(one) for one in self.arguments]
        return " ".join([self.command, "[OPTIONS]", *rest])

    def walk(self) -> Iterator[Page]:
        """Yield it and every verb below it."""
        yield self
        for verb in self.verbs:
            yield from verb.walk()


def surface() -> Page:
    """Return the whole command line; imports every verb."""
    command: Any = typer.main.get_command(app)
    context = typer.Context(command, info_name="synguard")
    return _page(command, context, ("synguard",), "keep a server reachable under SYN and connection floods")


def _page(command: Any, context: Any, words: tuple[str, ...], line: str) -> Page:
    about, examples, notes = _parts(command.help or line)
    options = [_option(one) for one in command.params if one.opts[0].startswith("-") and not one.hidden]
    arguments = [_option(one) for one in command.params if not one.opts[0].startswith("-")]
    verbs = tuple(_verbs_below(command, context, words)) if hasattr(command, "list_commands") else ()
    return Page(words, line, about, examples, notes, tuple(arguments), (*options, _HELP), verbs)


def _verbs_below(command: Any, context: Any, words: tuple[str, ...]) -> Iterator[Page]:
    lines = {verb.name: verb.line for verb in command.verbs}
    for name in command.list_commands(context):
        verb = command.get_command(context, name)
        below = typer.Context(verb, info_name=name, parent=context)
        yield _page(verb, below, (*words, name), lines.get(name) or _line(verb.help))


def _line(text: str) -> str:
    """Return what a verb is, in half a line, from its help: the first sentence up to its first stop."""
    return re.split(r"[.,:;](?:\s|$)", " ".join(text.split()), maxsplit=1)[0]


def _parts(text: str) -> tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return what a verb's help tells: what it is, examples, and the paragraphs after them."""
    about: list[str] = []
    examples: list[tuple[str, str]] = []
    notes: list[str] = []
    for paragraph in text.strip("\n").split("\n\n"):
        lines = paragraph.splitlines()
        if lines[0] == "Examples:":
            examples += [(found[1], found[2] or "") for line in lines[1:] if (found := _EXAMPLE.match(line))]
        else:
            (notes if examples else about).append(" ".join(" ".join(lines).split()))
    return "\n\n".join(about), tuple(examples), tuple(notes)


def _option(param: Any) -> Option:
    kinds = _kinds(param.type_descriptor.annotation)
    choices = tuple(str(one.value) for kind in kinds if issubclass(kind, Enum) for one in kind)
    flag = bool(getattr(param, "is_flag", False))
    default = param.default if isinstance(param.default, str | int | float | Enum) and not flag else None
    return Option(
        names=tuple(param.opts) if param.opts[0].startswith("-") else (param.metavar or param.name.upper(),),
        value=None if flag else param.metavar or _VALUES.get(kinds[0], "TEXT"),
        choices=choices,
        about=(param.help or "").strip(),
        default=None if default in (None, "") else str(getattr(default, "value", default)),
        repeats=bool(param.multiple or param.nargs == -1),
        required=bool(param.required),
        is_path=Path in kinds or param.metavar == "FILE",
    )


def _kinds(annotation: Any) -> tuple[type, ...]:
    """Return the plain types in an annotation: ``list[str] | None`` gives ``str``."""
    inner = tuple(kind for one in get_args(annotation) if one is not type(None) for kind in _kinds(one))
    return inner or (annotation,)


def _argument(one: Option) -> str:
    word = one.names[0] + ("..." if one.repeats else "")
    return word if one.required else f"[{word}]"


_VALUES: Final = {int: "N", float: "NUMBER", Path: "FILE"}
_HELP: Final = Option(("-h", "--help"), None, (), "Show the help.", None, False, False, False)
