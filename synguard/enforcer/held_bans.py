"""The bans that a plane holds, as columns."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final

from synguard.addresses import numbers_of
from synguard.ban_columns import NO_WORDS, microseconds, packed, width_of
from synguard.model import NO_HITS, ON_HANDSHAKES, Ban, Hits, KernelBan, Origin
from synguard.packed_bans import PackedBans

_REFUSES_PROVEN: Final = (Origin.AUTO, *NO_WORDS[1:5], ON_HANDSHAKES, *NO_WORDS[6:])


class HeldBans(MutableMapping[str, KernelBan]):
    """`KernelBan.key` → ban as one plane holds it."""

    def __init__(self, held: Mapping[str, KernelBan] | None = None) -> None:
        self.rows: Final = PackedBans()
        self.hits: dict[str, Hits] = {}
        """Of those that met packets."""
        self._put((held or {}).items())

    @classmethod
    def of(cls, held: Mapping[str, KernelBan]) -> HeldBans:
        """Return the same, as columns."""
        return held if isinstance(held, HeldBans) else cls(held)

    def begin(self, bans: Iterable[Ban]) -> None:
        """Take in bans that we have just brought there; the kernel has not been asked what it counted of them."""
        rows = []
        for ban in bans:
            ban_id, start, width, ends, _, shape, _ = packed(ban)
            rows.append((ban_id, start, width, ends, int(not self.is_counted(ban_id)), shape, _words(ban)))
        self.rows.put_rows(rows)

    def is_counted(self, key: str) -> bool:
        """Return whether it was there when the counters were read."""
        row = self.rows.get(key)
        return row is not None and microseconds(row.created_at) == 0

    def __setitem__(self, key: str, one: KernelBan) -> None:
        self.hits.pop(key, None)
        self._put([(key, one)])

    def _put(self, held: Iterable[tuple[str, KernelBan]]) -> None:
        """Take in bans whose counters have been read."""
        rows = []
        for key, one in held:
            version, start, prefixlen = numbers_of(one.target)
            shape = (one.scope, one.action, one.ports, one.header)
            rows.append((key, start, width_of(version, prefixlen), microseconds(one.expires_at), 0, shape, _words(one)))
            if one.hits != NO_HITS:
                self.hits[key] = one.hits
        self.rows.put_rows(rows)

    def __getitem__(self, key: str) -> KernelBan:
        ban = self.rows.get(key)
        if ban is None:
            raise KeyError(key)
        ban_id, _, remains = key.partition("#")
        hits = self.hits.get(key, NO_HITS)
        end, of = ban.expires_at, int(remains or 0)
        return KernelBan(
            ban_id, ban.target, ban.scope, ban.action, ban.ports, end, hits, ban.header, of, ban.refuses_proven
        )

    def get(self, key: str, default: Any = None) -> Any:
        """Return what is held under this key, if anything is."""
        return self[key] if key in self.rows else default

    def __delitem__(self, key: str) -> None:
        if key not in self.rows:
            raise KeyError(key)
        self.rows.discard(key)
        self.hits.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self.rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def _words(ban: Ban | KernelBan) -> Hashable:
    return _REFUSES_PROVEN if ban.refuses_proven else NO_WORDS


def total_hits(held: Mapping[str, KernelBan]) -> dict[str, Hits]:
    """Return ban id → what the kernel counted against it, over all the members that hold it; none has no entry."""
    total: dict[str, Hits] = {}
    counted = held.hits if isinstance(held, HeldBans) else {key: one.hits for key, one in held.items()}
    for key, hits in counted.items():
        if hits.packets or hits.passed:
            ban_id = key.partition("#")[0]
            total[ban_id] = total[ban_id] + hits if ban_id in total else hits
    return total
