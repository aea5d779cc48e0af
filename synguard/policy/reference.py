"""The reference page, from the models themselves: ``python -m synguard.policy.reference`` writes it anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from synguard.policy.complaints import bound_text
from synguard.policy.models import Config, Policy
from synguard.policy.show import toml_value

PAGE: Final = Path(__file__).parents[2] / "docs" / "policy-reference.md"
"""Where it lies in a source checkout."""

Schema: TypeAlias = Mapping[str, Any]

_HEAD: Final = """\
# Reference: config and policies

Written by `python -m synguard.policy.reference` from the models in `synguard/policy`; do not edit. What the words mean
and how to choose is told in [policies.md](policies.md).

Durations are text with a unit: `"250ms"`, `"30s"`, `"10m"`, `"1h30m"`, `"7d"`. Paths in a config file are relative to
that file. In messages, list indexes begin at 0: `policy[0]` is the first `[[policy]]` of a file.
"""
_BOUNDS: Final = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}
_TYPES: Final = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}


def reference() -> str:
    """Return the whole page as Markdown."""
    return "\n".join(
        (
            _HEAD,
            "## Config\n",
            "`/etc/synguard/synguard.toml`, or the file that `--config` or `SYNGUARD_CONFIG` names. "
            "Every key is optional.\n",
            *_page(Config, ""),
            "## Policies\n",
            "A pack is a TOML file of one or more `[[policy]]` tables. For a port, the first policy that names it "
            "judges. Only `name` must be given.\n",
            *_page(Policy, "policy"),
        )
    )


def _page(model: type[BaseModel], name: str) -> Iterator[str]:
    # As written: a default is "10m", not 600.0. As read: a duration has bounds, which text has not.
    written, read = model.model_json_schema(mode="serialization"), model.model_json_schema(mode="validation")
    yield from _section(written, read, name, read["description"], written["$defs"], read["$defs"])


def _section(
    written: Schema, read: Schema, name: str, about: str, written_defs: Schema, read_defs: Schema
) -> Iterator[str]:
    """Give lines for one table of a file, then for each table inside it."""
    if name:
        yield f"### `{name}`\n"
    yield f"{about}\n"
    yield "| key | what it is | default | values |"
    yield "|---|---|---|---|"
    inner = {}
    for key, field in read["properties"].items():
        found = _definition(field, read_defs)
        if found and "properties" in read_defs[found]:
            inner[key] = found
        else:
            default = _default(written["properties"][key], key in read.get("required", ()))
            values = _values(field, read_defs[found] if found else field)
            yield f"| `{key}` | {field['description']} | {default} | {values} |"
    yield ""
    for key, found in inner.items():
        full = f"{name}.{key}" if name else key
        about = f"{_sentence(read['properties'][key]['description'])} {read_defs[found]['description']}"
        yield from _section(written_defs[found], read_defs[found], full, about, written_defs, read_defs)


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _definition(field: Schema, definitions: Schema) -> str | None:
    """Return the name of the definition that a field refers to, or None where it is plain."""
    name = str(field.get("$ref", "")).rsplit("/", 1)[-1]
    return name if name in definitions else None


def _default(field: Schema, required: bool) -> str:
    if required:
        return "must be given"
    default = field.get("default")
    return "none" if default is None else f"`{toml_value(default)}`"


def _values(field: Schema, kind: Schema) -> str:
    if "enum" in kind:
        return " or ".join(f"`{toml_value(one)}`" for one in kind["enum"])
    plain = next((one for one in field.get("anyOf", ()) if one["type"] != "null"), field)
    if plain.get("type") == "array":
        items = plain["items"]
        return f"list of {items.get('form') or _TYPES[items['type']]}"
    form = field.get("form") or _TYPES[plain["type"]]
    bounds = [f"{words} {bound_text(plain[key], form == 'duration')}" for key, words in _BOUNDS.items() if key in plain]
    length = [f"at most {plain['maxLength']} characters"] if "maxLength" in plain else []
    return ", ".join([form, *bounds, *length])


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
