"""Pydantic's findings in an operator's words, each with its path as it stands in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from synguard.plain import printable
from synguard.units import exact_duration

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_KINDS: Final = {
    "model_type": "a table",
    "dict_type": "a table",
    "tuple_type": "a list",
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "finite_number": "a finite number",
}
_BOUNDS: Final = {
    "greater_than": ("gt", "must be above"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be below"),
    "less_than_equal": ("le", "must be at most"),
}
_LONGEST: Final = 300
_SHOWN: Final = 60
"""Characters of a wrong value that are worth repeating."""


def validation_errors(error: ValidationError, model: type[BaseModel], document: Mapping[str, Any]) -> list[str]:
    """Return one line per fault, ``policy[1].limits.half_open: must be above 0, not -3``; list indexes begin at 0."""
    lines = []
    for finding in error.errors(include_url=False):
        where = finding["loc"]
        raw = _at(document, where)
        text = _words(finding, raw, model, where)
        if text:
            lines.append(printable(f"{format_path(where)}: {text}" if where else text))
    return lines


def format_path(where: Sequence[str | int]) -> str:
    """Return ``policy[1].limits.half_open`` for its parts; keys that TOML would quote are quoted."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else shown(part)
            text += f".{key}" if text else key
    return text


def shown(value: object) -> str:
    """Return a value as an operator wrote it, cut short where it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _words(finding: Any, raw: object, model: type[BaseModel], where: Sequence[str | int]) -> str:
    """Return what is wrong, or the empty word for a finding that only follows from another."""
    kind, context = finding["type"], finding.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(str(where[-1]), model, where[:-1])
    if kind == "missing":
        return "is missing"
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])[:_LONGEST]
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"{words} {bound_text(context[bound], isinstance(raw, str))}, not {shown(raw)}"
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {shown(raw)}"
    if kind in ("enum", "literal_error"):
        return f"must be {context['expected']}, not {shown(raw)}"
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        return _length(kind, context, raw)
    return f"{finding['msg'][:1].lower()}{finding['msg'][1:]}, not {shown(raw)}"


def _length(kind: str, context: Mapping[str, int], raw: object) -> str:
    if kind.endswith("long"):
        unit = "characters" if kind.startswith("string") else "entries"
        return f"must have at most {context['max_length']} {unit}"
    # Where every entry of a list is at fault, pydantic goes on to call the list empty.
    return "" if isinstance(raw, list) and raw else "must not be empty"


def bound_text(bound: Any, duration: bool) -> str:
    """Return a bound as it is written in a file: ``1h`` for a duration, else a number without an exponent."""
    return exact_duration(bound) if duration else f"{bound:g}" if bound < 1_000_000 else f"{bound:.0f}"


def _unknown_key(key: str, model: type[BaseModel], where: Sequence[str | int]) -> str:
    known = sorted(_model_at(model, where).model_fields)
    near = get_close_matches(key, known, n=1)
    return f"is not a known key; did you mean {near[0]}?" if near else f"is not a known key here: {', '.join(known)}"


def _model_at(model: type[BaseModel], where: Sequence[str | int]) -> type[BaseModel]:
    """Return the model of the table at ``where``."""
    for part in where:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            inner = [annotation, *get_args(annotation)]
            model = next(one for one in inner if isinstance(one, type) and issubclass(one, BaseModel))
    return model


def _at(document: Any, where: Sequence[str | int]) -> object:
    """Return the value at a path, or None where the path ends early."""
    for part in where:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return None
    return document
