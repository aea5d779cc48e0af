"""``synguard policy``: check policy files, show the values in effect, try policies on recorded traffic."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.resources import files as shipped
from pathlib import Path
from typing import Annotated

import typer

from synguard.cli.groups import group_of
from synguard.cli.options import ConfigFile, Json, loaded, policies_in_effect
from synguard.cli.policy_replay import replay
from synguard.cli.policy_suggest import suggest
from synguard.errors import ConfigError, SensorError, UsageError
from synguard.output.tables import print_json, print_lines, printable
from synguard.policy.load import load_file, load_pack, load_policies, pack_names, packs_directory
from synguard.policy.models import Config, Policy
from synguard.report.policy_view import judged_ports, pack_line, policy_lines, policy_shape
from synguard.sensors.allow_list import read_allow_networks

_HELP = """\
Check policy files, show which limits apply, try limits on recorded traffic.

Examples:
  synguard policy check rules/web.toml /etc/synguard/mine.toml
  synguard policy show
  synguard policy show --policy web --json
  synguard policy replay day.rec --policy strict
  synguard policy suggest day.rec -o mine.toml
  synguard policy example > synguard.toml
"""


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Policy or config files (TOML).")],
    json: Json = False,
) -> None:
    """Check policy and config files; report every fault at once, each with its path.

    Examples:
      synguard policy check mine.toml
      synguard policy check /etc/synguard/synguard.toml
      synguard policy check rules/*.toml

    Exit code 0 where all are good, 2 where any is not.
    """
    problems: list[str] = []
    good: dict[str, list[str]] = {}
    for path in files:
        try:
            found = load_file(path)
            is_config = isinstance(found, Config)
            policies = load_policies(found, path.parent) if isinstance(found, Config) else found.policy
            if isinstance(found, Config) and (faults := allow_list_faults(found)):
                raise ConfigError(*faults)
        except ConfigError as error:
            problems.extend(error.problems)
        else:
            good[str(path)] = [one.name for one in policies]
            if not json:
                print(printable(f"{path}: ok, {'a config with ' if is_config else ''}{pack_line(policies)}"))
    if json:
        print_json({"ok": not problems, "files": good, "problems": problems})
    if problems and json:
        raise typer.Exit(ConfigError.exit_code)
    if problems:
        raise ConfigError(*problems)


def show(
    name: Annotated[str | None, typer.Option("--policy", metavar="NAME", help="Only this policy.")] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show the policies in effect with every value, and their ports.

    Examples:
      synguard policy show
      synguard policy show --policy web
      synguard --config /etc/synguard/other.toml policy show --json

    For a port, the first policy that names it judges. A shipped policy that
    is not in effect is shown if it is named. Exit code 2 where the config, a
    policy or an allow-list file has faults.
    """
    policies = policies_in_effect(config)
    chosen = [pair for pair in zip(policies, judged_ports(policies), strict=True) if name in (None, pair[0].name)]
    if not chosen:
        policies = _shipped(str(name), policies)
        chosen = [pair for pair in zip(policies, judged_ports(policies), strict=True) if pair[0].name == name]
        print(f"{name} is not in effect here; the pack that has it is shipped", file=sys.stderr)
    if json:
        print_json([policy_shape(one, ports) for one, ports in chosen])
    else:
        for one, ports in chosen:
            print_lines(policy_lines(one, ports))
    faults = allow_list_faults(loaded(config))
    if faults:
        raise ConfigError(*faults)


def _shipped(name: str, in_effect: Sequence[Policy]) -> tuple[Policy, ...]:
    """Return the policies of the shipped pack that has one of a name.

    Raises:
        UsageError: There is none; names those that are in effect.
    """
    packs = [load_pack(packs_directory() / f"{one}.toml").policy for one in pack_names()]
    found = next((pack for pack in packs if any(one.name == name for one in pack)), None)
    if found is not None:
        return found
    near = get_close_matches(
        name, [*(one.name for pack in packs for one in pack), *(one.name for one in in_effect)], n=1
    )
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(
        f'no policy "{name[:60]}" is in effect; there are: {", ".join(one.name for one in in_effect)}{hint}'
    )


def allow_list_faults(config: Config) -> tuple[str, ...]:
    """Return a sentence for each fault of the allow-list files that a configuration names."""
    faults: list[str] = []
    for path in config.allow.files:
        try:
            read_allow_networks(path)
        except (ConfigError, SensorError) as error:
            faults += getattr(error, "problems", (str(error),))
    return tuple(faults)


def example(
    allow_list: Annotated[
        bool, typer.Option("--allow-list", help="Print an example of an allow-list file instead.")
    ] = False,
) -> None:
    """Print an example config: every key explained, with its default.

    Examples:
      synguard policy example > synguard.toml
      synguard policy example --allow-list > allow.txt

    Every key is commented out: used as it is, it changes nothing.
    """
    name = "allow.txt.example" if allow_list else "synguard.toml"
    print(shipped("synguard").joinpath("share", "config", name).read_text(encoding="utf-8"), end="")


policy = group_of(_HELP, check, show, replay, suggest, example)
