"""``synguard unban``: remove bans, by target or by id."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Final

import typer

from synguard.addresses import Network, covers, format_network, overlaps
from synguard.cli import parameter_types
from synguard.cli.context import open_context, utcnow
from synguard.cli.options import ConfigFile, Json, Lists, SkipFaulty, Yes, loaded
from synguard.cli.progress import LONG, Step, steps
from synguard.cli.prompt import confirmed
from synguard.enforcer.plane import Plane
from synguard.errors import SynguardError, UsageError
from synguard.memory import many_objects
from synguard.model import Ban, Origin
from synguard.operator.lists import lists_of, read_lists, tell_of_lists
from synguard.operator.unban import NamedBans, named_bans
from synguard.output.tables import print_json, print_lines, printable
from synguard.plain import some
from synguard.policy.models import Config
from synguard.report.shapes import ban_shape

FEW: Final = 20
"""Bans, orphans and targets without a ban that are reported one by one; of more, their number."""
SHAPED: Final = 200
"""Removed bans that JSON spells out."""

_ID: Final = re.compile(r"m[0-9a-f]{8,12}|(?=.*[0-9])[a-z0-9-]{1,32}")
"""Ids carry a digit, nearly always; a word without one is a mistyped address."""


def unban(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            help="Addresses, prefixes or ban ids; - reads a list from standard input.",
            show_default=False,
        ),
    ] = None,
    file: Lists = None,
    skip_faulty: SkipFaulty = False,
    everything: Annotated[bool, typer.Option("--all", help="Remove every ban, automatic ones too.")] = False,
    yes: Yes = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Remove bans. The target must be the one that was banned, or the id of the ban.

    Examples:
      synguard unban 203.0.113.7
      synguard unban 203.0.113.0/24 m1f8c22d0
      synguard unban --file drop.txt                    every line of a list
      synguard unban --all

    An address inside a banned prefix cannot be unbanned alone: the error names
    the ban that covers it. Exit code 1 if no ban matched.
    """
    paths = lists_of(targets or (), file or ())
    if (bool(targets) or bool(paths)) == everything:
        raise UsageError("name what to unban: a TARGET as `synguard bans` lists it, --file LIST, - or --all")
    settings = loaded(config)
    wanted: dict[str | Network, None] = dict.fromkeys(
        one for word in targets or () if word != "-" for one in ban_id_or_networks(word)
    )
    if everything:
        confirmed("remove every ban?", yes=yes, doing="removing every ban")
    with many_objects(), steps(4, LONG if paths else len(wanted)) as step:
        if paths:
            step("reading the list")
            listing = read_lists(paths, skip_faulty=skip_faulty)
            tell_of_lists(listing)
            wanted |= dict.fromkeys(listing.entries)
        _unban(wanted, settings, json, step)


def ban_id_or_networks(word: str, time_option: str = "") -> Sequence[str | Network]:
    """Return the networks that a word names, several for a range, or the word where it is a ban's id.

    Raises:
        UsageError: It is neither.
    """
    try:
        return parameter_types.networks([word], time_option=time_option)
    except UsageError:
        if _ID.fullmatch(word) and not (time_option and parameter_types.is_duration(word)):
            return [word]
        raise


def _unban(wanted: Mapping[str | Network, None], config: Config, json: bool, step: Step) -> None:
    """Remove what matches, report what does not.

    Raises:
        SynguardError: Something asked for did not match any active ban.
    """
    step("reading the active bans")
    with open_context(config) as context:
        found = named_bans(context.ledger, wanted, utcnow())
        orphans = _orphans(context.plane, found) if found.missing or not wanted else set()
        if wanted:
            orphans.intersection_update(found.missing)
        if found or orphans:
            context.applier.unban(found.bans, "unbanned by hand", step, found.drops, orphans=bool(orphans))
    step("done")
    _tell(found, orphans, json)
    missing = [one for one in found.missing if one not in orphans]
    if missing:
        active_bans = [*found.active()]
        said = (nothing_matched(one, active_bans) for one in missing)
        raise SynguardError("\n".join(some(said, FEW, "more not banned")))
    if not wanted and not found and not json:
        print("no active bans")


def _orphans(plane: Plane, found: NamedBans) -> set[Network]:
    known = found.active_bans.keys() | {one.id for one in found.active_drops}
    return {held.target for held in plane.read().bans.values() if held.ban_id not in known}


def _tell(found: NamedBans, orphans: Collection[Network], json: bool) -> None:
    if json:
        shaped = [ban_shape(ban, utcnow()) for ban in found.first(SHAPED)]
        print_json({"counts": {"lifted": len(found), "orphans": len(orphans)}, "lifted": shaped})
        return
    if len(found) > FEW:
        would_be = sum(ban.dry_run for ban in found.bans)
        print(f"removed {len(found):,} bans" + (f", {would_be:,} of them dry-run bans" if would_be else ""))
    for ban in found.first(FEW) if len(found) <= FEW else ():
        what = "dry-run ban of" if ban.dry_run else "ban of"
        print(printable(f"removed the {what} {format_network(ban.target)} ({ban.scope}, {ban.action}), id {ban.id}"))
    unknown = sorted(map(format_network, orphans))
    print_lines(some((f"took {one} out of the kernel; it was not in the ledger" for one in unknown), FEW))
    if any(ban.origin is Origin.AUTO for ban in found.bans):
        print("note: the agent may ban again what goes on attacking; put it on the allow-list to prevent that")


def nothing_matched(wanted: str | Network, active_bans: Iterable[Ban], verb: str = "unban") -> str:
    """Return one sentence that names the bans that are near, if any, and how to have the ``verb`` meet one."""
    if isinstance(wanted, str):
        return f"no ban with id {wanted} is active; see synguard bans"
    bans = list(active_bans)
    word = format_network(wanted)
    around = [ban for ban in bans if covers(ban.target, wanted)]
    if around:
        outer = format_network(around[0].target)
        return f"{word} is not banned by itself: the ban of {outer} covers it; to {verb} that: synguard {verb} {outer}"
    inside = sorted({format_network(ban.target) for ban in bans if overlaps(ban.target, wanted)})
    if inside:
        rest = f" and {len(inside) - 5} more" if len(inside) > 5 else ""
        return f"{word} is not banned, but these inside it are: {', '.join(inside[:5])}{rest}; {verb} each by its name"
    return f"{word} is not banned; see synguard bans"
