"""Every metric that there is, as a table: name, kind, what it tells, its labels, and its values in a snapshot.

Names, labels and units are kept within a major version. Labels come from fixed sets, or from the listeners in the
status, which are at most 64: nothing that an attacker sends makes a series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from synguard import __version__
from synguard.metrics.series import Delivery, Sample, Series, Snapshot
from synguard.model import Mode, Origin, Scope, VerdictKind
from synguard.report.status import AgentStatus, ListenerStatus, Status

PROBLEM_KINDS: Final = ("suspended", "plane", "leak", "sensor", "ceiling", "other")
_LISTENER: Final = ("port", "family", "namespace")


def _one(read: Callable[[Status], float]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: [((), float(read(snapshot.status)))]


def _delivery(read: Callable[[Delivery], float]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: [((), float(read(snapshot.delivery)))]


def _each(read: Callable[[ListenerStatus], float]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: [(_where(one), float(read(one))) for one in snapshot.status.pressure]


def _cost(read: Callable[[AgentStatus], float]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: [((), float(read(snapshot.status.agent)))] if snapshot.status.agent else []


def _where(listener: ListenerStatus) -> tuple[str, str, str]:
    return str(listener.port), listener.family, listener.namespace


def _problems(snapshot: Snapshot) -> Iterator[Sample]:
    kinds = [problem_kind(problem, snapshot.status.plane_problem) for problem in snapshot.status.problems]
    return (((kind,), float(kinds.count(kind))) for kind in PROBLEM_KINDS)


def problem_kind(problem: str, plane_problem: str) -> str:
    """Return which of ``PROBLEM_KINDS`` a sentence of the status belongs to."""
    if problem == plane_problem:
        return "plane"
    beginnings = {
        "automatic bans are suspended": "suspended",
        "banned but still arriving": "leak",
        "sensor ": "sensor",
    }
    if " not in the kernel: " in problem:
        return "ceiling"
    return next((kind for words, kind in beginnings.items() if problem.startswith(words)), "other")


def _bans(snapshot: Snapshot) -> Iterator[Sample]:
    counts = {(one.origin, one.scope): one.bans for one in snapshot.status.bans_by}
    return (
        ((origin.value, scope.value), float(counts.get((origin, scope), 0))) for origin in Origin for scope in Scope
    )


SERIES: Final = (
    Series(
        "synguard_info",
        "gauge",
        "1; the version, and what holds bans",
        ("version", "plane"),
        lambda snapshot: [((__version__, snapshot.status.plane), 1.0)],
    ),
    Series(
        "synguard_mode",
        "gauge",
        "1 for the mode in force",
        ("mode",),
        lambda snapshot: [((mode.value,), float(mode is snapshot.status.mode)) for mode in Mode],
    ),
    Series("synguard_healthy", "gauge", "1 while the agent has no problem", (), _one(lambda s: s.healthy)),
    Series("synguard_problems", "gauge", "problems that the status names", ("kind",), _problems),
    Series(
        "synguard_start_timestamp_seconds",
        "gauge",
        "when the agent started",
        (),
        _one(lambda s: s.started_at.timestamp()),
    ),
    Series(
        "synguard_last_reading_timestamp_seconds",
        "gauge",
        "when it last read its sensors; it stands still if the agent hangs",
        (),
        _one(lambda s: s.last_reading_at.timestamp() if s.last_reading_at else 0.0),
    ),
    Series("synguard_incident_active", "gauge", "1 while an incident lasts", (), _one(lambda s: bool(s.incidents))),
    Series(
        "synguard_flood_verdict",
        "gauge",
        "1 for what is said of the whole flood",
        ("verdict",),
        lambda snapshot: [
            ((word.replace(" ", "-"),), float(snapshot.status.verdict.startswith(word)))
            for word in ("spoofed", "slow application")
        ],
    ),
    Series(
        "synguard_syn_cookies_on",
        "gauge",
        "1 while SYN cookies are on for an incident",
        (),
        _one(lambda s: any(not one.dry_run for one in s.countermeasures)),
    ),
    Series("synguard_half_open_sockets", "gauge", "sockets in SYN_RECV", (), _one(lambda s: s.flood.half_open)),
    Series("synguard_connections", "gauge", "sockets past the handshake", (), _one(lambda s: s.flood.connections)),
    Series(
        "synguard_syns_per_second",
        "gauge",
        "SYNs on the wire, sampled and scaled; 0 while the sampler rests",
        (),
        _one(lambda s: s.flood.syn_pps),
    ),
    Series(
        "synguard_handshakes_per_second",
        "gauge",
        "handshakes that completed",
        (),
        _one(lambda s: s.flood.completed_pps),
    ),
    Series(
        "synguard_cookies_sent_per_second",
        "gauge",
        "SYN cookies sent",
        (),
        _one(lambda s: s.flood.cookies_sent_pps),
    ),
    Series(
        "synguard_cookies_received_per_second",
        "gauge",
        "SYN cookies that came back valid",
        (),
        _one(lambda s: s.flood.cookies_received_pps),
    ),
    Series(
        "synguard_syns_dropped_per_second",
        "gauge",
        "SYNs dropped because the SYN queue was full: clients too",
        (),
        _one(lambda s: s.flood.dropped_pps),
    ),
    Series(
        "synguard_accept_overflows_per_second",
        "gauge",
        "handshakes lost because the application accepts too slowly",
        (),
        _one(lambda s: s.flood.accept_overflows_pps),
    ),
    Series(
        "synguard_listener_info",
        "gauge",
        "1; the process behind a listener",
        (*_LISTENER, "process"),
        lambda snapshot: [((*_where(one), one.process), 1.0) for one in snapshot.status.pressure],
    ),
    Series(
        "synguard_listener_half_open_sockets",
        "gauge",
        "half-open sockets of a listener",
        _LISTENER,
        _each(lambda one: one.half_open),
    ),
    Series("synguard_listener_backlog", "gauge", "how many it can hold", _LISTENER, _each(lambda one: one.backlog)),
    Series(
        "synguard_listener_fill_ratio",
        "gauge",
        "half-open sockets over backlog",
        _LISTENER,
        _each(lambda one: one.fill),
    ),
    Series(
        "synguard_listener_censored",
        "gauge",
        "1 while its queue is full, so that the count no longer grows with the flood",
        _LISTENER,
        _each(lambda one: one.censored),
    ),
    Series(
        "synguard_listener_accept_queue",
        "gauge",
        "connections that wait for the application",
        _LISTENER,
        _each(lambda one: one.accept_queue),
    ),
    Series("synguard_bans", "gauge", "bans that stand; in dry-run, would-be ones", ("origin", "scope"), _bans),
    Series(
        "synguard_ceiling_ratio",
        "gauge",
        "how full the fullest place that this key bounds is; at 1 bans have to wait",
        ("key",),
        lambda snapshot: [((one.key,), one.used / one.ceiling) for one in snapshot.status.ceilings],
    ),
    Series(
        "synguard_bans_total",
        "counter",
        "automatic bans made; in dry-run, would-be ones",
        (),
        _one(lambda s: s.totals.bans),
    ),
    Series(
        "synguard_verdicts_total",
        "counter",
        "verdicts written down; an unchanged one again after 10 s",
        ("kind",),
        lambda snapshot: [((kind.value,), float(snapshot.status.totals.verdicts.get(kind, 0))) for kind in VerdictKind],
    ),
    Series("synguard_incidents_total", "counter", "incidents that began", (), _one(lambda s: s.totals.incidents)),
    Series(
        "synguard_dropped_packets_total",
        "counter",
        "packets that bans stopped, read every 5 s",
        (),
        _one(lambda s: s.totals.packets),
    ),
    Series(
        "synguard_dropped_bytes_total",
        "counter",
        "bytes that bans stopped, read every 5 s",
        (),
        _one(lambda s: s.totals.bytes),
    ),
    Series(
        "synguard_repairs_total",
        "counter",
        "rules or members of ours that another tool took away, put back",
        (),
        _one(lambda s: s.totals.repairs),
    ),
    Series("synguard_leaks", "gauge", "bans whose target still arrives", (), _one(lambda s: len(s.leaks))),
    Series(
        "synguard_proven_peers", "gauge", "peers that lately completed a handshake", (), _one(lambda s: s.proven_peers)
    ),
    Series(
        "synguard_plane_up", "gauge", "1 while the kernel holds what is wanted", (), _one(lambda s: not s.plane_problem)
    ),
    Series(
        "synguard_sensor_up",
        "gauge",
        "1 while a sensor can read",
        ("sensor",),
        lambda snapshot: [((name,), float(one.ok)) for name, one in snapshot.status.sensors.items()],
    ),
    Series(
        "synguard_sampler_one_in",
        "gauge",
        "one in how many SYNs the sampler keeps; 0 while it rests",
        (),
        _one(lambda s: s.sampling_one_in),
    ),
    Series(
        "synguard_tick_seconds_median",
        "gauge",
        "how long a tick took, over the last second",
        (),
        _cost(lambda a: a.tick_ms_p50 / 1000),
    ),
    Series("synguard_tick_seconds_max", "gauge", "the longest of them", (), _cost(lambda a: a.tick_ms_max / 1000)),
    Series(
        "synguard_tick_late_seconds_max",
        "gauge",
        "how long after its time a tick began, at worst",
        (),
        _cost(lambda a: a.late_ms_max / 1000),
    ),
    Series(
        "synguard_cpu_ratio",
        "gauge",
        "CPU of the agent and its tools, as a share of one core",
        (),
        _cost(lambda a: a.cpu_share),
    ),
    Series("synguard_resident_memory_bytes", "gauge", "memory of the agent", (), _cost(lambda a: a.rss_bytes)),
    Series(
        "synguard_ledger_size_bytes", "gauge", "the ledger and its write-ahead log", (), _one(lambda s: s.ledger_bytes)
    ),
    Series("synguard_notify_waiting", "gauge", "messages that wait for a service", (), _delivery(lambda d: d.waiting)),
    Series("synguard_notify_sent_total", "counter", "messages that services took", (), _delivery(lambda d: d.sent)),
    Series(
        "synguard_notify_given_up_total",
        "counter",
        "messages given up after every try",
        (),
        _delivery(lambda d: d.given_up),
    ),
    Series(
        "synguard_notify_overflowed_total",
        "counter",
        "messages never tried, since too many were waiting",
        (),
        _delivery(lambda d: d.overflowed),
    ),
)
"""All of them; docs/metrics.md, the dashboard and the alert rules are checked against this."""
