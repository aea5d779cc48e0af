"""What a review looks at: the bans that end soon, how each of them fares now, and what is suggested for it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from typing import Final

from synguard.addresses import Network, format_network
from synguard.cli.context import kernel_hits, protected_here, utcnow
from synguard.cli.unban import nothing_matched
from synguard.detector.peers import half_open_by_target
from synguard.errors import ConfigError, LedgerError, SensorError, SynguardError
from synguard.ledger import Ledger
from synguard.model import Ban
from synguard.policy.load import load_policies
from synguard.policy.models import Config
from synguard.report.advice import Around, Reviewed, advise
from synguard.report.review import Traces, candidates, evidence_now, grown_between
from synguard.socket_table import TcpState
from synguard.status.freshness import agent_runs, running_status

_MEMORY: Final = timedelta(days=30)
_BETWEEN_READS_S: Final = 1.0
"""Where no agent keeps the counts fresh, they are read twice this far apart: a flood sends in every second."""


def reviewed_bans(
    ledger: Ledger, config: Config, within_s: float | None, named: frozenset[str | Network]
) -> list[Reviewed]:
    """Return the bans under review, with the freshest counts this user may have, and what is suggested.

    ``within_s`` is the longest that they have left, None for any; ``named`` are the targets and ids that alone are
    meant, empty for all.

    Raises:
        SynguardError: One that is named is not banned.
    """
    traces = _traces(ledger, config)
    now = utcnow()
    offences = {format_network(target): one.times for target, one in ledger.offences(now - _MEMORY).items()}
    active_bans = ledger.active_records(now)
    meant = [one for one in active_bans if not named or one.ban.target in named or one.ban.id in named]
    _refuse_missing(named, [one.ban for one in active_bans])
    found = candidates(meant, now, within_s, traces, offences)
    return advise(found, _around([one.ban for one in active_bans], config), now) if found else []


def _refuse_missing(named: frozenset[str | Network], active_bans: Sequence[Ban]) -> None:
    """Return if each of those that were named is banned.

    Raises:
        SynguardError: One is not.
    """
    known = {ban.target for ban in active_bans} | {ban.id for ban in active_bans}
    missing = [nothing_matched(one, active_bans, "review") for one in named if one not in known]
    if missing:
        raise SynguardError("\n".join(sorted(missing)[:20]))


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
            with suppress(LedgerError):  # a full disk hides no ban
                ledger.record_hits(hits, utcnow())
    half_open = {format_network(target): count for target, count in _half_open(active_bans).items()}
    return Traces(grown, half_open, evidence_now(running_status(config.runtime_dir)))


def _half_open(active_bans: Iterable[Ban]) -> dict[Network, int]:
    from synguard.sensors.sockets import SocketTables

    with suppress(SensorError), closing(SocketTables()) as sensor:
        return half_open_by_target(sensor.tcp({TcpState.SYN_RECV}), {ban.target for ban in active_bans})
    return {}  # counters and the agent's word remain


def _around(active_bans: list[Ban], config: Config) -> Around:
    status = running_status(config.runtime_dir)
    try:
        times = {policy.name: policy.bans for policy in load_policies(config)}
    except ConfigError:  # a review must not need good policies; the usual times are assumed
        times = {}
    protected = protected_here(config)
    return Around(
        active_bans=tuple(active_bans),
        protected=protected.networks,
        embedding=protected.embedding,
        times=times,
        leaks=frozenset(leak.ban for leak in (status.leaks if status else ())),
    )
