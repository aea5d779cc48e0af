"""What the doctor says of the kernel against the ledger: what is gone, what is too much, who keeps undoing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import format_network
from synguard.doctor.findings import Finding, Level
from synguard.enforcer.plane import Actual, Desired
from synguard.enforcer.reconcile.delta import delta, desired_members
from synguard.ledger.records import ActionRecord
from synguard.model import Ban
from synguard.output.times import ago
from synguard.plain import listed

REPAIRS_SINCE: Final = timedelta(hours=1)
_ENDING: Final = timedelta(seconds=2)
"""A ban so close to its end may be gone from the kernel by the time that it is looked for."""
_NAMED: Final = 3
_BY_AGENT: Final = "the agent puts this back within seconds; if it stays, see synguard status"
_BY_HAND: Final = "starting the agent, or any synguard ban or unban, puts this back"


def drift_findings(
    active_bans: dict[str, Ban], actual: Actual, repairs: Sequence[ActionRecord], *, agent: bool, now: datetime
) -> Iterator[Finding]:
    """Yield one finding for each way in which the kernel differs from the ledger, or one that all bans are held.

    ``repairs`` are the ledger's of the last `REPAIRS_SINCE`, latest first; ``agent`` tells whether one enforces.
    """
    mend = _BY_AGENT if agent else _BY_HAND
    members = desired_members(active_bans, now)
    change = delta(Desired(active_bans, actual.allow, actual.proven), actual, now, members)
    if change.frame and (active_bans or actual.bans or agent):
        yield Finding("rules", Level.BAD, f"missing or changed: {listed(actual.missing, _NAMED)}", mend)
    soon = now + _ENDING
    missing = [ban for ban in change.add if ban.expires_at is None or ban.expires_at > soon]
    gone = [ban for ban in missing if ban.id not in actual.bans]
    if gone:
        names = listed([format_network(ban.target) for ban in gone], _NAMED)
        reason = f"{len(gone):,} of {len(members.bans):,} bans that the ledger holds are not in the kernel: {names}"
        yield Finding("bans", Level.BAD, f"{reason}; they stop nothing", mend)
    bent = [ban for ban in missing if ban.id in actual.bans]
    if bent:
        names = listed([format_network(ban.target) for ban in bent], _NAMED)
        yield Finding("bans", Level.BAD, f"in the kernel otherwise than in the ledger: {names}", mend)
    extra = [held for held in change.remove if held.expires_at is None or held.expires_at > now]
    orphans = [held for held in extra if held.ban_id not in active_bans]
    if orphans:
        names = listed([format_network(held.target) for held in orphans], _NAMED)
        yield Finding("bans", Level.WARN, f"in the kernel but not in the ledger: {names}", f"{mend}: it takes them out")
    if active_bans and not (gone or bent):
        yield Finding("bans", Level.OK, f"the kernel holds all {len(active_bans)}")
    if repairs:
        last = f"{repairs[0].text}, {ago(repairs[0].at, now)}"
        passes = len({one.at for one in repairs})
        times = "once" if passes == 1 else f"{passes} times"
        reason = f"others changed our rules in the last hour, reported {times}; the last: {last}"
        fix = "find the firewall script, reload or cron job that flushes tables at that time, and let it spare SYNGUARD"
        yield Finding("repairs", Level.WARN, reason, fix)
