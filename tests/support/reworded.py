"""Records with every sentence in them replaced, to prove that programs read codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, TypeVar

from pydantic import BaseModel

T = TypeVar("T")

SENTENCES: Final = frozenset({"reason", "note", "text", "detail", "verdict", "ended_why"})
"""Names of fields that hold what people read."""
TEXTS: Final = frozenset({"problems", "notes"})
"""Names of fields that hold several."""


def reworded(value: T, words: str) -> T:
    """Return the value with each sentence in it replaced by ``words``, however deep it stands."""
    return _reworded(value, words)  # type: ignore[no-any-return]  # one of the same type


def _reworded(value: Any, words: str) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        inits = (one.name for one in fields(value) if one.init)
        return replace(value, **{name: _field(name, getattr(value, name), words) for name in inits})
    if isinstance(value, BaseModel):
        changed = {name: _field(name, getattr(value, name), words) for name in type(value).model_fields}
        return value.model_copy(update=changed)
    if isinstance(value, Mapping):
        return {key: _reworded(one, words) for key, one in value.items()}
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        return type(value)(_reworded(one, words) for one in value)
    return value


def _field(name: str, value: Any, words: str) -> Any:
    if name in SENTENCES and isinstance(value, str) and value:
        return words
    if name in TEXTS and isinstance(value, tuple):
        return tuple(words for _ in value)
    return _reworded(value, words)
