"""``synguard policy example``: an example config with every key, and an example of an allow-list."""

from __future__ import annotations

from typing import Annotated

import typer


def example(
    allow_list: Annotated[bool, typer.Option("--allow-list", help="An example of an allow-list file instead.")] = False,
) -> None:
    """Print an example config: every key with what it is, its bounds, and its default, commented out.

    Examples:
      synguard policy example > synguard.toml
      synguard policy example --allow-list > allow.txt

    As it is printed it changes nothing: all defaults, dry-run.
    """
    from synguard.policy.example import ALLOW_LIST
    from synguard.policy.example import example as config

    print(ALLOW_LIST if allow_list else config(), end="")
