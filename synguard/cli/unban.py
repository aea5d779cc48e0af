"""``synguard unban``: lift bans, by target or by id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from synguard.addresses import Network, covers, format_network, overlaps
from synguard.cli import words
from synguard.cli.asking import confirmed
from synguard.cli.options import ConfigFile, Json, Yes, loaded
from synguard.errors import SynguardError, UsageError
from synguard.model import Ban, Origin

if TYPE_CHECKING:
    from synguard.policy.models import Config

_ID: Final = re.compile(r"m[0-9a-f]{8}|(?=.*[0-9])[a-z0-9-]{1,32}")
"""Ids carry a digit, nearly always; a word without one is a mistyped address."""


def unban(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET", help="Addresses, prefixes or ban ids.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Lift every ban, automatic ones too.")] = False,
    yes: Yes = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Lift bans; the target must be the one that was banned, or the ban's id.

    Examples:
      synguard unban 203.0.113.7
      synguard unban 203.0.113.0/24 m1f8c22d0
      synguard unban --all

    An address inside a banned prefix is not lifted alone: the answer names the
    ban that covers it. Exit code 1 where nothing matched.
    """
    if bool(targets) == everything:
        raise UsageError("say what to lift: a TARGET as `synguard bans` lists it, or --all")
    settings = loaded(config)
    wanted = [_ban_id_or_network(word) for word in targets or ()]
    if everything:
        confirmed("lift every ban?", yes=yes, doing="lifting every ban")
    _lift(wanted, settings, json)


def _ban_id_or_network(word: str) -> str | Network:
    try:
        return words.network(word)
    except UsageError:
        if _ID.fullmatch(word):
            return word
        raise


def _lift(wanted: Sequence[str | Network], config: Config, json: bool) -> None:
    """Lift what matches, tell of what does not.

    Raises:
        SynguardError: Something asked for did not match any standing ban.
    """
    from synguard.cli.here import reaching, utcnow

    with reaching(config) as reach:
        now = utcnow()
        standing = reach.ledger.active_bans(now) | reach.ledger.active_bans(now, dry_run=True)
        found = {id_: ban for id_, ban in standing.items() if not wanted or ban.target in wanted or id_ in wanted}
        missing = [one for one in wanted if not any(one in (ban.target, ban.id) for ban in found.values())]
        orphans = {held.target for held in reach.plane.read().bans.values() if held.ban_id not in standing}
        if found or any(one in orphans for one in missing) or (not wanted and orphans):
            reach.hand.lift(tuple(found.values()), "lifted by hand")
    _tell(found, orphans if not wanted else orphans.intersection(wanted), json)
    missing = [one for one in missing if one not in orphans]
    if missing:
        raise SynguardError("\n".join(_nothing_matched(one, standing.values()) for one in missing))
    if not wanted and not found and not json:
        print("no bans stand")


def _tell(found: Mapping[str, Ban], orphans: Iterable[Network], json: bool) -> None:
    from synguard.cli.here import utcnow
    from synguard.report.shapes import ban_shape
    from synguard.report.tables import print_json, printable

    if json:
        print_json({"lifted": [ban_shape(ban, utcnow()) for ban in found.values()]})
        return
    for ban in found.values():
        what = "would-be ban of" if ban.dry_run else "ban of"
        print(printable(f"lifted the {what} {format_network(ban.target)} ({ban.scope}, {ban.action}), id {ban.id}"))
    for target in sorted(map(format_network, orphans)):
        print(f"took {target} out of the kernel; the ledger did not know of it")
    if any(ban.origin is Origin.AUTO for ban in found.values()):
        print("note: the agent may ban again what goes on attacking; put it on the allow-list to prevent that")


def _nothing_matched(wanted: str | Network, standing: Iterable[Ban]) -> str:
    """Return one sentence that names the bans that are near, if any."""
    if isinstance(wanted, str):
        return f"no ban with id {wanted} stands; see synguard bans"
    bans = list(standing)
    word = format_network(wanted)
    around = [ban for ban in bans if covers(ban.target, wanted)]
    if around:
        outer = format_network(around[0].target)
        return f"{word} is not banned by itself: the ban of {outer} covers it; to lift that, synguard unban {outer}"
    inside = sorted({format_network(ban.target) for ban in bans if overlaps(ban.target, wanted)})
    if inside:
        rest = f" and {len(inside) - 5} more" if len(inside) > 5 else ""
        return f"{word} is not banned, but these inside it are: {', '.join(inside[:5])}{rest}; lift each by its name"
    return f"{word} is not banned; see synguard bans"
