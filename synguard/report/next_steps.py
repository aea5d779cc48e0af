"""What to change first, and the one command to type next, from what an account shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from synguard.addresses import format_network, one_party
from synguard.doctor.findings import Level
from synguard.jsonable import fields_of
from synguard.ledger.records import Figure
from synguard.model import Cause, Mode, Origin, Signal
from synguard.plain import count
from synguard.report.account import Account
from synguard.report.judgement import A_DAY_S, CLOSE, Judgement, over_limit
from synguard.report.timeline import Health, health_seconds
from synguard.status.agent_commands import start_command
from synguard.units import format_duration

CANDIDATES: Final = 5
"""Addresses suggested for the allow-list; more are no longer looked at one by one."""
OFTEN: Final = 3
"""A source spared this often as a served client is a candidate for the allow-list."""
MODEST: Final = 4.0
"""Connections fewer than this many times their limit may be many people behind one address."""
MOST_STEPS: Final = 8


@dataclass(frozen=True, slots=True)
class NextStep:
    """One thing to change, why, and how."""

    what: str
    why: str
    how: str
    """A command, or lines for a file; empty where a person must decide."""


def advice(account: Account, judgement: Judgement) -> tuple[NextStep, ...]:
    """Return what to change, what matters most first."""
    steps = (
        *_watching(account),
        *_host(account),
        *_people(account),
        *_limits(account),
        *_dry_run_report(account, judgement),
    )
    return steps[:MOST_STEPS]


def next_command(account: Account, judgement: Judgement) -> str:
    """Return the command that a person most likely wants next."""
    if not account.running:
        return start_command() if not account.bans else "synguard doctor"
    if judgement.looks:
        return f"synguard why {judgement.looks[0].target}"
    if account.mode is Mode.ENFORCE:
        return "synguard review" if account.real else "synguard status"
    if account.timeline.watched_s < A_DAY_S:
        return "synguard status"
    return "synguard enable --confirm-within 5m"


def _watching(account: Account) -> Iterator[NextStep]:
    if not account.running:
        yield NextStep("Start the agent", "no agent runs: floods are not detected", start_command())
    blind_s = account.timeline.watched_s - account.timeline.known_s(Figure.HALF_OPEN)
    if account.timeline.stretches and blind_s > 60:
        why = f"half-open sockets could not be read for {format_duration(blind_s)}"
        yield NextStep("Let the sensors read", why, "synguard doctor")


def _host(account: Account) -> Iterator[NextStep]:
    """Yield what the host itself should do better, in the words of the doctor."""
    health = health_seconds(account.timeline.stretches)
    for finding in sorted(account.findings, key=lambda one: one.level is not Level.BAD):
        if finding.level is not Level.OK:
            yield NextStep(f"Fix: {finding.name}", finding.reason, finding.fix)
    if health.get(Health.SLOW):
        lasted = format_duration(health[Health.SLOW])
        why = f"a full accept queue refused connections for {lasted}: the application did not take them fast enough"
        yield NextStep("Give the application more workers", why, "synguard connections --listening")


def _people(account: Account) -> Iterator[NextStep]:
    """Yield the candidates for the allow-list: served clients that are loud, and crowds behind one address."""
    found: dict[str, str] = {}
    for spared in account.spared:
        target = spared.verdict.target
        if target is not None and spared.verdict.cause is Cause.PROVEN and spared.times >= OFTEN:
            found[format_network(target)] = f"spared {spared.times} times as a served client"
    for record in account.bans:
        ban = record.ban
        over = [one.value / one.limit for one in ban.evidence if one.signal is Signal.CONNECTIONS and one.limit > 0]
        single = one_party(ban.target, account.embedding)
        if ban.origin is Origin.AUTO and single and over and max(over) < MODEST:
            found[format_network(ban.target)] = f"{max(over):.1f} times the limit of connections"
    if found:
        chosen = list(found.items())[:CANDIDATES]
        why = "they look like people you serve: " + "; ".join(f"{target}, {reason}" for target, reason in chosen)
        more = f"; and {len(found) - len(chosen)} more" if len(found) > len(chosen) else ""
        yield NextStep(
            "Allow those you know", why + more, f"synguard allow add {' '.join(target for target, _ in chosen)}"
        )


def _limits(account: Account) -> Iterator[NextStep]:
    close = _close(account)
    if close or account.watched:
        whom = f"{count(len(close), 'ban was', 'bans were')} a close call" if close else ""
        seen = f"{count(account.watched, 'target was', 'targets were')} over a limit, not for long enough to act"
        why = " and ".join(filter(None, (whom, seen if account.watched else "")))
        how = "synguard run --dry-run --record day.rec --for 1d\nsynguard policy suggest day.rec"
        yield NextStep("Take limits from this host's own traffic", why, how)


def _close(account: Account) -> Sequence[str]:
    return [
        format_network(record.ban.target)
        for record in account.bans
        if record.ban.origin is Origin.AUTO and 0 < over_limit(record.ban.evidence) < CLOSE
    ]


def _dry_run_report(account: Account, judgement: Judgement) -> Iterator[NextStep]:
    if account.mode is Mode.ENFORCE or not account.running:
        return
    watched = account.timeline.watched_s
    if watched < A_DAY_S:
        why = f"it has watched {format_duration(watched)} only: a day shows the usual peaks"
        yield NextStep("Run in dry-run for a day", why, "synguard report --since 24h")
    elif not judgement.looks:
        why = "nothing here speaks against it; it goes back by itself unless you confirm from a new connection"
        yield NextStep("Enforce on trial", why, "synguard enable --confirm-within 5m")


def advice_shape(steps: Sequence[NextStep]) -> list[dict[str, Any]]:
    """Return the advice as JSON."""
    return [fields_of(one, "what why how") for one in steps]
