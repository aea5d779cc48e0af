"""``synguard completion``: the shells' completion scripts, and what they ask while somebody types.

The scripts are written by ``python -m synguard.manual`` and shipped, so printing one imports nothing. Only the
targets of ``unban`` are asked for at each Tab: that is one query, without config models and ledger, which would
cost more than the rest of it together.
"""

from __future__ import annotations

import os
import sqlite3
import time
import tomllib
from contextlib import closing
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import typer

from synguard.errors import UsageError

MOST_TARGETS: Final = 200
"""More than that nobody looks through; the newest are given."""

_TARGETS: Final = (
    "SELECT DISTINCT target FROM ban WHERE dry_run IN (0, 1) AND ended_at IS NULL "
    "AND (expires_at IS NULL OR expires_at > ?) ORDER BY seq DESC LIMIT ?"
)


class Shell(StrEnum):
    """A shell that there is a completion script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell | None, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")] = None,
    targets: Annotated[bool, typer.Option("--targets", hidden=True, help="What unban may be told.")] = False,
) -> None:
    """Print what makes the Tab key complete verbs, options, their values, and the targets that unban may be told.

    Examples:
      source <(synguard completion bash)                            this shell only
      synguard completion bash > /etc/bash_completion.d/synguard
      synguard completion zsh > /usr/local/share/zsh/site-functions/_synguard
      synguard completion fish > /etc/fish/completions/synguard.fish

    The Debian package installs all three. Targets of bans are completed only for who may read the ledger.
    """
    if targets:
        print("".join(f"{one}\n" for one in standing_targets()), end="")
    elif shell is None:
        raise UsageError("say for which shell: bash, zsh or fish")
    else:
        print(
            files("synguard").joinpath("share", "completions", f"synguard.{shell}").read_text(encoding="utf-8"), end=""
        )


def standing_targets() -> list[str]:
    """Return the targets of bans that stand, newest first; none where they cannot be read: Tab tells no errors."""
    path = _state_directory() / "ledger.db"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.2)) as ledger:
            rows = ledger.execute(_TARGETS, (int(time.time() * 1e6), MOST_TARGETS)).fetchall()
    except (sqlite3.Error, ValueError):
        return []
    return [str(target) for (target,) in rows]


def _state_directory() -> Path:
    """Return the state directory that the config names, read without judging the rest of the file."""
    path = Path(os.environ.get("SYNGUARD_CONFIG") or "/etc/synguard/synguard.toml")
    try:
        named = tomllib.loads(path.read_text(encoding="utf-8")).get("state_dir")
    except (OSError, ValueError):
        named = None
    return path.parent / named if isinstance(named, str) else Path("/var/lib/synguard")
