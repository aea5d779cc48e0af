"""``synguard completion``: the shells' completion scripts, which ``make man`` writes."""

from __future__ import annotations

from enum import StrEnum
from importlib.resources import files
from typing import Annotated

import typer

from synguard.cli.tab import print_targets
from synguard.errors import UsageError


class Shell(StrEnum):
    """A shell that there is a completion script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell | None, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")] = None,
    targets: Annotated[
        bool, typer.Option("--targets", hidden=True, help="Print the targets that unban completes.")
    ] = False,
) -> None:
    """Print the script that completes verbs, options, values and banned targets.

    Examples:
      source <(synguard completion bash)                            this shell only
      synguard completion bash > /etc/bash_completion.d/synguard
      synguard completion zsh > /usr/local/share/zsh/site-functions/_synguard
      synguard completion fish > /etc/fish/completions/synguard.fish

    The Debian package installs all three. Banned targets are completed only for
    users who may read the ledger.
    """
    if targets:
        print_targets()
    elif shell is None:
        raise UsageError("name a shell: bash, zsh or fish")
    else:
        print(
            files("synguard").joinpath("share", "completions", f"synguard.{shell}").read_text(encoding="utf-8"), end=""
        )
