"""Effective policies as TOML that loads back to the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from synguard.policy.models import Pack, Policy


def show_policies(policies: Sequence[Policy]) -> str:
    """Return policies as one pack in TOML; signals without a limit are left out, which is how TOML says none."""
    dump = Pack.model_construct(policy=tuple(policies)).model_dump(mode="json", exclude_none=True)
    return "\n".join(f"[[policy]]\n{toml_table(policy, ('policy',))}" for policy in dump["policy"])


def toml_table(values: Mapping[str, Any], path: tuple[str, ...]) -> str:
    """Return values as TOML, tables in them under their ``path``."""
    lines = [f"{key} = {toml_value(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    text = "".join(f"{line}\n" for line in lines)
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = (*path, key)
            text += f"\n[{'.'.join(inner)}]\n{toml_table(value, inner)}"
    return text


def toml_value(value: Any) -> str:
    """Return a value as TOML; ``value`` is text, a number, true or false, or a list or tuple of such."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml_value(one) for one in value)}]"
    if isinstance(value, str):
        # JSON's escapes are TOML's but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
