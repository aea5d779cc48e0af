"""``synguard review``: bans that end soon; what still hits, what is quiet, and what to do about each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from synguard.addresses import Network
from synguard.cli import parameter_types
from synguard.cli.context import open_context, opened_ledger, utcnow
from synguard.cli.options import ConfigFile, Json, Yes, loaded
from synguard.cli.prompt import confirmed
from synguard.cli.review_changes import NONE, Changes, carry_out
from synguard.cli.review_found import reviewed_bans
from synguard.cli.review_one_by_one import one_by_one
from synguard.cli.unban import ban_id_or_networks
from synguard.errors import UsageError
from synguard.output.tables import print_json, print_lines
from synguard.policy.models import Config
from synguard.report.advice import AdvisedStep, Reviewed
from synguard.report.review_table import candidate_shape, print_candidates
from synguard.report.shapes import ban_shape


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """What was asked for on the command line."""

    within_s: float | None
    extend_by_s: float | None = None
    still_hitting: bool = False
    release: bool = False
    quiet_s: float | None = None
    suggestions: bool = False
    permanent: bool = False
    yes: bool = False
    named: frozenset[str | Network] = frozenset()
    """Targets and ban ids that alone are meant; empty for all."""

    @property
    def changes_something(self) -> bool:
        """Whether anything but looking was asked for."""
        return self.extend_by_s is not None or self.release or self.chooses

    @property
    def asks(self) -> bool:
        """Whether a person must have seen it, or have said ``--yes``: synguard chooses, or every ban is changed."""
        return self.chooses or self.changes_all

    @property
    def chooses(self) -> bool:
        """Whether it is synguard that chooses."""
        return self.suggestions or self.permanent

    @property
    def changes_all(self) -> bool:
        """Whether every ban would be changed that stands."""
        extends_all = self.extend_by_s is not None and not self.still_hitting
        return self.within_s is None and not self.named and (extends_all or (self.release and self.quiet_s is None))


def review(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET", help="Review only these: addresses, prefixes or ban ids.", show_default=False),
    ] = None,
    within: Annotated[
        str, typer.Option("--within", metavar="TIME", help="Review bans that expire within TIME; any for all.")
    ] = "10m",
    extend: Annotated[
        str | None, typer.Option("--extend", metavar="TIME", help="Extend the selected bans by TIME.")
    ] = None,
    still_hitting: Annotated[
        bool, typer.Option("--still-hitting", help="With --extend: only bans whose targets still hit.")
    ] = False,
    release: Annotated[bool, typer.Option("--release", help="Remove the selected bans now.")] = False,
    quiet: Annotated[
        str | None,
        typer.Option("--quiet", metavar="TIME", help="With --release: only bans whose targets were quiet for TIME."),
    ] = None,
    apply_suggestions: Annotated[
        bool, typer.Option("--apply-suggestions", help="Apply what is suggested for each ban; asks first.")
    ] = False,
    make_permanent: Annotated[
        bool, typer.Option("--make-permanent", help="Apply only the suggestions to remove the end; asks first.")
    ] = False,
    yes: Yes = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show bans that expire soon, whether they still hit, and what to do with each.

    Examples:
      synguard review                         at a terminal: decide by key
      synguard review --within any | less     only show
      synguard review --within 1h --extend 1h --still-hitting
      synguard review --within any --release --quiet 30m
      synguard review --within any --apply-suggestions    asks first

    Nothing changes unless you ask for it. A suggestion never makes a ban longer
    than its policy allows, nor permanent where the evidence can be forged.
    Dry-run bans are shown as such and not changed.
    """
    named = frozenset(one for word in targets or () for one in ban_id_or_networks(word))
    within_s = None if named or within.strip() == "any" else parameter_types.duration(within)
    by_s = None if extend is None else parameter_types.duration(extend)
    quiet_s = None if quiet is None else parameter_types.duration(quiet)
    wanted = ReviewRequest(
        within_s, by_s, still_hitting, release, quiet_s, apply_suggestions, make_permanent, yes, named
    )
    _refuse_contradictions(wanted)
    settings = loaded(config)
    if wanted.changes_something:
        _act(settings, wanted, json)
    else:
        _look(settings, wanted, json)


def _refuse_contradictions(wanted: ReviewRequest) -> None:
    if wanted.still_hitting and wanted.extend_by_s is None:
        raise UsageError("--still-hitting needs --extend TIME: how much longer those bans should last")
    if wanted.quiet_s is not None and not wanted.release:
        raise UsageError("--quiet needs --release: what to do with the quiet ones")
    if wanted.extend_by_s is not None and wanted.release and not wanted.still_hitting:
        raise UsageError("--extend and --release together need --still-hitting, or they would name the same bans")
    if wanted.chooses and (wanted.extend_by_s is not None or wanted.release):
        raise UsageError("--apply-suggestions and --make-permanent choose by themselves: leave out --extend, --release")
    if wanted.suggestions and wanted.permanent:
        raise UsageError("--apply-suggestions includes --make-permanent: leave out --make-permanent")


def _look(config: Config, wanted: ReviewRequest, json: bool) -> None:
    from synguard.cli.prompt import is_interactive

    with opened_ledger(config) as ledger:
        found = reviewed_bans(ledger, config, wanted.within_s, wanted.named)
    if not found or json or not is_interactive():
        _tell(found, wanted, NONE, json)
        return
    one_by_one(found, config)


def _act(config: Config, wanted: ReviewRequest, json: bool) -> None:
    with open_context(config) as context:
        found = reviewed_bans(context.ledger, config, wanted.within_s, wanted.named)
        changes = _chosen(found, wanted)
        if wanted.asks:
            _confirm(changes, wanted, json)
        done = carry_out(changes, context)
    _tell(found, wanted, done, json)


def _confirm(changes: Changes, wanted: ReviewRequest, json: bool) -> None:
    """Show what would change and ask, unless ``--yes`` or nothing would."""
    if not changes.count:
        return
    if not json and not wanted.yes:
        print_lines(changes.preview(utcnow()))
    confirmed(
        f"make {changes.count_said}?",
        yes=wanted.yes,
        doing="changing every ban" if wanted.changes_all else "applying suggestions",
    )


def _chosen(found: Iterable[Reviewed], wanted: ReviewRequest) -> Changes:
    """Return what the options say is to be done; dry-run bans are never changed."""
    changes = Changes()
    for one, advice in found:
        ban = one.record.ban
        if ban.dry_run:
            continue
        if wanted.chooses:
            if wanted.suggestions or advice.step is AdvisedStep.PERMANENT:
                changes.take(ban, advice)
        elif wanted.extend_by_s is not None and (one.hitting or not wanted.still_hitting):
            changes.extend(ban, wanted.extend_by_s)
        elif wanted.release and not one.hitting and one.quiet_s >= (wanted.quiet_s or 0):
            changes.released.append(ban)
    return changes


def _tell(found: Sequence[Reviewed], wanted: ReviewRequest, done: Changes, json: bool) -> None:
    now = utcnow()
    if json:
        print_json(
            {
                "within_s": wanted.within_s,
                "extended_by_s": wanted.extend_by_s,
                "bans": [candidate_shape(one, advice, now) for one, advice in found],
                "extended": [ban_shape(ban, now) for ban, _ in done.extended],
                "released": [ban_shape(ban, now) for ban in done.released],
                "made_permanent": [ban_shape(ban, now) for ban in done.made_permanent],
            }
        )
        return
    if not found:
        soon = "no bans expire soon; see more with --within 1h, or all with --within any"
        print("no active bans" if wanted.within_s is None else soon)
        return
    print_candidates(found, now)
    print_lines(done.shown())
