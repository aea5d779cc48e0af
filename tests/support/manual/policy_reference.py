"""The reference page of config and policies, from the models themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from tests.support.manual.keys import Key, Table, config_tables, policy_tables
from tests.support.pages import ROOT

PAGE: Final = ROOT / "docs" / "policy-reference.md"

_HEAD: Final = """\
# Reference: config and policies

Written by `make man` from the models in `synguard/policy`; do not edit. What the words mean
and how to choose is explained in [policies.md](policies.md).

Durations are text with a unit: `"250ms"`, `"30s"`, `"10m"`, `"1h30m"`, `"7d"`. Paths in a config file are relative to
that file. In messages, list indexes begin at 0: `policy[0]` is the first `[[policy]]` of a file.
"""


def reference() -> str:
    """Return the whole page as Markdown."""
    return "\n".join(
        (
            _HEAD,
            "## Config\n",
            "`/etc/synguard/synguard.toml`, or the file that `--config` or `SYNGUARD_CONFIG` names. "
            "Every key is optional.\n",
            *_sections(config_tables()),
            "## Policies\n",
            "A pack is a TOML file of one or more `[[policy]]` tables. For a port, the first policy that names it "
            "judges. Only `name` must be given.\n",
            *_sections(policy_tables()),
        )
    )


def _sections(tables: Iterable[Table]) -> Iterator[str]:
    for table in tables:
        if table.name:
            yield f"### `{table.name}`\n"
        yield f"{table.about}\n"
        yield "| key | what it is | default | values |"
        yield "|---|---|---|---|"
        yield from map(_row, table.keys)
        yield ""


def _row(key: Key) -> str:
    default = "must be given" if key.required else "none" if key.default is None else f"`{key.default}`"
    values = " or ".join(f"`{one}`" for one in key.choices) or key.form
    return f"| `{key.name}` | {key.about} | {default} | {values} |"
