"""Config and policies as tables of keys, read from the models: for the reference, man pages, and the example config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from synguard.policy.models import Config, Policy
from synguard.policy.show import toml_value
from synguard.policy.validation_errors import bound_text

Schema: TypeAlias = Mapping[str, Any]

_BOUNDS: Final = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}
_TYPES: Final = {"integer": "whole number", "number": "number", "string": "text"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table of a file."""

    name: str
    about: str
    default: str | None
    """As TOML; None where there is none."""
    required: bool
    choices: tuple[str, ...]
    """The values it may have, as TOML, where they can be listed."""
    form: str
    """Else what its values are, with their bounds: ``duration, at least 1s, at most 1d``."""

    @property
    def sentence(self) -> str:
        """What it is, as a sentence; one that begins with a value or a key keeps its small letter."""
        first = self.about.split()[0]
        plain = first.replace("-", "").isalpha()
        return f"{self.about[:1].upper() if plain else self.about[:1]}{self.about[1:]}."

    @property
    def values(self) -> str:
        """What may be written, in words."""
        return " or ".join(self.choices) or self.form


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a file; the tables inside it follow it."""

    name: str
    """``policy.limits``; empty for what stands outside of tables."""
    about: str
    keys: tuple[Key, ...]


def config_tables() -> tuple[Table, ...]:
    """Return the tables of a config file, in its order."""
    return tuple(_tables(Config, ""))


def policy_tables() -> tuple[Table, ...]:
    """Return the tables of one policy of a pack, in its order."""
    return tuple(_tables(Policy, "policy"))


def _tables(model: type[BaseModel], name: str) -> Iterator[Table]:
    # As written: a default is "10m", not 600.0. As read: a duration has bounds, which text has not.
    written, read = model.model_json_schema(mode="serialization"), model.model_json_schema(mode="validation")
    yield from _section(written, read, name, read["description"], written["$defs"], read["$defs"])


def _section(
    written: Schema, read: Schema, name: str, about: str, written_defs: Schema, read_defs: Schema
) -> Iterator[Table]:
    inner = {}
    keys = []
    for key, field in read["properties"].items():
        found = _definition(field, read_defs)
        if found and "properties" in read_defs[found]:
            inner[key] = found
        else:
            kind = read_defs[found] if found else field
            keys.append(_key(key, field, kind, written["properties"][key], key in read.get("required", ())))
    yield Table(name, about, tuple(keys))
    for key, found in inner.items():
        full = f"{name}.{key}" if name else key
        about = _told(read["properties"][key]["description"], read_defs[found]["description"])
        yield from _section(written_defs[found], read_defs[found], full, about, written_defs, read_defs)


def _told(field: str, model: str) -> str:
    """Return what a table is, from its field and its model, without saying the same twice."""
    if model.lower().startswith(field.lower()):
        return model
    return f"{field[:1].upper()}{field[1:]}. {model}"


def _definition(field: Schema, definitions: Schema) -> str | None:
    """Return the name of the definition that a field refers to, or None where it is plain."""
    name = str(field.get("$ref", "")).rsplit("/", 1)[-1]
    return name if name in definitions else None


def _key(name: str, field: Schema, kind: Schema, written: Schema, required: bool) -> Key:
    default = written.get("default")
    choices = ("true", "false") if kind.get("type") == "boolean" else tuple(map(toml_value, kind.get("enum", ())))
    return Key(
        name=name,
        about=field["description"],
        default=None if required or default is None else toml_value(default),
        required=required,
        choices=choices,
        form="" if choices else _form(kind),
    )


def _form(field: Schema) -> str:
    plain = next((one for one in field.get("anyOf", ()) if one["type"] != "null"), field)
    if plain.get("type") == "array":
        items = plain["items"]
        words = ", ".join(toml_value(one) for one in items.get("enum", ()))
        return f"list of {words or items.get('form') or _TYPES[items['type']]}"
    form = field.get("form") or plain.get("form") or _TYPES[plain["type"]]
    bounds = [f"{words} {bound_text(plain[key], form == 'duration')}" for key, words in _BOUNDS.items() if key in plain]
    length = [f"at most {plain['maxLength']} characters"] if "maxLength" in plain else []
    return ", ".join([form, *bounds, *length])
