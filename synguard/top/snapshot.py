"""One look at the host: what the agent says of itself, what the ledger wants, what the kernel holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from synguard.ledger.records import Counted, Stretch
from synguard.model import Ban, KernelBan, Mode
from synguard.status.model import ListenerStatus, Status, TargetStatus
from synguard.status.overview import overview

LATELY: Final = timedelta(minutes=5)
"""How far back a snapshot tells how pressure went."""
GRAIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class SnapshotSockets:
    """What the socket table tells where no agent does."""

    listeners: tuple[ListenerStatus, ...] = ()
    half_open: int = 0
    sources: tuple[TargetStatus, ...] = ()
    """The networks and sources with the most half-open sockets; no one has scored them."""


@dataclass(frozen=True, slots=True)
class KernelSnapshot:
    """One read of what the kernel holds of ours."""

    at_s: float
    """Monotonic seconds."""
    held: Mapping[str, KernelBan]
    """Ban id → ban with its counts."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look; what could not be seen is None, and ``troubles`` says why."""

    at: datetime
    mode: Mode
    """The config's."""
    policies: tuple[str, ...] = ()
    running: bool | None = None
    status: Status | None = None
    bans: Mapping[str, Ban] | None = None
    """Id → ban of those that stand in the ledger, dry-run ones too."""
    counted: Mapping[str, Counted] = field(default_factory=dict)
    """Id → what the ledger knows of its packets."""
    lately: tuple[Stretch, ...] = ()
    """How pressure went in the last minutes, earliest first."""
    kernel: KernelSnapshot | None = None
    before: KernelSnapshot | None = None
    """The read before ``kernel``, for rates."""
    sockets: SnapshotSockets | None = None
    troubles: tuple[str, ...] = ()
    """One sentence each, in operators' words."""

    @property
    def alive(self) -> bool:
        """Whether an agent runs and speaks."""
        return bool(self.overview["running"]) and self.status is not None

    @property
    def overview(self) -> dict[str, Any]:
        """What ``synguard status --json`` would print, with what this look could not see among its problems."""
        real = [ban for ban in (self.bans or {}).values() if not ban.dry_run]
        seen = overview(
            running=self.running,
            status=self.status,
            mode=self.mode,
            policies=self.policies,
            bans_active=None if self.bans is None else len(real),
            now=self.at,
        )
        return seen | {"problems": [*self.troubles, *seen["problems"]]}

    def packets(self, ban_id: str) -> int | None:
        """Return how many packets a ban has stopped until now, or None where no one counts."""
        held = None if self.kernel is None else self.kernel.held.get(ban_id)
        known = self.counted.get(ban_id)
        if held is None:
            return None if known is None else known.packets
        if known is None:
            return held.hits.packets
        news = held.hits.packets - known.kernel_packets
        return known.packets + (news if news >= 0 else held.hits.packets)

    def rate(self, ban_id: str) -> float | None:
        """Return packets a second that a ban stopped between the last two reads of the kernel, or None."""
        now, then = self.kernel, self.before
        if now is None or then is None or now.at_s <= then.at_s:
            return None
        one, other = now.held.get(ban_id), then.held.get(ban_id)
        if one is None or other is None or one.hits.packets < other.hits.packets:
            return None
        return (one.hits.packets - other.hits.packets) / (now.at_s - then.at_s)

    def without_sockets(self) -> Snapshot:
        """Return it as where an agent speaks for the sockets."""
        return replace(self, sockets=None)
