"""What a review changes: gathered first, shown, then carried out, and reported as it truly came to be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import format_network
from synguard.cli.context import utcnow
from synguard.errors import LedgerError
from synguard.model import Ban, Origin
from synguard.operator.apply import VerbContext
from synguard.operator.ban import BanRequest, assess, bans_for, read_host_context, refuse_unsafe
from synguard.output.times import both_zones, clock_time
from synguard.plain import count, listed, printable
from synguard.policy.models import LONGEST_BAN_S
from synguard.report.advice import Advice, AdvisedStep, can_be_forged
from synguard.units import format_duration

RELEASED: Final = "released in review"


@dataclass(slots=True)
class Changes:
    """Which bans are to be extended, released, or made permanent; or were."""

    extended: list[tuple[Ban, float]] = field(default_factory=list)
    """Bans and by how many seconds."""
    released: list[Ban] = field(default_factory=list)
    made_permanent: list[Ban] = field(default_factory=list)

    def take(self, ban: Ban, advice: Advice) -> None:
        """Take in what is suggested for a ban; one that can be forged, or has no end, is not made permanent."""
        if advice.step is AdvisedStep.EXTEND:
            self.extend(ban, advice.by_s)
        elif advice.step is AdvisedStep.RELEASE:
            self.released.append(ban)
        elif advice.step is AdvisedStep.PERMANENT and ban.expires_at is not None and not can_be_forged(ban):
            self.made_permanent.append(ban)

    def extend(self, ban: Ban, by_s: float) -> None:
        """Let it last longer; one without end is left as it is."""
        if ban.expires_at is not None:
            self.extended.append((ban, by_s))

    @property
    def count(self) -> int:
        """How many bans are changed."""
        return len(self.extended) + len(self.released) + len(self.made_permanent)

    @property
    def count_said(self) -> str:
        """The same in words."""
        return "this change" if self.count == 1 else f"these {self.count} changes"

    def preview(self, now: datetime) -> Iterator[str]:
        """Yield what would change, a ban a line."""
        for ban, by_s in self.extended:
            until = (
                "" if ban.expires_at is None else f", until {clock_time(ban.expires_at + timedelta(seconds=by_s), now)}"
            )
            yield printable(f"  extend {format_network(ban.target)} by {format_duration(by_s)}{until}")
        for ban in self.released:
            yield printable(f"  release {format_network(ban.target)} ({ban.reason})")
        for ban in self.made_permanent:
            yield printable(f"  make permanent {format_network(ban.target)} ({ban.reason})")

    def shown(self) -> Iterator[str]:
        """Yield exactly what changed, a ban a line."""
        for ban, _ in self.extended:
            if ban.expires_at is not None:
                yield f"extended {format_network(ban.target)} until {both_zones(ban.expires_at)}, id {ban.id}"
        for ban in self.released:
            yield f"released {format_network(ban.target)}, id {ban.id}"
        for ban in self.made_permanent:
            word = format_network(ban.target)
            yield f"made permanent {word}, id {ban.id}; undo: synguard unban {word}"
        if not self.count:
            yield "nothing was changed"


NONE: Final = Changes()
"""No change at all."""


def carry_out(changes: Changes, context: VerbContext) -> Changes:
    """Make the changes, bans that ended meanwhile left out, and return them as they came to be.

    Where something stops it half way, Ctrl-C too, what was done and what was not is reported on stderr.

    Raises:
        RefusedError: A ban without end is unsafe; what was done before stands and is reported.
        PlaneError: The kernel did not take it; the ledger holds it, so the next change retries.
    """
    active_bans = context.ledger.active_bans(utcnow())
    wanted = _still(changes, active_bans)
    done = Changes()
    try:
        if wanted.released:
            done.released = list(context.applier.unban(wanted.released, RELEASED))
        if wanted.extended:
            by_s = {ban.id: seconds for ban, seconds in wanted.extended}
            longer = context.applier.extend_each(wanted.extended, LONGEST_BAN_S)
            done.extended = [(ban, by_s[ban.id]) for ban in longer]
        for ban in wanted.made_permanent:
            done.made_permanent.append(_without_end(ban, context))
    except BaseException:
        _report_half(wanted, active_bans, context)
        raise
    return done


def _still(changes: Changes, active_bans: dict[str, Ban]) -> Changes:
    """Return the changes of bans that stand yet; those that ended need none."""
    return Changes(
        [(active_bans[ban.id], by_s) for ban, by_s in changes.extended if ban.id in active_bans],
        [active_bans[ban.id] for ban in changes.released if ban.id in active_bans],
        [active_bans[ban.id] for ban in changes.made_permanent if ban.id in active_bans],
    )


def _without_end(ban: Ban, context: VerbContext) -> Ban:
    """Take the end off a ban by hand, or replace an automatic one by one by hand; checked as by ``synguard ban``.

    Raises:
        RefusedError: The target is protected.
    """
    reason = f"made permanent, banned {count(ban.times, 'time')}: {ban.reason}"
    order = BanRequest((ban.target,), None, ban.scope, ban.action, ban.ports, reason[:200])
    around, _ = read_host_context(context.protected, ())
    impacts = assess(order, around)
    refuse_unsafe(order, impacts)
    if ban.origin is Origin.MANUAL:
        return context.applier.ban([replace(ban, expires_at=None)], renewed={ban.id})[0]
    made = [replace(one, evidence=ban.evidence, times=ban.times) for one in bans_for(order, impacts, utcnow())]
    context.applier.ban(made)
    return made[0]


def _report_half(wanted: Changes, before: dict[str, Ban], context: VerbContext) -> None:
    """Say what was done before it stopped and what was not, as the ledger has it."""
    try:
        now = context.ledger.active_bans(utcnow())
    except LedgerError as error:
        print(f"synguard: what was done is not known, {error}; see synguard bans", file=sys.stderr)
        return
    permanent = {ban.target for ban in now.values() if ban.expires_at is None}
    states = [(ban, ban.id not in now) for ban in wanted.released]
    states += [
        (ban, ban.id in now and now[ban.id].expires_at != before[ban.id].expires_at) for ban, _ in wanted.extended
    ]
    states += [(ban, ban.target in permanent) for ban in wanted.made_permanent]
    for words, took in (("done", True), ("not done", False)):
        names = [format_network(ban.target) for ban, happened in states if happened is took]
        print(f"synguard: {words}: {listed(names, 20) or 'nothing'}", file=sys.stderr)
