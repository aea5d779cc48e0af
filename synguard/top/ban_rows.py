"""Bans as rows: what the ledger wants beside what the kernel holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from synguard.addresses import Network, format_network
from synguard.model import Ban, KernelBan, Mode, VerdictKind
from synguard.output.times import ago, clock_time
from synguard.report.ban_table import by
from synguard.status.model import TargetStatus
from synguard.top.rows import Grade, ListenerRow, Pane, Row, TargetRow, network_rank
from synguard.top.snapshot import Snapshot
from synguard.top.text import figure, short_left

_FOREVER = float("inf")


def rows_of(snapshot: Snapshot, pane: Pane) -> list[Row]:
    """Return all rows of a pane, in no order."""
    speaks = snapshot.status if snapshot.alive else None
    if pane is Pane.BANS:
        return list(_bans(snapshot))
    if pane is Pane.LISTENERS:
        pressure = speaks.pressure if speaks else snapshot.sockets.listeners if snapshot.sockets else ()
        return [ListenerRow(one) for one in pressure]
    targets = speaks.targets if speaks else snapshot.sockets.sources if snapshot.sockets else ()
    wanted = {one.target for one in targets}
    by_target = {}
    for ban in (snapshot.bans or {}).values() if wanted else ():
        if ban.active(snapshot.at) and (word := format_network(ban.target)) in wanted:
            by_target[word] = ban.id
    rows: list[Row] = [TargetRow(one, by_target.get(one.target, ""), scored=speaks is not None) for one in targets]
    return rows + list(_would_be(snapshot, wanted)) if speaks and speaks.mode is Mode.DRY_RUN else rows


def _would_be(snapshot: Snapshot, known: Collection[str]) -> Iterator[Row]:
    """Yield those over their limit whom enforcing would have banned, as they were when that was decided."""
    for ban in (snapshot.bans or {}).values():
        target = format_network(ban.target)
        if ban.dry_run and ban.active(snapshot.at) and target not in known:
            yield TargetRow(
                TargetStatus(
                    target=target,
                    kind=VerdictKind.BAN,
                    score=ban.score,
                    policy=ban.policy,
                    reason=ban.reason,
                    evidence=tuple(map(str, ban.evidence)),
                    forgeable=ban.forgeable,
                ),
                ban.id,
                would=True,
            )


def _bans(snapshot: Snapshot) -> Iterator[Row]:
    bans = snapshot.bans or {}
    leaks = {leak.ban: leak.text for leak in (snapshot.status.leaks if snapshot.alive and snapshot.status else ())}
    held = None if snapshot.kernel is None else {one.target for one in snapshot.kernel.held.values()}
    for ban in bans.values():
        if ban.active(snapshot.at):
            yield BanRow(snapshot, ban, held, leaks.get(ban.id, ""))
    for ban_id, one in snapshot.kernel.held.items() if snapshot.kernel else ():
        if ban_id not in bans and one.active(snapshot.at):
            yield KernelRow(snapshot, one)


@dataclass(frozen=True, slots=True)
class _Row:
    """What the rows of a ban of the ledger and of one that the kernel alone holds have in common."""

    snapshot: Snapshot
    ban: Ban | KernelBan

    @property
    def ban_id(self) -> str:
        """Its id."""
        return self.ban.id if isinstance(self.ban, Ban) else self.ban.ban_id

    @property
    def key(self) -> str:
        """Its id."""
        return self.ban_id

    @property
    def target(self) -> str:
        """Its target."""
        return format_network(self.ban.target)

    @property
    def forgeable(self) -> bool:
        """Whether it rests on evidence, all of which can be forged."""
        return isinstance(self.ban, Ban) and self.ban.forgeable

    @property
    def rate(self) -> float | None:
        """Packets a second that it stops."""
        return self.snapshot.rate(self.ban_id)

    @property
    def packets(self) -> int | None:
        """Packets that it has stopped; None in a dry run and where no one counts."""
        return self.snapshot.packets(self.ban_id)

    @property
    def _left_s(self) -> float:
        ends = self.ban.expires_at
        return _FOREVER if ends is None else max((ends - self.snapshot.at).total_seconds(), 0.0)

    def _rank(self, by: str) -> Any:
        """Return what to sort by: the least time left first, the most packets first."""
        if by == "left":
            return -self._left_s
        if by == "target":
            return network_rank(self.ban.target)
        if by == "begun":
            return self.ban.created_at.timestamp() if isinstance(self.ban, Ban) else 0.0
        value = self.packets if by == "packets" else self.rate
        return -1 if value is None else value


@dataclass(frozen=True, slots=True)
class BanRow(_Row):
    """A ban that stands in the ledger."""

    ban: Ban
    held: set[Network] | None
    """Targets that the kernel holds; of two bans of one target it holds the longer. None where that is not known."""
    leak: str = ""
    """What the agent says where its target arrives all the same."""

    @property
    def state(self) -> str:
        """How it stands, in two words."""
        return self._standing[0]

    @property
    def grade(self) -> Grade:
        """Bad where it stops nothing although it should."""
        return self._standing[1]

    @property
    def _standing(self) -> tuple[str, Grade]:
        if self.ban.dry_run:
            return self.ban.standing, Grade.USUAL if self._enforcing else Grade.WATCH
        if self.held is not None and self.ban.target not in self.held:
            return "NOT IN KERNEL", Grade.BAD
        if self.leak:
            return "STILL ARRIVES", Grade.BAD
        return ("hitting", Grade.WATCH) if self.rate else (self.ban.standing, Grade.USUAL)

    @property
    def _enforcing(self) -> bool:
        """Whether the dry-run bans are those of dry-run that is over."""
        status = self.snapshot.status
        return status is not None and status.mode is Mode.ENFORCE

    @property
    def _last(self) -> str:
        if self.rate:
            return "now"
        known = self.snapshot.counted.get(self.ban.id)
        return "-" if known is None or known.last_hit_at is None else ago(known.last_hit_at, self.snapshot.at)

    def cells(self) -> tuple[str, ...]:
        """Return time left, target, state, scope, by whom, packets, rate, last hit, id, reason."""
        ban = self.ban
        scope = f"{ban.scope}:{','.join(map(str, ban.ports))}" if ban.ports else str(ban.scope)
        counts = figure(self.packets), figure(self.rate)
        return (
            short_left(self._left_s),
            self.target,
            self.state,
            scope,
            by(self.ban),
            *counts,
            self._last,
            ban.id,
            ban.reason,
        )

    def detail(self) -> tuple[str, ...]:
        """Return it in sentences."""
        ban, at = self.ban, self.snapshot.at
        ends = "permanently" if ban.expires_at is None else f"until {clock_time(ban.expires_at, at)}"
        ports = f", ports {', '.join(map(str, ban.ports))}" if ban.ports else ""
        done = "SYNs answered or dropped" if ban.action.challenges else "packets stopped"
        counts = f"{figure(self.packets)} {done}, {figure(self.rate)} a second now, last {self._last}"
        return (
            f"{self.target}, {self.state}: {ban.scope}, {ban.effect}{ports}, {clock_time(ban.created_at, at)} {ends}",
            f"id {ban.id}, by {by(self.ban)}: {ban.reason}",
            *(f"evidence: {one}" for one in ban.evidence),
            *([f"banned {ban.times} times"] if ban.times > 1 else []),
            "nothing is counted in a dry run" if ban.dry_run else counts,
            *([self.leak] if self.leak else []),
            f"more: synguard why {self.target}",
        )

    def sort(self, by: str) -> Any:
        """Return what to sort by: real bans before dry-run ones."""
        return not self.ban.dry_run, self._rank(by)


@dataclass(frozen=True, slots=True)
class KernelRow(_Row):
    """What the kernel holds of ours and the ledger does not know, or cannot tell."""

    @property
    def grade(self) -> Grade:
        """To be watched where the ledger should know of it."""
        return Grade.USUAL if self.snapshot.bans is None else Grade.WATCH

    @property
    def _said(self) -> str:
        return "the ledger cannot be read" if self.snapshot.bans is None else "the ledger does not know of it"

    def cells(self) -> tuple[str, ...]:
        """Return the cells of ``BanRow`` as far as the kernel knows them."""
        state = "banned" if self.snapshot.bans is None else "NOT IN LEDGER"
        scope, counts = str(self.ban.scope), (figure(self.packets), figure(self.rate))
        return short_left(self._left_s), self.target, state, scope, "-", *counts, "-", self.ban_id, self._said

    def detail(self) -> tuple[str, ...]:
        """Return it in sentences."""
        return f"{self.target} is in the kernel, id {self.ban_id}", self._said

    def sort(self, by: str) -> Any:
        """Return what to sort by: it is a real ban."""
        return True, self._rank(by)
