"""``synguard review``: bans that end soon; what still hits, what is quiet, and what to do about each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

import typer

from synguard.addresses import Network, format_network
from synguard.cli import parameter_types
from synguard.cli.context import kernel_hits, open_context, opened_ledger, protected_here, utcnow
from synguard.cli.options import ConfigFile, Json, Yes, loaded
from synguard.cli.prompt import confirmed
from synguard.cli.review_changes import NONE, Changes, carry_out
from synguard.cli.review_one_by_one import one_by_one
from synguard.detector.peers import half_open_by_target
from synguard.errors import ConfigError, SensorError, SynguardError, UsageError
from synguard.ledger import Ledger
from synguard.model import Ban
from synguard.output.tables import print_json
from synguard.policy.load import load_policies
from synguard.policy.models import Config
from synguard.readings import TcpState
from synguard.report.advice import Advice, AdvisedStep, Around, advise
from synguard.report.review import Candidate, Traces, candidates, evidence_now, grown_between
from synguard.report.review_table import candidate_shape, print_candidates
from synguard.report.shapes import ban_shape
from synguard.status.freshness import agent_runs
from synguard.status.model import read_status

_MEMORY: Final = timedelta(days=30)
_BETWEEN_READS_S: Final = 1.0
"""Where no agent keeps the counts fresh, they are read twice this far apart: a flood sends in every second."""


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

    @property
    def changes_something(self) -> bool:
        """Whether anything but looking was asked for."""
        return self.extend_by_s is not None or self.release or self.asks

    @property
    def asks(self) -> bool:
        """Whether it is synguard that chooses, so that a person must have seen it, or have said ``--yes``."""
        return self.suggestions or self.permanent


@dataclass(frozen=True, slots=True)
class ReviewedBans:
    """The bans under review and what is suggested for each, in the same order."""

    bans: Sequence[Candidate]
    advised: Sequence[Advice]


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
    apply_suggestions: Annotated[
        bool, typer.Option("--apply-suggestions", help="Do what is suggested for each, after a yes.")
    ] = False,
    make_permanent: Annotated[
        bool, typer.Option("--make-permanent", help="Only what is suggested to have no end, after a yes.")
    ] = False,
    yes: Yes = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show which bans end soon, whether their targets still hit, and what to do about each, with the reason.

    Examples:
      synguard review                                     at a terminal: decide with one key a ban
      synguard review --within any | less                 look
      synguard review --within 1h --extend 1h --still-hitting
      synguard review --within any --release --quiet 30m
      synguard review --within any --apply-suggestions    see what it would change, then say yes

    Nothing changes without being told. Suggestions never make a ban longer
    than its policy does, and never suggest a ban without end on evidence that
    can be forged. Would-be bans of a dry run are shown as such and not changed.
    """
    within_s = None if within.strip() == "any" else parameter_types.duration(within)
    by_s = None if extend is None else parameter_types.duration(extend)
    quiet_s = None if quiet is None else parameter_types.duration(quiet)
    wanted = ReviewRequest(within_s, by_s, still_hitting, release, quiet_s, apply_suggestions, make_permanent, yes)
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
    if wanted.asks and (wanted.extend_by_s is not None or wanted.release):
        raise UsageError("--apply-suggestions and --make-permanent choose by themselves: leave out --extend, --release")
    if wanted.suggestions and wanted.permanent:
        raise UsageError("--apply-suggestions makes permanent what it suggests to: leave out --make-permanent")


def _look(config: Config, wanted: ReviewRequest, json: bool) -> None:
    from synguard.cli.prompt import is_interactive

    with opened_ledger(config) as ledger:
        found = _found(ledger, config, wanted.within_s)
    if not found.bans or json or not is_interactive():
        _tell(found, wanted, NONE, json)
        return
    one_by_one(found.bans, found.advised, config)


def _act(config: Config, wanted: ReviewRequest, json: bool) -> None:
    with open_context(config) as context:
        found = _found(context.ledger, config, wanted.within_s)
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
        for line in changes.preview(utcnow()):
            print(line)
    confirmed(f"make {changes.count_said}?", yes=wanted.yes, doing="applying suggestions")


def _chosen(found: ReviewedBans, wanted: ReviewRequest) -> Changes:
    """Return what the options say is to be done; would-be bans are never changed."""
    changes = Changes()
    for one, advice in zip(found.bans, found.advised, strict=True):
        ban = one.record.ban
        if ban.dry_run:
            continue
        if wanted.asks:
            if wanted.suggestions or advice.step is AdvisedStep.PERMANENT:
                changes.take(ban, advice)
        elif wanted.extend_by_s is not None and (one.hitting or not wanted.still_hitting):
            changes.extend(ban, wanted.extend_by_s)
        elif wanted.release and not one.hitting and one.quiet_s >= (wanted.quiet_s or 0):
            changes.release(ban)
    return changes


def _found(ledger: Ledger, config: Config, within_s: float | None) -> ReviewedBans:
    """Return the bans under review, with the freshest counts this user may have, and what is suggested."""
    traces = _traces(ledger, config)
    now = utcnow()
    offences = {format_network(target): one.times for target, one in ledger.offences(now - _MEMORY).items()}
    active_bans = ledger.active_records(now)
    found = candidates(active_bans, now, within_s, traces, offences)
    return ReviewedBans(found, advise(found, _around([one.ban for one in active_bans], config), now) if found else [])


def _traces(ledger: Ledger, config: Config) -> Traces:
    """Return what is seen now of those who are banned; the kernel's counts are kept in the ledger."""
    active_bans = [record.ban for record in ledger.active_records(utcnow())]
    if not active_bans:
        return Traces()
    running = bool(agent_runs(config.runtime_dir))
    grown: frozenset[str] = frozenset()
    if any(not ban.dry_run for ban in active_bans):
        hits = kernel_hits(config)
        if hits and not running:
            time.sleep(_BETWEEN_READS_S)
            later = kernel_hits(config) or hits
            grown, hits = grown_between(hits, later), later
        if hits:
            ledger.record_hits(hits, utcnow())
    half_open = {format_network(target): count for target, count in _half_open(active_bans).items()}
    return Traces(grown, half_open, _evidence(config) if running else {})


def _half_open(active_bans: Iterable[Ban]) -> dict[Network, int]:
    from synguard.sensors.sockets import SocketTables

    sensor = SocketTables()
    try:
        return half_open_by_target(sensor.tcp({TcpState.SYN_RECV}), {ban.target for ban in active_bans})
    except SensorError:  # counters and the agent's word remain
        return {}
    finally:
        sensor.close()


def _evidence(config: Config) -> dict[str, str]:
    """Return target → evidence of those whom the running agent sees over a limit now."""
    try:
        return evidence_now(read_status(config.runtime_dir))
    except SynguardError:
        return {}


def _around(active_bans: list[Ban], config: Config) -> Around:
    try:
        status = read_status(config.runtime_dir)
    except SynguardError:
        status = None
    try:
        times = {policy.name: policy.bans for policy in load_policies(config)}
    except ConfigError:  # a review must not need good policies; the usual times are assumed
        times = {}
    return Around(
        active_bans=tuple(active_bans),
        protected=protected_here(config).networks,
        times=times,
        leaks=frozenset(leak.ban for leak in (status.leaks if status else ())),
    )


def _tell(found: ReviewedBans, wanted: ReviewRequest, done: Changes, json: bool) -> None:
    now = utcnow()
    if json:
        shown = [candidate_shape(one, advice, now) for one, advice in zip(found.bans, found.advised, strict=True)]
        print_json(
            {
                "within_s": wanted.within_s,
                "extended_by_s": wanted.extend_by_s,
                "bans": shown,
                "extended": [ban_shape(ban, now) for ban, _ in done.extended],
                "released": [ban_shape(ban, now) for ban in done.released],
                "made_permanent": [ban_shape(ban, now) for ban in done.made_permanent],
            }
        )
        return
    if not found.bans:
        soon = "no bans end soon; --within 1h looks further, --within any at all"
        print("no bans stand" if wanted.within_s is None else soon)
        return
    print_candidates(found.bans, found.advised, now)
    for line in done.shown():
        print(line)
