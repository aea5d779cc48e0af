"""A look as JSON: what ``status --json`` says, and bans with what they stop."""

from __future__ import annotations

from typing import Any

from synguard.clock import rfc3339
from synguard.report.shapes import ban_shape, moment
from synguard.top.sight import Sight


def sight_shape(sight: Sight, most_bans: int | None = None) -> dict[str, Any]:
    """Return the look; ``bans`` holds those that end first, ``in_kernel`` is None where the kernel was not read."""
    held = None if sight.kernel is None else {one.target for one in sight.kernel.held.values()}
    standing = [ban for ban in (sight.bans or {}).values() if ban.active(sight.at)]
    standing.sort(key=lambda ban: (ban.expires_at is None, ban.expires_at or sight.at, ban.id))
    bans = []
    for ban in standing[:most_bans]:
        counted, rate = sight.counted.get(ban.id), sight.rate(ban.id)
        bans.append(
            ban_shape(ban, sight.at)
            | {
                "in_kernel": None if held is None else not ban.dry_run and ban.target in held,
                "packets": 0 if ban.dry_run else sight.packets(ban.id),
                "packets_pps": None if rate is None else round(rate, 1),
                "last_hit_at": moment(counted.last_hit_at) if counted else None,
            }
        )
    overview = sight.overview
    if not sight.alive and sight.sockets is not None:
        overview["pressure"] = [one.model_dump(mode="json") for one in sight.sockets.listeners]
        overview["flood"]["half_open"] = sight.sockets.half_open
        overview["targets"] = [one.model_dump(mode="json") for one in sight.sockets.sources]
    return {
        "at": rfc3339(sight.at),
        **overview,
        "bans_left_out": len(standing) - len(bans),
        "bans": bans,
        "kernel_bans": None if sight.kernel is None else len(sight.kernel.held),
    }
