"""Options that verbs share, and the config they lead to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synguard.errors import ConfigError

if TYPE_CHECKING:
    from synguard.policy.models import Config, Policy

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Config file; else SYNGUARD_CONFIG, else the default."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Lists = Annotated[
    list[Path] | None,
    typer.Option("--file", metavar="LIST", help="A list: plain lines, columns, JSON, or ipset save."),
]
SkipFaulty = Annotated[
    bool, typer.Option("--skip-faulty", help="Leave out lines of a list that cannot be used, and name them.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def loaded(config: Path | None) -> Config:
    """Return the configuration that ``--config``, SYNGUARD_CONFIG or the default place holds.

    Raises:
        ConfigError: It cannot be read or has faults; all of them are reported.
    """
    from synguard.policy.load import load_config

    return load_config(config)


def config_or_defaults(config: Path | None) -> Config:
    """Return the config; where it has faults, the defaults, and the directories that it names all the same.

    What stops or shows a running agent must not need a good file.
    """
    from synguard.policy.load import directories_named
    from synguard.policy.models import Config

    try:
        return loaded(config)
    except ConfigError as error:
        print(f"synguard: going on with defaults, since the config has faults: {error}", file=sys.stderr)
    return Config(**directories_named(config))


def policies_in_effect(config: Path | None) -> tuple[Policy, ...]:
    """Return the policies that the configuration names, in the order in which they are asked.

    Raises:
        ConfigError: The config or a policy has faults.
    """
    return policies_of(loaded(config), config)


def policies_of(settings: Config, config: Path | None) -> tuple[Policy, ...]:
    """Return the policies that settings name, which come from this file.

    Raises:
        ConfigError: A policy has faults.
    """
    from synguard.policy.load import default_path, load_policies

    source = config or default_path()
    return load_policies(settings, None if source is None else source.parent)
