"""The ledger: what we want, what was decided and why, in one SQLite file that agent and verbs share."""
# long: one short method for each thing that is kept

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from synguard.addresses import Network
from synguard.errors import LedgerError
from synguard.incidents import Incident
from synguard.ledger import (
    active_drops,
    arrivals,
    bans,
    false_positives,
    history,
    listing,
    pruning,
    taking_back,
    verdicts,
)
from synguard.ledger.active_bans import ActiveBanCache
from synguard.ledger.active_drops import ActiveDrop
from synguard.ledger.arrivals import ActiveRow, Arrivals
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
from synguard.ledger.rows import INCIDENT_COLUMNS, from_us, incident_of, incident_row, to_us
from synguard.memory import many_objects
from synguard.model import NEVER, Ban, BanOrder, Hits, Origin, Verdict
from synguard.policy.models import LedgerLimits

if TYPE_CHECKING:  # it loads numpy, which takes longer than most verbs
    from synguard.ledger.ban_changes import BanChanges, ChangedBans

LEDGER_FILE: Final = "ledger.db"
"""Its name in the state directory."""
_SETTLES_S: Final = 1.0
"""How long a reader waits for a long list that is being settled; it takes about as long for 50,000 bans."""

_SAVE_INCIDENT: Final = (
    f"INSERT INTO incident ({INCIDENT_COLUMNS}) VALUES ({', '.join('?' * len(INCIDENT_COLUMNS.split(',')))}) "  # noqa: S608  # constants only
    "ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in INCIDENT_COLUMNS.split(", ")[1:])
)


class Ledger:  # wide: the only entry to the ledger: a method a question
    """One connection to the ledger; every method that writes is one transaction: all of it happens, or none.

    Every method raises ``LedgerError`` where the file is locked for longer than patience lasts, full, read-only
    or damaged; the text says which and what to do. Times are aware. A connection belongs to one thread.
    """

    def __init__(self, database: Database, limits: LedgerLimits) -> None:
        self._database = database
        self._limits = limits
        self._active_bans = ActiveBanCache()

    @classmethod
    def open(cls, path: Path, limits: LedgerLimits = LedgerLimits(), patience_s: float = 5.0) -> Ledger:  # noqa: B008  # frozen
        """Open or create the ledger; its directory is made for its owner alone, and so is the file.

        Other processes may have it open too. ``patience_s`` is how long to wait for their writes.

        Raises:
            LedgerError: The file is damaged, of a newer version, of another program, or cannot be opened.
                A file that is there is never recreated.
        """
        return cls(Database(path, patience_s), limits)

    @classmethod
    def open_for_reading(cls, path: Path, limits: LedgerLimits = LedgerLimits(), patience_s: float = 5.0) -> Ledger:  # noqa: B008  # frozen
        """Open a ledger that is there, for reading alone: nothing is made, brought up to date, or locked for writers.

        Raises:
            LedgerError: There is none, or as for ``open``; every method that writes raises it too.
        """
        made = cls(Database(path, patience_s, read_only=True), limits)
        until = time.monotonic() + _SETTLES_S
        with suppress(LedgerError):
            while made.arriving() and time.monotonic() < until:
                time.sleep(0.02)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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

    def hurry(self, patience_s: float) -> None:
        """Wait no longer than this for others' writes, and keep little in memory: for an agent, with ticks to keep."""
        self._database.hurry(patience_s)

    def changed(self) -> bool:
        """Return whether another connection committed since this was last asked, or since opening; microseconds."""
        return self._database.changed()

    def check(self) -> None:
        """Read the whole file once, which takes seconds for a large one, and raise where a page is damaged."""
        self._database.check()

    def add_bans(self, bans_: Sequence[Ban], renewed: Sequence[Ban] = ()) -> tuple[Ban, ...]:
        """Write bans; a standing ban of the same target, scope, ports and dry-run is ended as ``replaced``.

        An automatic ban does not replace a person's standing order: it is recorded as ended at once. ``renewed`` are
        bans that only get another expiry; those that somebody has ended meanwhile are left as they are, and returned.

        Raises:
            LedgerError: Also where an id is already taken; nothing is written then.
        """
        with many_objects():
            batch = bans.Addition.of(bans_)
        with self._database.write() as db:
            still = bans.open_ids(db, [ban.id for ban in renewed])
            bans.move_expiries(db, {ban.id: ban.expires_at for ban in renewed if ban.id in still})
            bans.add_bans(db, batch)
        self._active_bans.wrote([*bans_, *renewed])
        return tuple(ban for ban in renewed if ban.id not in still)

    def add_list(
        self, bans_: Arrivals, others: Sequence[Ban] = (), renewed: Sequence[str] = (), ends_us: int | None = None
    ) -> list[str]:
        """Write a list of bans, each in place of the standing one of the same target, scope, ports and dry-run.

        And ``others`` as ``add_bans`` does. Bans whose ids are ``renewed`` only get another end; where somebody has
        ended some of them meanwhile, nothing at all is written, and their ids are returned.
        """
        with many_objects():
            rows, batch = bans_.rows(), bans.Addition.of(others)
        try:
            with self._database.write() as db:
                if ended := active_drops.move(db, renewed, ends_us):
                    raise active_drops.EndedError(ended)
                bans.add_bans(db, batch)
                arrivals.add(db, rows)
        except active_drops.EndedError as error:
            return error.ids
        return []

    def note_list(self, bans_: Arrivals) -> None:
        """Note a long list, for a twentieth of what writing it costs; ``settle`` writes it, a piece a call."""
        with self._database.without_checkpoint(), self._database.write() as db:
            arrivals.note(db, bans_)

    def arriving(self) -> int:
        """Return how many pieces of long lists have been noted and not settled."""
        with self._database.read() as db:
            return arrivals.waiting(db)

    def settle(self) -> bool:
        """Write the next piece of what was noted; return whether there was one."""
        if not self.arriving():
            return False
        with self._database.write() as db:
            return arrivals.settle(db)

    def active_rows(self, now: datetime, dry_run: bool = False) -> list[ActiveRow]:
        """Return a few words of each active ban, oldest first: a sixth of ``active_bans``."""
        with self._database.read() as db:
            return arrivals.active_rows(db, now, dry_run)

    def move_bans(self, expiries: Mapping[str, datetime]) -> None:
        """Let bans end then, id → expiry; ids unknown or already ended are left as they are."""
        with self._database.write() as db:
            bans.move_expiries(db, expiries)

    def end_bans(self, ids: Iterable[str], at: datetime, why: str) -> None:
        """End standing bans ahead of their expiry; ids unknown or already ended are left as they are."""
        with self._database.write() as db:
            bans.end_bans(db, ids, at, why)

    def take_back(
        self,
        ids: Sequence[str],
        expiries: Mapping[str, datetime | None],
        at: datetime,
        why: str,
        new_id: Callable[[], str],
    ) -> list[str]:
        """Undo an order: end its new bans, and let the others end as before, id → expiry.

        What it replaced, and nobody else ended since, stands again with a new id; these are returned.
        """
        with self._database.write() as db:
            bans.move_expiries(db, expiries)
            return taking_back.take_back(db, ids, at, why, new_id)

    def change_expiry(self, ban_id: str, expires_at: datetime | None, at: datetime) -> None:
        """Move the expiry of a standing ban; None makes a manual one permanent.

        Raises:
            LedgerError: No ban of this id stands at ``at``, or an automatic one would never expire.
        """
        with self._database.write() as db:
            bans.change_expiry(db, ban_id, expires_at, at)

    def change_expiries(self, expiries: Mapping[str, datetime], at: datetime) -> None:
        """Move the expiries of many standing bans, id → expiry, in one transaction; as ``change_expiry`` for each."""
        with self._database.write() as db:
            for ban_id, expires_at in expiries.items():
                bans.change_expiry(db, ban_id, expires_at, at)

    def active_bans(self, now: datetime, dry_run: bool = False) -> dict[str, Ban]:
        """Return id → ban of those that stand at ``now``, oldest first: the real ones, or the would-be ones.

        A list that waits to be settled is settled first, but by a reader.
        """
        self._settle_all()
        with many_objects(), self._database.snapshot() as db:
            return self._active_bans.read(db, now, dry_run)

    def _settle_all(self) -> None:
        while not self._database.read_only and self.settle():
            pass

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
        """Return the records of all bans that stand at ``now``, the would-be ones too, oldest first."""
        with self._database.read() as db:
            return bans.active_records(db, now)

    def counted(self, now: datetime) -> dict[str, Counted]:
        """Return ban id → what is known of its packets, for real bans that stand; cheap beside ``active_records``."""
        with self._database.read() as db:
            return bans.counted(db, now)

    def count_bans(self, choice: listing.Choice, now: datetime) -> int:
        """Return how many bans there are, would-be ones too."""
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
        """Return bans that began at ``since`` or later and before ``until``, newest first, the would-be ones too."""
        with self._database.read() as db:
            return bans.bans_since(db, since, limit, offset, until)

    def bans_of(self, network: Network, limit: int = 1000) -> list[BanRecord]:
        """Return bans whose target shares an address with ``network``, newest first, the would-be ones too."""
        with self._database.read() as db:
            return bans.bans_of(db, network, limit)

    def ended_early(self, origin: Origin, since: datetime, now: datetime, but: str = "") -> list[BanRecord]:
        """Return bans of one origin that were ended, not because of ``but``, and would still stand at ``now``."""
        with self._database.read() as db:
            return bans.ended_early(db, origin, since, now, but)

    def offences(self, since: datetime, dry_run: bool = False) -> dict[Network, Offence]:
        """Return target → how often it was banned automatically at ``since`` or later.

        Dry-run counts would-be bans and enforcing counts real ones, so that dry-run costs nobody a longer ban.
        """
        with self._database.read() as db:
            return bans.offences(db, since, dry_run)

    def record_hits(self, hits: Mapping[str, Hits], at: datetime) -> None:
        """Keep what the kernel counted, ban id → hits since it was inserted there; sums survive a restart."""
        with self._database.write() as db:
            bans.record_hits(db, hits, at)

    def record_verdicts(self, verdicts_: Sequence[Verdict], at: datetime, incident: str | None = None) -> None:
        """Keep verdicts, one row per incident, kind, target and policy; beyond a bound they are only counted."""
        with self._database.write() as db:
            verdicts.record_verdicts(db, verdicts_, at, incident)

    def verdicts_since(self, since: datetime, limit: int = 20_000, until: datetime = NEVER) -> list[VerdictRecord]:
        """Return verdicts last given at ``since`` or later and first before ``until``, latest first."""
        with self._database.read() as db:
            return verdicts.verdicts_since(db, since, limit, until)

    def verdicts_of(self, network: Network, limit: int = 1000) -> list[VerdictRecord]:
        """Return verdicts about targets that share an address with ``network``, latest first."""
        with self._database.read() as db:
            return verdicts.verdicts_of(db, network, limit)

    def save_incident(self, incident: Incident) -> None:
        """Write an incident, or its present state over what was written of it before."""
        with self._database.write() as db:
            db.execute(_SAVE_INCIDENT, incident_row(incident))

    def incidents_since(self, since: datetime, limit: int = 1000) -> list[Incident]:
        """Return incidents that were under way at ``since`` or later, the latest begun first."""
        with self._database.read() as db:
            rows = db.execute(
                f"SELECT {INCIDENT_COLUMNS} FROM incident WHERE ended_at IS NULL OR ended_at >= ? "  # noqa: S608  # constants only
                "ORDER BY started_at DESC, seq DESC LIMIT ?",
                (to_us(since), limit),
            )
            return [incident_of(row) for row in rows]

    def record_action(self, at: datetime, kind: str, text: str, *, wait: bool = True) -> None:
        """Keep one sentence about what synguard or a person did; ``wait`` for other writers, as everything else does.

        Raises:
            LedgerError: Also where somebody else writes at this moment and it shall not wait.
        """
        with self._database.write(wait=wait) as db:
            db.execute("INSERT INTO action (at, kind, text) VALUES (?, ?, ?)", (to_us(at), kind, text))

    def actions_since(self, since: datetime, limit: int = 1000) -> list[ActionRecord]:
        """Return actions at ``since`` or later, latest first."""
        with self._database.read() as db:
            rows = db.execute(
                "SELECT at, kind, text FROM action WHERE at >= ? ORDER BY seq DESC LIMIT ?", (to_us(since), limit)
            )
            return [ActionRecord(from_us(at), kind, text) for at, kind, text in rows]

    def add_history(self, stretches: Sequence[Stretch]) -> None:
        """Keep what was seen of the whole host; waits for nobody.

        Raises:
            LedgerError: Also where somebody else writes at this moment; nothing is written then.
        """
        with self._database.write(wait=False) as db:
            history.add(db, stretches)

    def history(self, since: datetime, until: datetime, grain_s: float) -> list[Stretch]:
        """Return what was seen between two times, earliest first, made one per ``grain_s`` seconds.

        Where nobody watched there is none; older history is kept more coarsely, so that there may be fewer.
        """
        with self._database.read() as db:
            return history.between(db, since, until, grain_s)

    def record_false_positives(self, seen: Sequence[FalsePositives]) -> None:
        """Keep whom would-be bans would have turned away, over what was kept of the same ban; waits for nobody.

        Raises:
            LedgerError: Also where somebody else writes at this moment; nothing is written then.
        """
        with self._database.write(wait=False) as db:
            false_positives.record(db, seen)

    def false_positives_since(self, since: datetime) -> dict[str, FalsePositives]:
        """Return ban id → whom that would-be ban would have turned away at ``since`` or later, and before."""
        with self._database.read() as db:
            return {one.ban_id: one for one in false_positives.since(db, since)}

    def prune(self, now: datetime) -> int:
        """Drop what is older or more than the limits allow, a bounded piece a call; return how many rows went.

        Active bans stay whatever the limits say. History is made coarser with age before it goes.
        """
        with self._database.write() as db:
            return history.thin(db, now) + pruning.prune(db, self._limits, now)
