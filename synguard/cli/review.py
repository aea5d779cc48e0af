"""``synguard review``: bans that end soon; extend what still hits, release what is quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from synguard.cli import words
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import UsageError

if TYPE_CHECKING:
    from synguard.cli.here import Reach
    from synguard.ledger import Ledger
    from synguard.model import Ban
    from synguard.policy.models import Config
    from synguard.report.review import Candidate

_MEMORY: Final = timedelta(days=30)
_BETWEEN_READS_S: Final = 1.0
"""Where no agent keeps the counts fresh, they are read twice this far apart: a flood sends in every second."""


@dataclass(slots=True)
class _Choices:
    """What is to be done to which bans."""

    extend: list[Ban] = field(default_factory=list)
    release: list[Ban] = field(default_factory=list)


def review(
    within: Annotated[
        str, typer.Option("--within", metavar="TIME", help="Bans that end so soon, or any for all.")
    ] = "10m",
    extend: Annotated[
        str | None, typer.Option("--extend", metavar="TIME", help="Let them last so much longer.")
    ] = None,
    still_hitting: Annotated[
        bool, typer.Option("--still-hitting", help="With --extend: only those that still hit.")
    ] = False,
    release: Annotated[bool, typer.Option("--release", help="Lift them now.")] = False,
    quiet: Annotated[
        str | None, typer.Option("--quiet", metavar="TIME", help="With --release: only those unseen for so long.")
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show which bans end soon and whether their targets still hit; extend or release them.

    Examples:
      synguard review                                     look; at a terminal, decide one by one
      synguard review --within 1h --extend 1h --still-hitting
      synguard review --within any --release --quiet 30m

    Without --extend or --release nothing changes, unless you answer the
    questions at a terminal. Would-be bans of a dry run are not reviewed.
    """
    within_s = None if within.strip() == "any" else words.duration(within)
    by_s = None if extend is None else words.duration(extend)
    quiet_s = None if quiet is None else words.duration(quiet)
    if still_hitting and by_s is None:
        raise UsageError("--still-hitting needs --extend TIME: how much longer those bans should last")
    if quiet_s is not None and not release:
        raise UsageError("--quiet needs --release: what to do with the quiet ones")
    if by_s is not None and release and not still_hitting:
        raise UsageError("--extend and --release together need --still-hitting, or they would name the same bans")
    settings = loaded(config)
    if by_s is None and not release:
        _look(settings, within_s, json)
    else:
        _act(settings, within_s, by_s, still_hitting, release, quiet_s, json)


def _look(config: Config, within_s: float | None, json: bool) -> None:
    from synguard.cli.here import opened_ledger

    with opened_ledger(config) as ledger:
        found = _candidates(ledger, config, within_s)
    if found and not json and sys.stdin.isatty() and sys.stdout.isatty():
        _one_by_one(found, config)
    else:
        _tell(found, _Choices(), within_s, None, json)


def _act(
    config: Config,
    within_s: float | None,
    by_s: float | None,
    still_hitting: bool,
    release: bool,
    quiet_s: float | None,
    json: bool,
) -> None:
    from synguard.cli.here import reaching

    with reaching(config) as reach:
        found = _candidates(reach.ledger, config, within_s)
        chosen = _Choices()
        for one in found:
            if by_s is not None and (one.hitting or not still_hitting) and one.record.ban.expires_at is not None:
                chosen.extend.append(one.record.ban)
            elif release and not one.hitting and one.quiet_s >= (quiet_s or 0):
                chosen.release.append(one.record.ban)
        chosen = _carry_out(chosen, reach, by_s or 0.0)
    _tell(found, chosen, within_s, by_s, json)


def _candidates(ledger: Ledger, config: Config, within_s: float | None) -> list[Candidate]:
    """Return the bans under review, with the freshest counts this user may have."""
    from synguard.addresses import format_network
    from synguard.cli.here import kernel_hits, utcnow
    from synguard.report.presence import agent_runs
    from synguard.report.review import candidates, grown_between

    grown: frozenset[str] = frozenset()
    if any(not record.ban.dry_run for record in ledger.standing(utcnow())):
        hits = kernel_hits(config)
        if hits and not agent_runs(config.runtime_dir):
            time.sleep(_BETWEEN_READS_S)
            later = kernel_hits(config) or hits
            grown, hits = grown_between(hits, later), later
        if hits:
            ledger.record_hits(hits, utcnow())
    now = utcnow()
    offences = {format_network(target): one.times for target, one in ledger.offences(now - _MEMORY).items()}
    return candidates(ledger.standing(now), now, within_s, grown, offences)


def _carry_out(chosen: _Choices, reach: Reach, by_s: float) -> _Choices:
    """Extend and release, and return the bans as they are now."""
    from synguard.policy.models import LONGEST_BAN_S

    done = _Choices()
    if chosen.extend:
        done.extend = list(reach.hand.extend(chosen.extend, by_s, LONGEST_BAN_S).bans)
    if chosen.release:
        done.release = list(reach.hand.lift(chosen.release, "released in review").bans)
    return done


def _one_by_one(found: Sequence[Candidate], config: Config) -> None:
    """Ask a person about each ban, then do it all at once."""
    from synguard.cli.here import reaching, utcnow
    from synguard.report.review import candidate_line
    from synguard.report.tables import printable

    chosen, by_s = _Choices(), 3600.0
    for one in found:
        print(printable(candidate_line(one, utcnow())))
        answer = typer.prompt("  keep, extend by 1h, release, quit", default="k", show_default=True)[:1].lower()
        if answer == "q":
            break
        if answer == "e" and one.record.ban.expires_at is not None:
            chosen.extend.append(one.record.ban)
        elif answer == "r":
            chosen.release.append(one.record.ban)
    if chosen.extend or chosen.release:
        with reaching(config) as reach:
            chosen = _carry_out(chosen, reach, by_s)
    _tell_changes(chosen)


def _tell(found: Sequence[Candidate], done: _Choices, within_s: float | None, by_s: float | None, json: bool) -> None:
    from synguard.cli.here import utcnow
    from synguard.report.review import candidate_shape, print_candidates
    from synguard.report.shapes import ban_shape
    from synguard.report.tables import print_json

    now = utcnow()
    if json:
        print_json(
            {
                "within_s": within_s,
                "extended_by_s": by_s,
                "bans": [candidate_shape(one, now) for one in found],
                "extended": [ban_shape(ban, now) for ban in done.extend],
                "released": [ban_shape(ban, now) for ban in done.release],
            }
        )
        return
    if not found:
        print(
            "no bans stand" if within_s is None else "no bans end soon; --within 1h looks further, --within any at all"
        )
        return
    print_candidates(found, now)
    _tell_changes(done)


def _tell_changes(done: _Choices) -> None:
    """Say exactly what changed."""
    from synguard.addresses import format_network
    from synguard.report.moments import both_zones

    for ban in done.extend:
        if ban.expires_at is not None:
            print(f"extended {format_network(ban.target)} until {both_zones(ban.expires_at)}, id {ban.id}")
    for ban in done.release:
        print(f"released {format_network(ban.target)}, id {ban.id}")
    if not done.extend and not done.release:
        print("nothing was changed")
