"""The ``synguard`` command: which verbs there are, and the way into them.

A verb is one file ``synguard/cli/<verb>.py`` with one function of the verb's name, listed in ``VERBS`` with
its line of help. Only the verb that is asked for is imported, and verbs import what is heavy when they run,
so ``--help`` stays quick.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from synguard import __version__
from synguard.cli.groups import Verb, VerbGroup

VERBS: Final = (
    Verb("run", "Run the agent in the foreground; dry-run by default"),
    Verb("status", "Show health, mode, pressure, incidents"),
    Verb("top", "Watch pressure, sources and bans live; ban and unban by key"),
    Verb("bans", "List active bans, their expiry, and what they stopped"),
    Verb("ban", "Ban an address or prefix by hand"),
    Verb("unban", "Remove a ban"),
    Verb("extend", "Extend bans: by a time, until a time, or without end"),
    Verb("allow", "Manage the allow-list: add, remove, list", parts=("add", "remove", "resolve", "list")),
    Verb("import", "Import allow-lists and bans from csf, fail2ban, ufw and others"),
    Verb("review", "Review bans that expire soon: extend or remove each"),
    Verb("report", "Report what was banned or would have been, and why"),
    Verb("why", "Show everything known about one address"),
    Verb("enable", "Switch from dry-run to enforcing: on trial, confirmed, or off"),
    Verb("connections", "Show connections by state, source or port"),
    Verb(
        "policy",
        "Check, show, replay and suggest policies",
        parts=("check", "show", "replay", "suggest", "example"),
    ),
    Verb("notify", "Show where messages go; send a test", parts=("test", "show")),
    Verb("fleet", "Show the peers of the fleet: CrowdSec, BGP speakers"),
    Verb(
        "upstream", "Blackhole an address of this host upstream, or release it", parts=("blackhole", "release", "show")
    ),
    Verb("doctor", "Check whether this host can protect itself; name each fix"),
    Verb("panic", "Stop enforcing and remove every ban, until you end it"),
    Verb("flush", "Remove everything of synguard from the kernel; bans stay in the ledger"),
    Verb("completion", "Print the completion script for bash, zsh or fish"),
)

EXAMPLES: Final = """\
synguard keeps a Linux server reachable under SYN and connection floods,
without shutting innocent people out.

Examples:
  synguard doctor                       can this host protect itself?
  synguard run                          watch and log what it would ban; change nothing
  synguard report                       what it would have banned, why, and possible false positives
  synguard enable --confirm-within 5m   enforce on trial: it ends unless you confirm

  synguard top                          what happens now, live; ? shows the keys
  synguard connections                  connections by state, source or port
  synguard why 203.0.113.7              everything known about one address

  synguard ban 203.0.113.0/24 --for 2h  ban by hand; it ends by itself
  synguard unban 203.0.113.0/24         remove a ban
  synguard allow add 203.0.113.0/24     never ban these
  synguard review                       bans that expire soon, and what to do
  synguard panic                        stop enforcing, remove every ban
"""

EPILOG: Final = """\
"synguard VERB --help" tells more about a verb, "man synguard" more about all.
--config, --json and --debug may stand before or after the verb.

Exit codes: 0 ok, 1 failure, 2 usage or bad config, 3 refused for safety,
4 not permitted, 5 no backend.
"""


class Root(VerbGroup):
    """All verbs."""

    verbs = VERBS
    package = "synguard.cli"


app = typer.Typer(
    cls=Root,
    help=EXAMPLES,
    epilog=EPILOG,
    add_completion=False,
    subcommand_metavar="VERB ...",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"synguard {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="Config file; else SYNGUARD_CONFIG, else the default."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; also SYNGUARD_DEBUG=1.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hand the options that stand before the verb on to it, as the defaults of its own."""
    given: dict[str, Any] = {}
    if config is not None:
        given["config"] = config
    if json:
        given["json"] = True
    context.default_map = {verb.name: given | dict.fromkeys(verb.parts, given) for verb in VERBS}


def run() -> None:
    """Run the command line and exit; the console script."""
    app()
