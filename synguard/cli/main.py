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
    Verb("run", "The agent in the foreground; dry-run unless told to enforce"),
    Verb("status", "Health, mode, pressure, incidents"),
    Verb("top", "All of it live: pressure, sources, bans; ban and unban by key"),
    Verb("bans", "What is banned now, until when, and what it stopped"),
    Verb("ban", "Ban an address or prefix by hand"),
    Verb("unban", "Lift a ban"),
    Verb("extend", "Let bans last longer: by a time, until a time, for good"),
    Verb("allow", "Who is never banned: add, remove, list", parts=("add", "remove", "list")),
    Verb("import", "Move in from csf, fail2ban, ddos-deflate, ufw, an ipset or nft"),
    Verb("review", "What ends soon: still hitting or quiet, and what to do about it"),
    Verb("report", "What was banned or would have been, why, who was spared"),
    Verb("why", "Everything known about one address"),
    Verb("enable", "From dry-run to enforcing: on trial, confirmed, or off"),
    Verb("connections", "Who is connected, in which state, to what"),
    Verb(
        "policy",
        "Check, show, replay and suggest policies",
        parts=("check", "show", "replay", "suggest", "example"),
    ),
    Verb("notify", "Messages: where they go, and a test of each", parts=("test", "show")),
    Verb("fleet", "The peers this host learns from and tells: CrowdSec, BGP speakers"),
    Verb("upstream", "Blackhole an own address upstream, and release it", parts=("blackhole", "release", "show")),
    Verb("doctor", "Whether this host can protect itself, and the fix where not"),
    Verb("panic", "Stop enforcing and lift every ban, until you say it is over"),
    Verb("flush", "Take everything of synguard's out of the kernel; bans stay in the ledger"),
    Verb("completion", "What makes the Tab key complete, for bash, zsh and fish"),
)

EXAMPLES: Final = """\
synguard keeps a Linux server reachable under SYN and connection floods,
without shutting innocent people out.

Examples:
  synguard doctor                       can this host protect itself?
  synguard run                          watch, tell what it would ban, touch nothing
  synguard report                       whom it would have banned, why, who could be hurt
  synguard enable --confirm-within 5m   enforce on trial: it ends unless you confirm

  synguard top                          what goes on now, live; ? shows the keys
  synguard connections                  who is connected, in which state, to what
  synguard why 203.0.113.7              everything known about one address

  synguard ban 203.0.113.0/24 --for 2h  ban by hand; it ends by itself
  synguard unban 203.0.113.0/24         lift a ban
  synguard allow add 203.0.113.0/24     never ban these
  synguard review                       what ends soon, and what to do about it
  synguard panic                        stop enforcing, lift every ban; it stays so
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
