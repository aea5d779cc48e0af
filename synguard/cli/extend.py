"""``synguard extend``: let bans that stand last longer, by a time, until a time, or for good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated

import typer

from synguard.addresses import Network, format_network
from synguard.cli import parameter_types
from synguard.cli.context import open_context, utcnow
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.cli.review_changes import Changes, carry_out
from synguard.cli.unban import ban_id_or_networks, nothing_matched
from synguard.errors import RefusedError, SynguardError, UsageError
from synguard.model import Ban
from synguard.output.tables import print_json, print_lines
from synguard.output.times import both_zones
from synguard.policy.models import LONGEST_BAN_S
from synguard.report.advice import can_be_forged
from synguard.report.shapes import ban_shape


def extend(
    targets: Annotated[
        list[str], typer.Argument(metavar="TARGET", help="Addresses, prefixes or ban ids, as `synguard bans` lists.")
    ],
    by: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Extend by TIME: 30m, 2h, 7d.")] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="WHEN", help='New end: "2026-12-01 08:00" in local time, or with Z for UTC.'),
    ] = None,
    permanent: Annotated[bool, typer.Option("--permanent", help="Remove the end.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Allow --permanent although the evidence can be forged.")
    ] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Extend bans.

    Examples:
      synguard extend 203.0.113.0/24 --for 2h
      synguard extend 203.0.113.7 --until "2026-12-01 08:00"
      synguard extend m1f8c22d0 --permanent

    Name each target as it was banned. Refused (exit code 3): --permanent for
    protected targets, and, unless --force, for automatic bans whose evidence
    can be forged.
    """
    wanted = [*dict.fromkeys(one for word in targets for one in ban_id_or_networks(word, "--for"))]
    if sum((by is not None, until is not None, permanent)) != 1:
        raise UsageError("give a length: --for TIME, --until WHEN or --permanent")
    seconds = None if by is None else parameter_types.duration(by)
    end = None if until is None else parameter_types.moment(until)
    with open_context(loaded(config)) as context:
        now = utcnow()
        found = _found(wanted, context.ledger.active_bans(now))
        changes = _changes(found, seconds, end, now, force)
        done = carry_out(changes, context)
    if json:
        print_json(
            {
                "extended": [ban_shape(ban, now) for ban, _ in done.extended],
                "made_permanent": [ban_shape(ban, now) for ban in done.made_permanent],
            }
        )
        return
    print_lines(done.shown())


def _found(wanted: Iterable[str | Network], active_bans: Mapping[str, Ban]) -> list[Ban]:
    """Return the bans that are named.

    Raises:
        SynguardError: One of them does not stand.
    """
    found = {one: [ban for ban in active_bans.values() if one in (ban.target, ban.id)] for one in wanted}
    missing = [nothing_matched(one, active_bans.values(), "extend") for one, bans in found.items() if not bans]
    if missing:
        raise SynguardError("\n".join([*missing[:20], "nothing was changed"]))
    return [*{ban.id: ban for bans in found.values() for ban in bans}.values()]


def _changes(bans: Iterable[Ban], by_s: float | None, end: datetime | None, now: datetime, force: bool) -> Changes:
    """Return what is to be done to each ban.

    Raises:
        RefusedError: A ban has no end already, or would end sooner, or may not last so long.
    """
    changes, refused = Changes(), []
    for ban in bans:
        word = format_network(ban.target)
        if ban.expires_at is None:
            refused.append(f"the ban of {word} has no end already")
        elif by_s is None and end is None:
            if can_be_forged(ban) and not force:
                refused.append(f"{word} was banned on evidence that can be forged: no end only with --force")
            else:
                changes.made_permanent.append(ban)
        else:
            longer = by_s if by_s is not None else (end - ban.expires_at).total_seconds() if end else 0.0
            if longer <= 0:
                refused.append(f"the ban of {word} ends later already, {both_zones(ban.expires_at)}")
            elif (ban.expires_at - now).total_seconds() + longer > LONGEST_BAN_S:
                refused.append(f"{word}: longer than the kernel can count (24 days 20 hours): say --permanent")
            else:
                changes.extend(ban, longer)
    if refused:
        raise RefusedError("\n".join([*refused[:20], "nothing was changed"]))
    return changes
