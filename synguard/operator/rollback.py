"""Taking back what an enforcement that ended had banned, in the ledger and in the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from synguard.addresses import Network
from synguard.enforcer.plane import Desired
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.ledger import Ledger
from synguard.model import Ban, Origin


class Rollback:
    """Ends the automatic bans that it is about; a person's bans, and earlier ones, stand on.

    It may be carried out again and again until it succeeds; doing it twice is doing it once.
    """

    def __init__(
        self,
        ledger: Ledger,
        reconciler: Callable[[], Reconciler],
        is_of_it: Callable[[Ban], bool],
        why: str,
        *,
        thorough: bool,
    ) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._is_of_it = is_of_it
        self.why = why
        self._thorough = thorough
        self._begun = False

    def carry_out(self, protected: Iterable[Network], now: datetime) -> None:
        """End them in the ledger, then bring the kernel to what is left; where nothing is left, nothing of ours stays.

        Without ``thorough`` the kernel is not touched where no such ban stands: that is for a start long after.

        Raises:
            LedgerError: They cannot be ended.
            PlaneError: The kernel did not let go of them.
            NotPermittedError: This process may not change the kernel.
        """
        active_bans = self._ledger.active_bans(now)
        gone = [ban.id for ban in active_bans.values() if ban.origin is Origin.AUTO and self._is_of_it(ban)]
        if not (gone or self._begun or self._thorough):
            return
        if gone:
            self._ledger.end_bans(gone, now, self.why)
        self._begun = True
        reconciler = self._reconciler()

        def rest(_whole: bool) -> Desired:
            """Return what stands on, with what a person banned meanwhile; asked once no one else can apply."""
            return Desired.of(self._ledger.active_bans(now).values(), protected, reconciler.plane.read().proven, now)

        if not self._ledger.active_bans(now):
            reconciler.flush()
        if self._ledger.active_bans(now):
            reconciler.reconcile(Desired(), now, full=True, latest=rest)
