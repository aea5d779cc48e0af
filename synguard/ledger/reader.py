"""What the ledger answers: a method a question, for agent and verbs; what writes is in ``ledger.py``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from synguard.addresses import Network
from synguard.ban_order import BanOrder
from synguard.errors import LedgerError
from synguard.incidents import Incident
from synguard.ledger import (
    actions,
    active_drops,
    arrivals,
    bans,
    false_positives,
    history,
    incidents,
    listing,
    verdicts,
)
from synguard.ledger.active_bans import ActiveBanCache
from synguard.ledger.active_drops import ActiveDrop
from synguard.ledger.arrivals import ActiveRow
from synguard.ledger.database import Database
from synguard.ledger.records import (
    ActionRecord,
    BanRecord,
    Counted,
    FalsePositives,
    ListedBan,
    Offence,
    Stretch,
    VerdictRecord,
)
from synguard.memory import many_objects
from synguard.model import NEVER, Ban, Origin
from synguard.policy.models import LedgerLimits

if TYPE_CHECKING:  # it loads numpy, which takes longer than most verbs
    from synguard.ledger.ban_changes import BanChanges, ChangedBans

_SETTLES_S: Final = 1.0
"""How long a reader waits for a long list that is being settled; it takes about as long for 50,000 bans."""


class LedgerReader:  # wide: a method a question
    """One connection to the ledger, for reading alone where it is not a ``Ledger``.

    Every method raises ``LedgerError`` where the file is locked for longer than patience lasts, full, read-only
    or damaged; the text says which and what to do. Times are aware. A connection belongs to one thread.
    """

    def __init__(self, database: Database, limits: LedgerLimits) -> None:
        self._database = database
        self._limits = limits
        self._active_bans = ActiveBanCache()

    @classmethod
    def open(cls, path: Path, limits: LedgerLimits = LedgerLimits(), patience_s: float = 5.0) -> LedgerReader:  # noqa: B008  # frozen
        """Open a ledger that is there, for reading alone: nothing is made, brought up to date, or locked for writers.

        Raises:
            LedgerError: There is none, or as for ``Ledger.open``.
        """
        made = LedgerReader(Database(path, patience_s, read_only=True), limits)
        until = time.monotonic() + _SETTLES_S
        with suppress(LedgerError):
            while made.arriving() and time.monotonic() < until:
                time.sleep(0.02)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    def size(self) -> int:
        """Return the bytes that the file and its write-ahead log hold; 0 for what cannot be looked at."""
        total = 0
        for path in (self.path, self.path.with_name(f"{self.path.name}-wal")):
            with suppress(OSError):
                total += path.stat().st_size
        return total

    def close(self) -> None:
        """Close the connection; closing twice is fine."""
        self._database.close()

    def changed(self) -> bool:
        """Return whether another connection committed since this was last asked, or since opening; microseconds."""
        return self._database.changed()

    def check(self) -> None:
        """Read the whole file once, which takes seconds for a large one, and raise where a page is damaged."""
        self._database.check()

    def arriving(self) -> int:
        """Return how many pieces of long lists have been noted and not settled."""
        with self._database.read() as db:
            return arrivals.waiting(db)

    def active_rows(self, now: datetime, dry_run: bool = False) -> list[ActiveRow]:
        """Return a few words of each active ban, oldest first: a sixth of ``active_bans``."""
        with self._database.read() as db:
            return arrivals.active_rows(db, now, dry_run)

    def active_bans(self, now: datetime, dry_run: bool = False) -> dict[str, Ban]:
        """Return id → ban of those that stand at ``now``, oldest first: the real ones, or the dry-run ones.

        A list that waits to be settled is settled first, but by a reader.
        """
        self._settle_all()
        with many_objects(), self._database.snapshot() as db:
            return self._active_bans.read(db, now, dry_run)

    def _settle_all(self) -> None:
        """Settle what waits, for who may write."""

    def active_drops(self, now: datetime, policy: str) -> tuple[list[ActiveDrop], list[Ban]]:
        """Return what ``active_bans`` does: drops of everything by hand, of one policy, as columns; then the others."""
        self._settle_all()
        with many_objects(), self._database.snapshot() as db:
            return active_drops.read(db, now, policy)

    def active_shapes(self, now: datetime) -> list[tuple[Ban, int]]:
        """Return one active ban of each shape, and how many there are of it: each takes the same room in a kernel.

        A shape is family, prefix length, scope, action, ports and header.
        """
        self._settle_all()
        with self._database.read() as db:
            return bans.active_shapes(db, now)

    def take_changes(self, changes: BanChanges, now: datetime, at_most: int | None = None) -> ChangedBans:
        """Return what became of the active bans since these were last asked, up to ``at_most`` of a kind at once.

        A list that waits to be settled is not looked at.
        """
        with many_objects(), self._database.snapshot() as db:
            return changes.take(db, now, at_most)

    def active_ids(self, now: datetime, dry_run: bool = False) -> list[str]:
        """Return the ids of the active bans."""
        return [row.id for row in self.active_rows(now, dry_run)]

    def at_interface(self, now: datetime) -> list[str]:
        """Return the ids of the active bans that the challenge program carries out."""
        with self._database.read() as db:
            return bans.at_interface(db, now)

    def active_records(self, now: datetime) -> list[BanRecord]:
        """Return the records of all bans that stand at ``now``, the dry-run ones too, oldest first."""
        with self._database.read() as db:
            return bans.active_records(db, now)

    def counted(self, now: datetime) -> dict[str, Counted]:
        """Return ban id → what is known of its packets, for real bans that stand; cheap beside ``active_records``."""
        with self._database.read() as db:
            return bans.counted(db, now)

    def count_bans(self, choice: listing.Choice, now: datetime) -> int:
        """Return how many bans there are, dry-run ones too."""
        with self._database.read() as db:
            return listing.count(db, choice, now)

    def list_bans(
        self,
        choice: listing.Choice,
        order: BanOrder,
        now: datetime,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[BanRecord]:
        """Yield the records of one page in order, without a limit of all; only some are in memory at a time."""
        with self._database.read() as db:
            yield from listing.rows(db, choice, order, now, limit, offset)

    def list_rows(self, choice: listing.Choice, order: BanOrder, now: datetime) -> Iterator[ListedBan]:
        """Yield the same as they stand in the table, all of them, in a quarter of the time."""
        with self._database.read() as db:
            yield from listing.listed(db, choice, order, now)

    def bans_since(
        self, since: datetime, limit: int = 1000, offset: int = 0, until: datetime = NEVER
    ) -> list[BanRecord]:
        """Return bans that began at ``since`` or later and before ``until``, newest first, the dry-run ones too."""
        with self._database.read() as db:
            return bans.bans_since(db, since, limit, offset, until)

    def bans_of(self, network: Network, limit: int = 1000) -> list[BanRecord]:
        """Return bans whose target shares an address with ``network``, newest first, the dry-run ones too."""
        with self._database.read() as db:
            return bans.bans_of(db, network, limit)

    def ended_early(self, origin: Origin, since: datetime, now: datetime, but: str = "") -> list[BanRecord]:
        """Return bans of one origin that were ended, not because of ``but``, and would still stand at ``now``."""
        with self._database.read() as db:
            return bans.ended_early(db, origin, since, now, but)

    def offences(self, since: datetime, dry_run: bool = False) -> dict[Network, Offence]:
        """Return target → how often it was banned automatically at ``since`` or later.

        Dry-run counts dry-run bans and enforcing counts real ones, so that dry-run costs no one a longer ban.
        """
        with self._database.read() as db:
            return bans.offences(db, since, dry_run)

    def verdicts_since(self, since: datetime, limit: int = 20_000, until: datetime = NEVER) -> list[VerdictRecord]:
        """Return verdicts last given at ``since`` or later and first before ``until``, latest first."""
        with self._database.read() as db:
            return verdicts.verdicts_since(db, since, limit, until)

    def verdicts_of(self, network: Network, limit: int = 1000) -> list[VerdictRecord]:
        """Return verdicts about targets that share an address with ``network``, latest first."""
        with self._database.read() as db:
            return verdicts.verdicts_of(db, network, limit)

    def incidents_since(self, since: datetime, limit: int = 1000) -> list[Incident]:
        """Return incidents that were under way at ``since`` or later, the latest begun first."""
        with self._database.read() as db:
            return incidents.incidents_since(db, since, limit)

    def actions_since(self, since: datetime, limit: int = 1000) -> list[ActionRecord]:
        """Return actions at ``since`` or later, latest first."""
        with self._database.read() as db:
            return actions.actions_since(db, since, limit)

    def history(self, since: datetime, until: datetime, grain_s: float) -> list[Stretch]:
        """Return what was seen between two times, earliest first, made one per ``grain_s`` seconds.

        Where no one watched there is none; older history is kept more coarsely, so that there may be fewer.
        """
        with self._database.read() as db:
            return history.between(db, since, until, grain_s)

    def false_positives_since(self, since: datetime) -> dict[str, FalsePositives]:
        """Return ban id → whom that dry-run ban would have turned away at ``since`` or later, and before."""
        with self._database.read() as db:
            return {one.ban_id: one for one in false_positives.since(db, since)}
