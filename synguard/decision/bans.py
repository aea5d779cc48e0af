"""The active bans, by target and by what they close."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from synguard.addresses import V4_PREFIX, Network, one_party
from synguard.ban_columns import FOREVER, microseconds
from synguard.decision.banned_networks import ENDS_SOON, BannedNetworks
from synguard.decision.ladder import gravity
from synguard.detector.ban_filter import BanFilter, Networks
from synguard.detector.columns import halves
from synguard.detector.counting import MOST_PORTS
from synguard.model import NEVER, Action, Ban, Origin, Scope
from synguard.packed_bans import PackedBans

if TYPE_CHECKING:
    from synguard.ban_columns import Rows

_Reach: TypeAlias = tuple[Scope, int, int, bool, bool]
"""Scope, IP version, prefix length, whether single ports are closed, and whether to served clients too."""


class ActiveBans:  # wide: what a tick asks of its bans, a question each
    """The bans in force, by target; a look-up costs one probe per prefix length in use.

    Bans come and go one by one, and columns of the networks they close are kept up, so that a tick with 100,000 of
    them costs little more than one with none.
    """

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        self._bans = PackedBans()
        self._rows = defaultdict[_Reach, BannedNetworks](BannedNetworks)
        self._filter: tuple[int, BanFilter] | None = None
        self._filter_from = 0
        self.automatic_by_kind: Counter[bool] = Counter()
        """Automatic bans on forgeable evidence (True) and on proven evidence (False)."""
        self.challenges_of_many = 0
        """How many bans challenge more than one source: an IPv4 address, an IPv6 /64."""
        self._of_header: dict[str, Ban] = {}
        self._challenging: dict[str, Ban] = {}
        self.version = 0
        """Another number after every change."""
        self.add_many(PackedBans(bans))

    @property
    def automatic(self) -> int:
        """How many automatic bans stand."""
        return self.automatic_by_kind.total()

    def add(self, ban: Ban) -> None:
        """Take in one more ban; one of the same target, scope, ports and header gives way to it."""
        old = self.same(ban)
        if old is not None:
            self.remove(old)
        self._bans.put(ban)
        self.version += 1
        self.automatic_by_kind[ban.forgeable] += ban.origin is Origin.AUTO
        if ban.at_interface:
            self._add_at_interface(ban)
        self._filter = None
        place, until = halves(ban.target), microseconds(ban.expires_at)
        for port in _ports_of(ban):
            self._rows[_reach_of(ban)].put(place, port, until)

    def add_many(self, bans: PackedBans) -> None:
        """Take in the same of very many; those with a target of their own do not become objects."""
        rivals = bans.rivals(self._bans, bans.rows)
        rows = bans.rows[~rivals]
        self._bans.put_many(bans, rows)
        self.version += 1
        by_reach: defaultdict[_Reach, list[tuple[int, Rows]]] = defaultdict(list)
        for (automatic, forgeable, at_interface, reach, ports), some in bans.groups(_kind_of, rows):
            self.automatic_by_kind[forgeable] += automatic * len(some)
            for ban in bans.bans(some) if at_interface else ():
                self._add_at_interface(ban)
            if ports:
                by_reach[reach] += ((port, some) for port in ports)
        for reach, parts in by_reach.items():  # once each: those who are banned choose how many sets of ports there are
            port = np.repeat(np.array([one for one, _ in parts], np.uint16), [len(some) for _, some in parts])
            high, low, until = bans.columns(np.concatenate([some for _, some in parts]))
            mapped = low if reach[1] == 6 else low | np.uint64(V4_PREFIX << 32)
            self._rows[reach].put_many(high, mapped, port, until)
        self._filter = None
        for ban in bans.bans(bans.rows[rivals]):
            self.add(ban)

    def _add_at_interface(self, ban: Ban) -> None:
        if ban.header is not None:
            self._of_header[ban.id] = ban
        if ban.action.challenges:
            self._challenging[ban.id] = ban
            self.challenges_of_many += not one_party(ban.target)

    def same(self, ban: Ban) -> Ban | None:
        """Return the ban of the same target, scope, ports and header, which ``add`` would replace, or None."""
        alike = (ban.scope, ban.ports, ban.dry_run, ban.header)
        return next(
            (old for old in self._bans.of(ban.target) if (old.scope, old.ports, old.dry_run, old.header) == alike),
            None,
        )

    def with_ports_of(self, ban: Ban, until: datetime, *, up_to_all: bool) -> Ban:
        """Return a ban with the ports, beside its own, of its policy's other bans like it that last beyond ``until``.

        A source that goes from port to port has one ban that grows then, not one for each set of ports that it is
        seen on in one moment; but none that refuses served clients on ports that others close.
        What would be too many ports is all of them, or none more where not ``up_to_all``.
        """
        ports = set(ban.ports)
        for old in self._bans.of(ban.target) if ports and ban.header is None else ():
            if _alike(old) == _alike(ban) and old.origin is Origin.AUTO and old.header is None and old.active(until):
                ports = ports.union(old.ports) if ports and old.ports else set()
        if len(ports) <= MOST_PORTS:
            return replace(ban, ports=tuple(sorted(ports)))
        return replace(ban, ports=()) if up_to_all else ban

    @property
    def challenge_bans(self) -> Collection[Ban]:
        """The bans that challenge their target; a view."""
        return self._challenging.values()

    @property
    def header_bans(self) -> Collection[Ban]:
        """The bans of one header each; a view."""
        return self._of_header.values()

    def remove(self, ban: Ban, now: datetime | None = None) -> None:
        """Let go of a ban, if it is known; the rows of one that has expired at ``now`` have ended by themselves."""
        if ban.id not in self._bans:
            return
        self._bans.discard(ban.id)
        self.version += 1
        self.automatic_by_kind[ban.forgeable] -= ban.origin is Origin.AUTO
        self._of_header.pop(ban.id, None)
        if self._challenging.pop(ban.id, None) is not None:
            self.challenges_of_many -= not one_party(ban.target)
        if now is not None and not ban.active(now):
            return
        self._filter = None
        place, until = halves(ban.target), microseconds(ban.expires_at)
        for port in _ports_of(ban):
            self._rows[_reach_of(ban)].end(place, port, until)

    def follow(self, arrived: PackedBans, departed: Iterable[Ban], now: datetime) -> None:
        """Take in what came and went; rows of what has expired end by themselves.

        ``departed`` go first: one that was replaced may have the target of one that arrived.
        """
        for ban in departed:
            self.remove(ban, now)
        self.add_many(arrived)

    def ban_filter(self, now: datetime) -> BanFilter:
        """Return the banned networks as columns, but for bans that end soon: who goes on must be judged anew."""
        at = microseconds(now + ENDS_SOON)
        if self._filter is None or not self._filter_from <= at < self._filter[0]:
            whole, new = self._networks(Scope.ALL, at), self._networks(Scope.NEW, at)
            ends = min((rows.next_end for rows in self._rows.values()), default=FOREVER)
            self._filter, self._filter_from = (ends, BanFilter(whole, new)), at
        return self._filter[1]

    def _networks(self, scope: Scope, at: int) -> Networks:
        return {
            (version, prefixlen, by_port, refuses_served): rows.active(at)
            for (scope_of, version, prefixlen, by_port, refuses_served), rows in self._rows.items()
            if scope_of is scope
        }

    def closed_prefixes(self, now: datetime) -> Networks:
        """Return the prefixes, single addresses left out, that are closed at ``now`` but for served clients in them."""
        at = microseconds(now)
        return {
            (version, prefixlen, by_port, refuses_served): rows.beyond(at)
            for (scope, version, prefixlen, by_port, refuses_served), rows in self._rows.items()
            if scope is Scope.NEW and prefixlen < (32 if version == 4 else 128) and not refuses_served
        }

    def covering(
        self,
        target: Network,
        scope: Scope,
        ports: tuple[int, ...],
        now: datetime,
        at_least: int = 0,
        *,
        for_served: bool = False,
    ) -> Ban | None:
        """Return the longest-active ban at ``now`` that concerns all that a ban with this reach would, or None.

        Only bans whose action has a gravity of ``at_least`` this count, and none of a single header;
        with ``for_served`` only those that served clients have no way through.
        """
        found: Ban | None = None
        for ban in _concerning(self._bans.around(target), scope, ports, now):
            if for_served and ban.scope is Scope.NEW and not ban.refuses_served:
                continue
            if gravity(ban.action) >= at_least and (found is None or _end(ban) > _end(found)):
                found = ban
        return found

    def gravest(self, target: Network, scope: Scope, ports: tuple[int, ...], now: datetime) -> Ban | None:
        """Return the ban at ``now`` that does most to all that a ban with this reach would concern, or None.

        The oldest one of those that do as much; none of a single header.
        """
        bans = _concerning(self._bans.around(target), scope, ports, now)
        return max(bans, key=lambda ban: (gravity(ban.action), _end(ban)), default=None)


def _reach_of(ban: Ban) -> _Reach:
    """Return the columns that a ban has rows in."""
    return ban.scope, ban.target.version, ban.target.prefixlen, bool(ban.ports), ban.refuses_served


def _ports_of(ban: Ban) -> tuple[int, ...]:
    """Return the ports of its rows, 0 for all of them; none where the target is challenged: it goes on being judged."""
    return () if ban.at_interface else ban.ports or (0,)


def _kind_of(ban: Ban) -> tuple[bool, bool, bool, _Reach, tuple[int, ...]]:
    """Return what is noted of a ban beside its target and end."""
    return ban.origin is Origin.AUTO, ban.forgeable, ban.at_interface, _reach_of(ban), _ports_of(ban)


def _concerning(bans: Iterable[Ban], scope: Scope, ports: tuple[int, ...], now: datetime) -> Iterator[Ban]:
    """Yield those that are in force and of no single header, and concern all that a ban with this reach would."""
    return (ban for ban in bans if ban.header is None and ban.active(now) and _reaches(ban, scope, ports))


def _reaches(ban: Ban, scope: Scope, ports: tuple[int, ...]) -> bool:
    if ban.scope is Scope.ALL:
        return True
    return scope is Scope.NEW and (not ban.ports or (bool(ports) and set(ports) <= set(ban.ports)))


def _alike(ban: Ban) -> tuple[Scope, Action, str, bool, bool]:
    """Return what bans of one target have in common that can be one ban of more ports."""
    return ban.scope, ban.action, ban.policy, ban.dry_run, ban.refuses_served


def _end(ban: Ban) -> tuple[datetime, str]:
    """Return when a ban ends; of two that end together the id decides, not which of them came first."""
    return ban.expires_at or NEVER, ban.id
