"""What ``status`` shows: the agent's own words where it runs, and what is known without it where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from synguard.model import Mode
from synguard.output.times import ago, both_zones
from synguard.plain import count
from synguard.status.agent_commands import start_command
from synguard.status.conditions import Code, condition
from synguard.status.freshness import is_stale, seems_to_run
from synguard.status.model import Status


def overview(
    running: bool | None,
    status: Status | None,
    mode: Mode,
    policies: Sequence[str],
    bans_active: int | None,
    now: datetime,
) -> dict[str, Any]:
    """Return the keys of ``Status``, and ``running`` and ``stale``, as JSON values.

    ``running`` is None where this user may not ask; a fresh status file then stands for a running agent. Without
    one, ``mode`` and ``policies`` are the config's and ``bans_active`` is the ledger's, None where it is unreadable.
    """
    stale = status is not None and is_stale(status, now)
    alive = seems_to_run(running, status, now)
    if status is None or not alive:
        return _without_agent(alive, status, mode, policies, bans_active, now)
    seen = status.model_dump(mode="json")
    if stale:
        text = f"the agent's last reading was {ago(status.last_reading_at, now)}: it may be stuck"
        stuck = condition(Code.AGENT_STALE, text, status.last_reading_at or now)
        seen["conditions"].insert(0, stuck.model_dump(mode="json"))
        seen["problems"].insert(0, text)
    return seen | {"running": True, "stale": stale, "healthy": status.healthy and not stale}


def _without_agent(
    alive: bool, last: Status | None, mode: Mode, policies: Sequence[str], bans_active: int | None, now: datetime
) -> dict[str, Any]:
    shown = "the agent has started and reported nothing yet" if alive else "no agent runs: floods are not detected"
    if last is not None and not alive:
        shown += f"; the last one was seen {ago(last.last_reading_at or last.started_at, now)}"
    told = Status(
        mode=mode,
        plane="",
        show_command="",
        healthy=False,
        conditions=(condition(Code.AGENT_ABSENT, shown, now, start_command()),),
        problems=(shown,),
        pid=0,
        started_at=now,
        last_reading_at=last.last_reading_at if last else None,
        policies=tuple(policies),
    )
    return told.model_dump(mode="json") | {
        "plane": last.plane if last else None,
        "show_command": last.show_command if last else None,
        "pid": None,
        "started_at": None,
        "bans_active": bans_active,
        "running": alive,
        "stale": not alive and last is not None,
    }


def overview_lines(seen: Mapping[str, Any], standing: int | None = None) -> list[str]:
    """Return the same for people, the most important first; ``standing`` bans are real, whatever a dry-run decides."""
    lines = [_head(seen)]
    if seen["mode_story"] and all(one["code"] != Code.PANIC for one in seen["conditions"]):  # which tells it too
        lines.append(f"  mode {seen['mode']}: {seen['mode_story']}")
    lines += [f"  problem: {problem}" for problem in seen["problems"]]
    lines += [f"  note: {note}" for note in seen["notes"]]
    if seen["verdict"]:
        lines.append(f"verdict: {seen['verdict']}")
    lines += [_incident(one, bool(seen["countermeasures"])) for one in seen["incidents"]]
    lines += [f"countermeasure: {one['text']}" for one in seen["countermeasures"]]
    lines += [_pressure(one) for one in seen["pressure"]]
    if seen["running"] and seen["plane"]:
        lines.append(_flood(seen["flood"], bool(seen["challenges"]["targets"])))
    lines += [f"{one['kind']} {one['target']}: score {one['score']:.0f}, {one['reason']}" for one in seen["targets"]]
    bans = "not known, the ledger needs root" if seen["bans_active"] is None else f"{seen['bans_active']:,}"
    dry_run = seen["mode"] == Mode.DRY_RUN.value and seen["running"]
    lines.append(f"{'dry-run bans' if dry_run else 'bans'}: {bans}, proven peers: {seen['proven_peers']:,}")
    if dry_run and standing:
        lines.append(f"active bans, made by hand or before the dry-run: {standing:,}")
    lines += _challenges(seen["challenges"], seen["totals"])
    lines += [
        f"{one['name']}: {one['used']:,} of {one['ceiling']:,} ({one['key']})"
        for one in seen["ceilings"]
        if not dry_run or one["key"].startswith("budget")  # a dry-run fills no set
    ]
    lines += [f"sensor {name}: {one['detail'] or 'ok'}" for name, one in seen["sensors"].items() if not one["ok"]]
    lines += [_peer(one) for one in seen["peers"]]
    if seen["agent"]:
        lines.append(_agent(seen["agent"]))
    if seen["show_command"]:
        lines.append(f"rules: {seen['plane']}; see them with {seen['show_command']}")
    if not seen["running"]:
        lines.append(f"start it: {start_command()}")
    return lines


def _head(seen: Mapping[str, Any]) -> str:
    policies = ", ".join(seen["policies"])
    if not seen["running"]:
        return f"not running; configured: mode {seen['mode']}, policies {policies}"
    health = "healthy" if seen["healthy"] else "NOT HEALTHY"
    return f"running (pid {seen['pid'] or 'unknown'}), {health}, mode {seen['mode']}, policies {policies}"


def _challenges(here: Mapping[str, Any], totals: Mapping[str, Any]) -> list[str]:
    """Return how many targets are challenged and what became of their SYNs; nothing where challenges are off."""
    counts = (
        f"{count(totals['answered'], 'SYN')} answered, {totals['passed']:,} passed, {totals['limited']:,} over a limit"
    )
    if here["works"] or here["targets"] or totals["answered"]:
        headers = f"; headers dropped: {here['headers']}" if here["headers"] else ""
        return [f"challenged targets: {here['targets']:,}, since the start {counts}{headers}"]
    return [f"challenges: none, {here['why_not']}"] if here["why_not"] else []


def _agent(cost: Mapping[str, Any]) -> str:
    return (
        f"the agent itself: a tick takes {cost['tick_ms_p50']:.1f} ms, {cost['tick_ms_max']:.1f} at most, "
        f"up to {cost['late_ms_max']:.1f} ms late, {cost['cpu_share']:.0%} of a core, {cost['rss_bytes'] / 1e6:.0f} MB"
    )


def _peer(one: Mapping[str, Any]) -> str:
    state = {True: "reachable", False: "NOT REACHABLE", None: "not asked yet"}[one["reachable"]]
    counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in one["counts"].items())
    return f"peer {one['name']} at {one['place']}: {state}{f'; {counts}' if counts else ''}"


def _incident(one: Mapping[str, Any], measures: bool) -> str:
    note = f"; {one['note']}" if one["note"] and not measures else ""  # these have lines of their own
    since = both_zones(datetime.fromisoformat(one["started_at"]))
    return (
        f"incident {one['id']}: {one['kind']}, {one['phase']} since {since}, "
        f"{count(one['bans'], 'ban')}, {one['spared']:,} spared{note}"
    )


def _pressure(one: Mapping[str, Any]) -> str:
    process = f" {one['process']}" if one["process"] else ""
    process += f" in {one['namespace']}" if one["namespace"] else ""
    full = ", queue full: the true count is higher" if one["censored"] else ""
    waiting = f", {one['accept_queue']:,} wait for the application" if one["accept_queue"] else ""
    queue = f"{one['half_open']:,}/{one['backlog']:,} half-open ({one['fill']:.0%})"
    family = " IPv6" if one["family"] == "ipv6" else ""
    return f"port {one['port']}{family}{process}: {queue}{full}{waiting}"


def _flood(flood: Mapping[str, Any], challenged: bool) -> str:
    parts = [f"half-open {flood['half_open']:,}", f"connections {flood['connections']:,}"]
    rates = (
        ("syn_pps", "SYN/s"),
        ("completed_pps", "handshakes/s"),
        ("cookies_sent_pps", "cookies sent/s without challenges" if challenged else "cookies sent/s"),
        ("cookies_received_pps", "cookies back/s"),
        ("dropped_pps", "SYNs dropped/s"),
        ("accept_overflows_pps", "accept overflows/s"),
    )
    parts += [f"{flood[key]:,.0f} {unit}" for key, unit in rates if flood[key] >= 0.5]
    return ", ".join(parts)
