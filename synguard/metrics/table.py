"""Every metric that there is, as a table: name, kind, what it tells, its labels, and its values in a snapshot.

Names, labels and units are kept within a major version. Labels come from fixed sets, or from the listeners in the
status, which are at most 64: nothing that an attacker sends makes a series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from synguard import __version__
from synguard.metrics.series import Delivery, MetricSpec, MetricsSource, Sample
from synguard.model import FloodKind, Mode, Origin, Scope, VerdictKind
from synguard.status.conditions import KINDS, Code, Severity
from synguard.status.model import AgentStatus, ListenerStatus, PeerStatus, Status

_KIND_OF: Final = {
    Code.PROTECTED_UNKNOWN: "suspended",
    Code.PLANE_FAILED: "plane",
    Code.LEAK: "leak",
    Code.SENSOR_FAILED: "sensor",
    Code.CAPACITY_FULL: "ceiling",
}
PROBLEM_KINDS: Final = (*_KIND_OF.values(), "other")
_LISTENER: Final = ("port", "family", "namespace")


def _one(read: Callable[[Status], float]) -> Callable[[MetricsSource], Iterable[Sample]]:
    return lambda snapshot: [((), float(read(snapshot.status)))]


def _delivery(read: Callable[[Delivery], float]) -> Callable[[MetricsSource], Iterable[Sample]]:
    return lambda snapshot: [((), float(read(snapshot.delivery)))]


def _each(read: Callable[[ListenerStatus], float]) -> Callable[[MetricsSource], Iterable[Sample]]:
    return lambda snapshot: [(_where(one), float(read(one))) for one in snapshot.status.pressure]


def _cost(read: Callable[[AgentStatus], float]) -> Callable[[MetricsSource], Iterable[Sample]]:
    return lambda snapshot: [((), float(read(snapshot.status.agent)))] if snapshot.status.agent else []


def _where(listener: ListenerStatus) -> tuple[str, str, str]:
    return str(listener.port), listener.family, listener.namespace


def _problems(snapshot: MetricsSource) -> Iterator[Sample]:
    problems = [one for one in snapshot.status.conditions if one.severity is Severity.PROBLEM]
    kinds = Counter(_KIND_OF.get(one.code, "other") for one in problems)
    return (((kind,), float(kinds[kind])) for kind in PROBLEM_KINDS)


def _conditions(snapshot: MetricsSource) -> Iterator[Sample]:
    counts = Counter(one.code for one in snapshot.status.conditions)
    return (((code.value, KINDS[code].severity.value), float(counts[code])) for code in Code)


def _peers(read: Callable[[PeerStatus], list[Sample]]) -> Callable[[MetricsSource], Iterable[Sample]]:
    return lambda snapshot: [sample for one in snapshot.status.peers for sample in read(one)]


def _bans(snapshot: MetricsSource) -> Iterator[Sample]:
    counts = {(one.origin, one.scope): one.bans for one in snapshot.status.bans_by}
    return (
        ((origin.value, scope.value), float(counts.get((origin, scope), 0))) for origin in Origin for scope in Scope
    )


SERIES: Final = (
    MetricSpec(
        "synguard_info",
        "1; the version, and what holds bans",
        lambda snapshot: [((__version__, snapshot.status.plane), 1.0)],
        ("version", "plane"),
    ),
    MetricSpec(
        "synguard_mode",
        "1 for the mode in force",
        lambda snapshot: [((mode.value,), float(mode is snapshot.status.mode)) for mode in Mode],
        ("mode",),
    ),
    MetricSpec("synguard_healthy", "1 while the agent has no problem", _one(lambda s: s.healthy)),
    MetricSpec("synguard_problems", "problems that the status names", _problems, ("kind",)),
    MetricSpec("synguard_conditions", "conditions that hold, by code", _conditions, ("code", "severity")),
    MetricSpec("synguard_start_timestamp_seconds", "when the agent started", _one(lambda s: s.started_at.timestamp())),
    MetricSpec(
        "synguard_last_reading_timestamp_seconds",
        "when it last read its sensors; it stands still if the agent hangs",
        _one(lambda s: s.last_reading_at.timestamp() if s.last_reading_at else 0.0),
    ),
    MetricSpec("synguard_incident_active", "1 while an incident lasts", _one(lambda s: bool(s.incidents))),
    MetricSpec(
        "synguard_flood_verdict",
        "1 for what is said of the whole flood",
        lambda snapshot: [
            ((kind.replace(" ", "-"),), float(snapshot.status.verdict_kind is kind)) for kind in FloodKind if kind
        ],
        ("verdict",),
    ),
    MetricSpec(
        "synguard_syn_cookies_on",
        "1 while SYN cookies are on for an incident",
        _one(lambda s: any(not one.dry_run for one in s.countermeasures)),
    ),
    MetricSpec("synguard_half_open_sockets", "sockets in SYN_RECV", _one(lambda s: s.flood.half_open)),
    MetricSpec("synguard_connections", "sockets past the handshake", _one(lambda s: s.flood.connections)),
    MetricSpec(
        "synguard_syns_per_second",
        "SYNs on the wire, sampled and scaled; 0 while the sampler rests",
        _one(lambda s: s.flood.syn_pps),
    ),
    MetricSpec("synguard_handshakes_per_second", "handshakes that completed", _one(lambda s: s.flood.completed_pps)),
    MetricSpec("synguard_cookies_sent_per_second", "SYN cookies sent", _one(lambda s: s.flood.cookies_sent_pps)),
    MetricSpec(
        "synguard_cookies_received_per_second",
        "SYN cookies that came back valid",
        _one(lambda s: s.flood.cookies_received_pps),
    ),
    MetricSpec(
        "synguard_syns_dropped_per_second",
        "SYNs dropped because the SYN queue was full: clients too",
        _one(lambda s: s.flood.dropped_pps),
    ),
    MetricSpec(
        "synguard_accept_overflows_per_second",
        "handshakes lost because the application accepts too slowly",
        _one(lambda s: s.flood.accept_overflows_pps),
    ),
    MetricSpec(
        "synguard_listener_info",
        "1; the process behind a listener",
        lambda snapshot: [((*_where(one), one.process), 1.0) for one in snapshot.status.pressure],
        (*_LISTENER, "process"),
    ),
    MetricSpec(
        "synguard_listener_half_open_sockets",
        "half-open sockets of a listener",
        _each(lambda one: one.half_open),
        _LISTENER,
    ),
    MetricSpec("synguard_listener_backlog", "how many it can hold", _each(lambda one: one.backlog), _LISTENER),
    MetricSpec(
        "synguard_listener_fill_ratio", "half-open sockets over backlog", _each(lambda one: one.fill), _LISTENER
    ),
    MetricSpec(
        "synguard_listener_censored",
        "1 while its queue is full, so that the count no longer grows with the flood",
        _each(lambda one: one.censored),
        _LISTENER,
    ),
    MetricSpec(
        "synguard_listener_accept_queue",
        "connections that wait for the application",
        _each(lambda one: one.accept_queue),
        _LISTENER,
    ),
    MetricSpec("synguard_bans", "active bans; in dry-run, those that would stand", _bans, ("origin", "scope")),
    MetricSpec(
        "synguard_ceiling_ratio",
        "how full the fullest place with this bound is; at 1, bans wait",
        lambda snapshot: [((one.key,), one.used / one.ceiling) for one in snapshot.status.ceilings],
        ("key",),
    ),
    MetricSpec("synguard_bans_total", "automatic bans made; in dry-run, dry-run bans", _one(lambda s: s.totals.bans)),
    MetricSpec(
        "synguard_verdicts_total",
        "verdicts recorded; an unchanged one again after 10 s",
        lambda snapshot: [((kind.value,), float(snapshot.status.totals.verdicts.get(kind, 0))) for kind in VerdictKind],
        ("kind",),
    ),
    MetricSpec("synguard_incidents_total", "incidents that began", _one(lambda s: s.totals.incidents)),
    MetricSpec(
        "synguard_dropped_packets_total",
        "packets that bans dropped or rejected, read every 5 s",
        _one(lambda s: s.totals.packets - s.totals.answered),
    ),
    MetricSpec(
        "synguard_challenges_possible",
        "1 while SYNs can be challenged on this host",
        _one(lambda s: s.challenges.works),
    ),
    MetricSpec(
        "synguard_challenged_targets",
        "targets that are challenged or limited; in dry-run, that would be",
        _one(lambda s: s.challenges.targets),
    ),
    MetricSpec(
        "synguard_dropped_headers",
        "headers of SYNs that are dropped at the interface",
        _one(lambda s: s.challenges.headers),
    ),
    MetricSpec(
        "synguard_challenged_syns_total",
        "SYNs of challenged targets, by what became of them, read every 5 s",
        lambda snapshot: [
            ((outcome,), float(getattr(snapshot.status.totals, outcome)))
            for outcome in ("answered", "passed", "limited")
        ],
        ("outcome",),
    ),
    MetricSpec(
        "synguard_dropped_bytes_total", "bytes that bans stopped, read every 5 s", _one(lambda s: s.totals.bytes)
    ),
    MetricSpec(
        "synguard_repairs_total",
        "times that what another tool removed of ours was put back",
        _one(lambda s: s.totals.repairs),
    ),
    MetricSpec("synguard_leaks", "bans whose target still arrives", _one(lambda s: len(s.leaks))),
    MetricSpec("synguard_proven_peers", "peers that lately completed a handshake", _one(lambda s: s.proven_peers)),
    MetricSpec(
        "synguard_plane_up",
        "1 while the kernel holds what is wanted",
        _one(lambda s: all(one.code is not Code.PLANE_FAILED for one in s.conditions)),
    ),
    MetricSpec(
        "synguard_sensor_up",
        "1 while a sensor can read",
        lambda snapshot: [((name,), float(one.ok)) for name, one in snapshot.status.sensors.items()],
        ("sensor",),
    ),
    MetricSpec(
        "synguard_peer_up",
        "1 while a peer of the fleet answers; absent until it was asked",
        _peers(lambda one: [] if one.reachable is None else [((one.name,), float(one.reachable))]),
        ("peer",),
    ),
    MetricSpec(
        "synguard_peer_since_timestamp_seconds",
        "since when it answers, or does not",
        _peers(lambda one: [] if one.since is None else [((one.name,), one.since.timestamp())]),
        ("peer",),
    ),
    MetricSpec(
        "synguard_peer_items",
        "decisions followed and left out, alerts sent, routes announced: now, or since the agent started",
        _peers(lambda one: [((one.name, kind), float(count)) for kind, count in one.counts.items()]),
        ("peer", "kind"),
    ),
    MetricSpec(
        "synguard_sampler_one_in",
        "one in how many SYNs the sampler keeps; 0 while it rests",
        _one(lambda s: s.sampling_one_in),
    ),
    MetricSpec(
        "synguard_tick_seconds_median",
        "how long a tick took, over the last second",
        _cost(lambda a: a.tick_ms_p50 / 1000),
    ),
    MetricSpec("synguard_tick_seconds_max", "the longest of them", _cost(lambda a: a.tick_ms_max / 1000)),
    MetricSpec(
        "synguard_tick_late_seconds_max",
        "how long after its time a tick began, at worst",
        _cost(lambda a: a.late_ms_max / 1000),
    ),
    MetricSpec(
        "synguard_cpu_ratio", "CPU of the agent and its tools, as a share of one core", _cost(lambda a: a.cpu_share)
    ),
    MetricSpec("synguard_resident_memory_bytes", "memory of the agent", _cost(lambda a: a.rss_bytes)),
    MetricSpec("synguard_ledger_size_bytes", "the ledger and its write-ahead log", _one(lambda s: s.ledger_bytes)),
    MetricSpec("synguard_notify_waiting", "messages that wait for a service", _delivery(lambda d: d.waiting)),
    MetricSpec("synguard_notify_sent_total", "messages that services accepted", _delivery(lambda d: d.sent)),
    MetricSpec("synguard_notify_given_up_total", "messages given up after every try", _delivery(lambda d: d.given_up)),
    MetricSpec(
        "synguard_notify_overflowed_total",
        "messages never tried, since too many were waiting",
        _delivery(lambda d: d.overflowed),
    ),
)
"""All of them; docs/metrics.md, the dashboard and the alert rules are checked against this."""
