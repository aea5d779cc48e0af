"""Looking at the host at a bounded pace: status file, ledger, kernel; the socket table where no agent speaks for it.

Nothing here asks the agent anything, writes, or takes a lock that the agent waits for longer than one read lasts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from synguard.clock import utcnow
from synguard.errors import LedgerError, NotPermittedError, SensorError, SynguardError
from synguard.ledger import LEDGER_FILE, LedgerReader
from synguard.model import KernelBan
from synguard.status.freshness import agent_runs
from synguard.status.model import read_status
from synguard.top.snapshot import GRAIN_S, LATELY, KernelSnapshot, Snapshot, SnapshotSockets

if TYPE_CHECKING:
    from synguard.policy.models import Config

SHARE: Final = 0.05
"""Share of one core that reading the kernel, the ledger and the socket table may cost, each."""


class PollPace:
    """Says when something may be done again: every so often, and more rarely where it costs more than its share.

    The first time does not count: it loads and opens what the later ones use.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next_s = float("-inf")
        self._first = True

    def due(self, now_s: float) -> bool:
        """Return whether it may be done at this monotonic moment."""
        return now_s >= self._next_s

    def done(self, began_s: float, ended_s: float) -> None:
        """Note that it was done between two moments."""
        cost_s = 0.0 if self._first else (ended_s - began_s) / SHARE
        self._first = False
        self._next_s = began_s + max(self._every_s, cost_s)


class Poller:
    """Looks again and again; one belongs to one thread, since a ledger's connection does.

    ``kernel`` returns what the kernel holds, and raises as a plane's ``read`` does; ``sockets`` reads the socket table.
    """

    def __init__(
        self,
        config: Config,
        kernel: Callable[[], Mapping[str, KernelBan]],
        sockets: Callable[[], SnapshotSockets],
        every_s: float,
        utcnow: Callable[[], datetime] = utcnow,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._read_kernel = kernel
        self._read_sockets = sockets
        self._utcnow = utcnow
        self._monotonic = monotonic
        self._paces = {name: PollPace(every_s) for name in ("ledger", "kernel", "sockets")}
        self._ledger: LedgerReader | None = None
        self._last = Snapshot(utcnow(), config.mode, config.policies)
        self._told: dict[str, str] = {}
        """Part → why it cannot be seen now."""

    def glance(self) -> Snapshot:
        """Return what costs next to nothing to see: the agent's own words.

        Raises:
            NotPermittedError: This user may not.
        """
        running = agent_runs(self._config.runtime_dir)
        status = None
        try:
            status = read_status(self._config.runtime_dir)
            self._told.pop("status", None)
        except NotPermittedError:
            raise
        except SynguardError as error:
            self._told["status"] = str(error)
        self._last = replace(self._last, at=self._utcnow(), running=running, status=status, troubles=self._troubles())
        return self._last

    def poll(self) -> Snapshot:
        """Return all there is to see; each part is read again once it is due, and is as it was until then.

        Raises:
            NotPermittedError: This user may not read the agent's own words.
        """
        snapshot = self.glance()
        snapshot = self._part("ledger", snapshot, self._with_ledger)
        snapshot = self._part("kernel", snapshot, self._with_kernel)
        snapshot = snapshot.without_sockets() if snapshot.alive else self._part("sockets", snapshot, self._with_sockets)
        self._last = replace(snapshot, at=self._utcnow(), troubles=self._troubles())
        return self._last

    def hurry(self) -> None:
        """Let the next look read ledger and kernel: something was changed by hand."""
        self._paces |= {name: PollPace(0.0) for name in ("ledger", "kernel")}

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _part(self, name: str, snapshot: Snapshot, see: Callable[[Snapshot], Snapshot]) -> Snapshot:
        began = self._monotonic()
        if not self._paces[name].due(began):
            return snapshot
        try:
            snapshot = see(snapshot)
            self._told.pop(name, None)
        except (LedgerError, SensorError, SynguardError) as error:
            denied = isinstance(error, NotPermittedError)
            self._told[name] = f"the {name} is not shown: this user may not read it" if denied else str(error)
            snapshot = _blind(name, snapshot)
        self._paces[name].done(began, self._monotonic())
        return snapshot

    def _with_ledger(self, snapshot: Snapshot) -> Snapshot:
        path = self._config.state_dir / LEDGER_FILE
        if not path.exists():  # no one has banned anything yet; or it was moved aside
            self.close()
            return replace(snapshot, bans={}, counted={})
        if self._ledger is None:
            self._ledger = LedgerReader.open(path, self._config.ledger, patience_s=1.0)
        now = self._utcnow()
        try:
            bans = self._ledger.active_bans(now) | self._ledger.active_bans(now, dry_run=True)
            lately = tuple(self._ledger.history(now - LATELY, now, GRAIN_S))
            return replace(snapshot, bans=bans, counted=self._ledger.counted(now), lately=lately)
        except LedgerError:
            self.close()  # the file may have been replaced; the next look opens what is there
            raise

    def _with_kernel(self, snapshot: Snapshot) -> Snapshot:
        held = self._read_kernel()
        return replace(snapshot, kernel=KernelSnapshot(self._monotonic(), held), before=snapshot.kernel)

    def _with_sockets(self, snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, sockets=self._read_sockets())

    def _troubles(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._told.values()))


def _blind(name: str, snapshot: Snapshot) -> Snapshot:
    """Return the sight without what could not be read: an old truth must not pass for a new one."""
    if name == "ledger":
        return replace(snapshot, bans=None, counted={})
    return replace(snapshot, kernel=None, before=None) if name == "kernel" else snapshot.without_sockets()
