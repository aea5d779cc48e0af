"""The ledger: what we want, what was decided and why, in one SQLite file that agent and verbs share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from synguard.incidents import Incident
from synguard.ledger import (
    actions,
    active_drops,
    arrivals,
    bans,
    false_positives,
    history,
    incidents,
    pruning,
    undo,
    verdicts,
)
from synguard.ledger.arrivals import Arrivals
from synguard.ledger.database import Database
from synguard.ledger.reader import LedgerReader
from synguard.ledger.records import FalsePositives, Stretch
from synguard.memory import many_objects
from synguard.model import Ban, Hits, Verdict
from synguard.policy.models import LedgerLimits

LEDGER_FILE: Final = "ledger.db"
"""Its name in the state directory."""


class Ledger(LedgerReader):  # wide: a method for each thing that is kept
    """A connection that also writes; every method that does is one transaction: all of it happens, or none.

    All that ``LedgerReader`` says of errors, times and threads holds here too.
    """

    @classmethod
    def open(cls, path: Path, limits: LedgerLimits = LedgerLimits(), patience_s: float = 5.0) -> Ledger:  # noqa: B008  # frozen
        """Open or create the ledger; its directory is made for its owner alone, and so is the file.

        Other processes may have it open too. ``patience_s`` is how long to wait for their writes.

        Raises:
            LedgerError: The file is damaged, of a newer version, of another program, or cannot be opened.
                A file that is there is never recreated.
        """
        return cls(Database(path, patience_s), limits)

    def hurry(self, patience_s: float) -> None:
        """Wait no longer than this for others' writes, and keep little in memory: for an agent, with ticks to keep."""
        self._database.hurry(patience_s)

    def add_bans(self, bans_: Sequence[Ban], renewed: Sequence[Ban] = ()) -> tuple[Ban, ...]:
        """Write bans; an active ban of the same target, scope, ports and dry-run is ended as ``replaced``.

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

    def settle(self) -> bool:
        """Write the next piece of what was noted; return whether there was one."""
        if not self.arriving():
            return False
        with self._database.write() as db:
            return arrivals.settle(db)

    def _settle_all(self) -> None:
        while self.settle():
            pass

    def move_bans(self, expiries: Mapping[str, datetime]) -> None:
        """Let bans end then, id → expiry; ids unknown or already ended are left as they are."""
        with self._database.write() as db:
            bans.move_expiries(db, expiries)

    def end_bans(self, ids: Iterable[str], at: datetime, why: str) -> None:
        """End active bans ahead of their expiry; ids unknown or already ended are left as they are."""
        with self._database.write() as db:
            bans.end_bans(db, ids, at, why)

    def undo(
        self,
        ids: Sequence[str],
        expiries: Mapping[str, datetime | None],
        at: datetime,
        why: str,
        new_id: Callable[[], str],
    ) -> list[str]:
        """Undo an order: end its new bans, and let the others end as before, id → expiry.

        What it replaced, and no one else ended since, stands again with a new id; these are returned.
        """
        with self._database.write() as db:
            bans.move_expiries(db, expiries)
            return undo.undo(db, ids, at, why, new_id)

    def change_expiries(self, expiries: Mapping[str, datetime | None], at: datetime) -> None:
        """Move the expiries of active bans, id → expiry, all or none; None makes a manual one permanent.

        Raises:
            LedgerError: One of the ids does not stand at ``at``, or an automatic ban would never expire.
        """
        with self._database.write() as db:
            for ban_id, expires_at in expiries.items():
                bans.change_expiry(db, ban_id, expires_at, at)

    def record_hits(self, hits: Mapping[str, Hits], at: datetime) -> None:
        """Keep what the kernel counted, ban id → hits since it was inserted there; sums survive a restart."""
        with self._database.write() as db:
            bans.record_hits(db, hits, at)

    def record_verdicts(self, verdicts_: Sequence[Verdict], at: datetime, incident: str | None = None) -> None:
        """Keep verdicts, one row per incident, kind, target and policy; beyond a bound they are only counted."""
        with self._database.write() as db:
            verdicts.record_verdicts(db, verdicts_, at, incident)

    def save_incident(self, incident: Incident) -> None:
        """Write an incident, or its present state over what was written of it before."""
        with self._database.write() as db:
            incidents.save_incident(db, incident)

    def record_action(self, at: datetime, kind: str, text: str, *, wait: bool = True) -> None:
        """Keep one sentence about what synguard or a person did; ``wait`` for other writers, as everything else does.

        Raises:
            LedgerError: Also where somebody else writes at this moment and it shall not wait.
        """
        with self._database.write(wait=wait) as db:
            actions.record_action(db, at, kind, text)

    def add_history(self, stretches: Sequence[Stretch]) -> None:
        """Keep what was seen of the whole host; waits for no one.

        Raises:
            LedgerError: Also where somebody else writes at this moment; nothing is written then.
        """
        with self._database.write(wait=False) as db:
            history.add(db, stretches)

    def record_false_positives(self, seen: Sequence[FalsePositives]) -> None:
        """Keep whom dry-run bans would have turned away, over what was kept of the same ban; waits for no one.

        Raises:
            LedgerError: Also where somebody else writes at this moment; nothing is written then.
        """
        with self._database.write(wait=False) as db:
            false_positives.record(db, seen)

    def prune(self, now: datetime) -> int:
        """Drop what is older or more than the limits allow, a bounded piece a call; return how many rows went.

        Active bans stay whatever the limits say. History is made coarser with age before it goes.
        """
        with self._database.write() as db:
            return history.thin(db, now) + pruning.prune(db, self._limits, now)
