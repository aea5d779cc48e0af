"""The bans that are wanted, by ban and by kernel member; says what changed: one more must not cost what 100,000 did."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from synguard.addresses import Network, NetworkIndex
from synguard.ban_columns import microseconds
from synguard.columns import LATE
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.plane import Desired, lets_through
from synguard.enforcer.reconcile.delta import DesiredMembers, agrees, share
from synguard.model import Action, Ban, KernelBan, Origin, Scope
from synguard.packed_bans import PackedBans
from synguard.syn_header import SynHeader

if TYPE_CHECKING:
    from synguard.ban_columns import Rows

_Member: TypeAlias = tuple[Scope, Action, SynHeader | None, bool]
"""What rivals of one target have in common; their ports may differ."""


class DesiredState(Mapping[str, Ban]):  # wide: what is wanted, against what was and what is held
    """Bans that stand, by id. What it says is wanted equals ``Desired.of`` the same bans, at a cost per change."""

    def __init__(self) -> None:
        self._bans = PackedBans()
        self._forced: dict[str, Network] = {}
        self._own: dict[str, Ban | None] = {}
        """Of bans with rivals of the same target, what they are to hold by themselves where that is less, or None."""
        self._covered: dict[str, str] = {}
        self._contested: set[Network] = set()
        self._changed: dict[str, None] = {}
        self.many_changed = False
        """Whether so many came since the last ``take_changes`` that it does not name them: all are to be compared."""

    def __getitem__(self, ban_id: str) -> Ban:
        return self._bans[ban_id]

    def get(self, ban_id: str, default: Any = None) -> Any:
        """Return the ban of this id, if it is wanted."""
        return self._bans.get(ban_id, default)

    def __contains__(self, ban_id: object) -> bool:
        return ban_id in self._bans

    def __iter__(self) -> Iterator[str]:
        return iter(self._bans)

    def __len__(self) -> int:
        return len(self._bans)

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)  # the latter makes an object of each ban

    __hash__ = None  # type: ignore[assignment]  # it changes

    def put(self, bans: PackedBans, rows: Rows | None = None) -> None:
        """Want these bans, or those of some rows, each instead of one of the same id."""
        rows = bans.rows if rows is None else rows
        for ban_id in bans.common(self._bans, rows):
            self.drop(ban_id)
        if len(rows) > LATE:
            self.many_changed = True
        else:
            self._changed |= dict.fromkeys(bans.ids(rows))
        self._contested.update(ban.target for ban in bans.bans(rows[bans.rivals(self._bans, rows)]))
        self._bans.put_many(bans, rows)
        for forced, some in bans.groups(lambda ban: ban.forced, rows):
            if forced:
                self._forced |= {ban.id: ban.target for ban in bans.bans(some)}

    def drop(self, ban_id: str) -> Ban | None:
        """Want the ban of this id no more; return it if it was wanted."""
        ban = self._bans.pop(ban_id)
        if ban is not None:
            self._changed[ban_id] = None
            self._forced.pop(ban_id, None)
            self._own.pop(ban_id, None)
            self._covered.pop(ban_id, None)
            if self._bans.of(ban.target):
                self._contested.add(ban.target)
        return ban

    def expire(self, now: datetime, at_most: int | None = None) -> list[Ban]:
        """Drop bans that have ended at ``now``, about ``at_most`` of them; return them."""
        expired = map(self.drop, self._bans.ended(microseconds(now), at_most))
        return [ban for ban in expired if ban is not None]

    def common(self, bans: PackedBans) -> list[str]:
        """Return the ids of those that are wanted already."""
        return bans.common(self._bans)

    def has_ended(self, now: datetime) -> bool:
        """Return whether a ban that is still here has ended at ``now``."""
        return self._bans.next_end <= microseconds(now)

    def select(self, origin: Origin) -> Iterator[Ban]:
        """Yield the bans of one origin."""
        return self._bans.select(lambda one, _: one is origin)

    @property
    def changed(self) -> bool:
        """Whether ``take_changes`` has something to tell."""
        return self.many_changed or bool(self._changed)

    def take_changes(self) -> dict[str, None]:
        """Return the ids of the bans whose member may have changed since the last call."""
        for target in self._contested:
            self._settle(self._bans.of(target))
        changed, self._changed, self._contested, self.many_changed = self._changed, {}, set(), False
        return changed

    def differing(self, held: HeldBans, beside: Collection[str] = ()) -> Iterator[str]:
        """Return the ids of the bans that may be held otherwise than they are to be, ``beside`` some."""
        ids = self._bans.differing(held.rows, {*beside, *self._own})
        ids.extend(ban_id for ban_id in self._own if ban_id not in beside)
        return iter(ids)

    def lost(self, known: HeldBans, actual: HeldBans, now: datetime) -> list[str]:
        """Return the ids of bans that were held as they are to be and would still be, and are not any more."""
        rows, until = self._bans.rows, self._bans.columns(self._bans.rows)[2]
        gone = self._bans.agreeing(known.rows) & ~self._bans.agreeing(actual.rows) & (until > microseconds(now))
        whole = [ban_id for ban_id in self._bans.ids(rows[gone]) if ban_id not in self._own]
        parts = [ban for ban in self._own.values() if ban is not None and ban.active(now)]
        return whole + [ban.id for ban in parts if _holds(known, ban) and not _holds(actual, ban)]

    def strangers(self, actual: HeldBans) -> list[KernelBan]:
        """Return what is held of bans that are not wanted."""
        keys = actual.rows.ids(actual.rows.rows[~actual.rows.agreeing(self._bans)])
        return [actual[key] for key in keys if key.partition("#")[0] not in self._bans]

    @property
    def members(self) -> DesiredMembers:
        """What each ban is to hold by itself, as of the last ``take_changes``; a view."""
        return DesiredMembers(_Members(self._bans, self._own), self._covered)

    def desired(self, protected: Iterable[Network], proven: Iterable[Network]) -> Desired:
        """Return what the kernel should hold; its bans are these, whatever becomes of them."""
        forced = NetworkIndex(self._forced.values())
        return Desired(
            bans=self,
            allow=frozenset(party for party in protected if not forced.overlapping(party)),
            proven=frozenset(peer for peer in proven if lets_through(self._bans.around(peer))),
        )

    def _settle(self, rivals: list[Ban]) -> None:
        alike: dict[_Member, list[Ban]] = {}
        for ban in rivals:
            self._changed[ban.id] = None
            self._own.pop(ban.id, None)
            self._covered.pop(ban.id, None)
            alike.setdefault((ban.scope, ban.action, ban.header, ban.refuses_proven), []).append(ban)
        for several in alike.values():
            held = {ban.id: ban for ban in several}
            if len(several) > 1:
                share(several, held, self._covered)
            self._own |= {ban.id: held.get(ban.id) for ban in several if held.get(ban.id) is not ban}


def _holds(bans: HeldBans, ban: Ban) -> bool:
    held = bans.get(ban.id)
    return held is not None and agrees(ban, held)


class _Members(Mapping[str, Ban]):
    """Ban id → what it is to hold by itself; those that others cover are absent."""

    def __init__(self, bans: PackedBans, own: Mapping[str, Ban | None]) -> None:
        self._bans = bans
        self._own = own

    def __getitem__(self, ban_id: str) -> Ban:
        ban = self._own[ban_id] if ban_id in self._own else self._bans[ban_id]
        if ban is None:
            raise KeyError(ban_id)
        return ban

    def get(self, ban_id: str, default: Any = None) -> Any:
        """Return what the ban of this id is to hold, if anything."""
        return (self._own[ban_id] or default) if ban_id in self._own else self._bans.get(ban_id, default)

    def __iter__(self) -> Iterator[str]:
        return (ban_id for ban_id in self._bans if self._own.get(ban_id, self) is not None)

    def __len__(self) -> int:
        return len(self._bans) - sum(one is None for one in self._own.values())
