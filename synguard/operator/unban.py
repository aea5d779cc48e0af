"""Which active bans a person names to be ended; of a long list as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice

from synguard.addresses import Network
from synguard.ledger import Ledger
from synguard.ledger.active_drops import ActiveDrop
from synguard.model import Ban
from synguard.network_words import network_of_word
from synguard.operator.ban import POLICY
from synguard.operator.ban_list import LONG


@dataclass(frozen=True, slots=True)
class NamedBans:
    """The bans that are named, and what is named and no ban."""

    bans: Sequence[Ban]
    drops: Sequence[ActiveDrop]
    """Those of which no object is needed."""
    missing: Sequence[str | Network]
    active_bans: Mapping[str, Ban]
    active_drops: Sequence[ActiveDrop]
    """All that are active, named or not."""

    def __len__(self) -> int:
        return len(self.bans) + len(self.drops)

    def first(self, count: int) -> list[Ban]:
        """Return the first of the named bans."""
        return [*islice(_all(self.bans, self.drops), count)]

    def active(self) -> Iterator[Ban]:
        """Yield all active bans."""
        return _all(self.active_bans.values(), self.active_drops)


def named_bans(ledger: Ledger, wanted: Mapping[str | Network, None], now: datetime) -> NamedBans:
    """Return the bans of these ids and targets, the dry-run ones too; of nothing wanted all there are."""
    drops = list[ActiveDrop]()
    if len(wanted) > LONG:
        drops, others = ledger.active_drops(now, POLICY)
        active = {ban.id: ban for ban in others}
    else:
        active = ledger.active_bans(now)
    active |= ledger.active_bans(now, dry_run=True)
    bans = [ban for id_, ban in active.items() if not wanted or ban.target in wanted or id_ in wanted]
    matched: set[str | Network] = {one for ban in bans for one in (ban.target, ban.id)}
    named = list[ActiveDrop]()
    for one in drops:
        target = network_of_word(one.target)
        if target in wanted or one.id in wanted:
            named.append(one)
            matched.update((target, one.id))
    missing = [] if matched.issuperset(wanted) else [one for one in wanted if one not in matched]
    return NamedBans(bans, named, missing, active, drops)


def _all(bans: Iterable[Ban], drops: Iterable[ActiveDrop]) -> Iterator[Ban]:
    return chain(bans, (one.as_ban(POLICY) for one in drops))
