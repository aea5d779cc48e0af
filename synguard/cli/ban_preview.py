"""What a ban would hit and what it came to, in words and as JSON; of a long list the sums and the first few."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import chain, islice
from typing import Any, Final

from synguard.addresses import Network, format_network
from synguard.cli.context import utcnow
from synguard.model import Ban
from synguard.operator.ban import BanRequest, Impact, connections_of, describe, impact_lines, of_each, refusal
from synguard.operator.ban_list import whole
from synguard.output.times import both_zones
from synguard.plain import count, some
from synguard.report.shapes import ban_shape

FEW: Final = 20
"""Targets up to which each has lines of its own."""
NAMED: Final = 10
"""Of more, those that are named for each thing that is reported."""
SHAPED: Final = 200
"""Bans, and impacts, that JSON spells out; the sums are always there."""


@dataclass(frozen=True, slots=True)
class BanResult:
    """What an order came to."""

    bans: tuple[Ban, ...]
    """Those that stand now by it, of a long list the first few; none in dry-run."""
    banned: int
    """How many they are."""
    renewed: int
    """How many of them were active already and only got another expiry."""
    left_out: tuple[Impact, ...] = ()
    """Refused targets that the order leaves out."""
    folded: int = 0
    """Lines that named a target again."""


def preview(impacts: Sequence[Impact], order: BanRequest, folded: int) -> list[str]:
    """Return what the order would hit: line by line, or of many targets the sums and the first few.

    ``impacts`` are those of which there is more to tell than that they are banned as before.
    """
    if len(order.targets) <= FEW:
        return [line for impact in of_each(order.targets, impacts) for line in impact_lines(impact, order)]
    unseen = _unseen(impacts, order)
    return [_sum(order.targets, folded), *_connected(impacts, order), *_protected(impacts), *_standing(impacts, unseen)]


def _sum(targets: Sequence[Network], folded: int) -> str:
    four = sum(isinstance(one, IPv4Network) for one in targets)
    single = sum(one.prefixlen == one.max_prefixlen for one in targets)
    again = f", {count(folded, 'line')} named one again" if folded else ""
    return (
        f"{len(targets):,} targets: {four:,} IPv4 and {len(targets) - four:,} IPv6, "
        f"{count(single, 'address', 'addresses')} and {count(len(targets) - single, 'prefix', 'prefixes')}{again}"
    )


def _connected(impacts: Sequence[Impact], order: BanRequest) -> list[str]:
    hit = sorted((one for one in impacts if one.sockets), key=lambda one: (-one.peers, -sum(one.sockets.values())))
    if not hit:
        return ["none of them holds connections now"]
    peers = sum(one.peers for one in hit)
    return [
        f"{len(hit):,} of them hold connections now, of {peers:,} connected peers:",
        *(f"  {line}" for line in some((connections_of(one, order) for one in hit), NAMED)),
    ]


def _protected(impacts: Sequence[Impact]) -> list[str]:
    parties = {party: why for one in impacts for party, why in one.protected.items()}
    shown = (f"  protected: {format_network(party)} ({why})" for party, why in parties.items())
    return some(shown, NAMED)


def _unseen(impacts: Iterable[Impact], order: BanRequest) -> int:
    """Return how many of the targets are banned as before, with nothing else to tell of them."""
    seen = {one.target for one in impacts}
    return sum(target in order.same and target not in seen for target in order.targets) if order.same else 0


def _standing(impacts: Sequence[Impact], unseen: int) -> list[str]:
    same = unseen + sum(any(ban.target == one.target for ban in one.overlapping) for one in impacts)
    near = [one for one in impacts if any(ban.target != one.target for ban in one.overlapping)]
    lines = [f"{same:,} of them are banned already"] if same else []
    if near:
        lines.append(f"{len(near):,} of them overlap bans of other targets:")
        pairs = ((one, ban) for one in near for ban in one.overlapping if ban.target != one.target)
        shown = (f"  {format_network(one.target)}: already banned: {describe(ban)}" for one, ban in pairs)
        lines += some(shown, NAMED)
    return lines


def shown(came: BanResult, order: BanRequest, undo: str) -> list[str]:
    """Return what was done, until when, and how to undo it; no bans are dry-run."""
    lines = [f"left out: {line}" for line in some((refusal(order, impact) for impact in came.left_out), FEW)]
    if not came.bans:
        return [*lines, "dry run: nothing was banned"]
    first = came.bans[0]
    until = "until it is removed" if first.expires_at is None else f"until {both_zones(first.expires_at)}"
    how = f"{first.scope}, {first.action}" + (f", ports {','.join(map(str, first.ports))}" if first.ports else "")
    if came.banned <= FEW:
        lines += [f"banned {format_network(one.target)} ({how}) {until}, id {one.id}" for one in came.bans]
    else:
        stood = f"; {came.renewed:,} of them were active already and end then now" if came.renewed else ""
        lines.append(f"banned {came.banned:,} targets ({how}) {until}{stood}")
    return [*lines, f"undo: {undo}"]


def shape(came: BanResult, impacts: Sequence[Impact], order: BanRequest, warnings: Iterable[str]) -> dict[str, Any]:
    """Return the same as JSON; ``bans`` and ``impact`` are cut, ``impacts`` first, sums are not."""
    hit = {one.target for one in impacts}
    others = (whole(Impact(one), order) for one in order.targets if one not in hit)
    return {
        "dry_run": not came.bans,
        "counts": {
            "targets": len(order.targets) + len(came.left_out),
            "folded": came.folded,
            "banned": came.banned,
            "renewed": came.renewed,
            "left_out": len(came.left_out),
            "connected": sum(bool(one.sockets) for one in impacts),
            "peers": sum(one.peers for one in impacts),
            "overlapping": sum(bool(one.overlapping) for one in impacts) + _unseen(impacts, order),
        },
        "bans": [ban_shape(one, utcnow()) for one in came.bans[:SHAPED]],
        "impact": [impact_shape(one) for one in islice(chain(impacts, others), SHAPED)],
        "left_out": [impact_shape(one) for one in came.left_out[:SHAPED]],
        "warnings": list(warnings),
    }


def impact_shape(impact: Impact) -> dict[str, Any]:
    """Return what a ban of one target would hit as JSON."""
    return {
        "target": format_network(impact.target),
        "sockets": dict(impact.sockets),
        "peers": impact.peers,
        "protected": [
            {"network": format_network(party), "reason": why} for party, why in list(impact.protected.items())[:SHAPED]
        ],
        "overlapping": [{"id": one.id, "target": format_network(one.target)} for one in impact.overlapping[:SHAPED]],
        "refusals": list(impact.refusals),
    }
