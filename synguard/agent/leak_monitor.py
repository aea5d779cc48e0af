"""What comes of a leak: its likely cause, a line in the log and the ledger, and its place in the status."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from synguard.addresses import format_network
from synguard.agent.leaks import Leak, LeakDetector
from synguard.agent.ledger_writer import ledger_failures_logged
from synguard.agent.new_sockets import NewSockets
from synguard.decision.bans import ActiveBans
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.plane import Bypass
from synguard.enforcer.reconcile.outcome import Outcome
from synguard.logs import event
from synguard.model import Action, Ban, KernelBan
from synguard.plain import count
from synguard.socket_table import SocketTable
from synguard.status.model import LeakStatus

log: Final = logging.getLogger(__name__)

ACTION: Final = "leak"
"""The kind of what is recorded of leaks."""
LEAKS_SHOWN: Final = 3
"""Leaks that get a log line of their own at one moment, and a place among the problems; the rest are a number."""

Recorder = Callable[[datetime, str, str], None]
Offloads = Callable[[], bool]


class PacketCounts(Mapping[str, int]):
    """Ban id → packets, as the kernel was last seen to hold it; a covered ban has those of the one that covers it."""

    def __init__(self, held: Mapping[str, KernelBan], covered: Mapping[str, str]) -> None:
        self._held = held
        self._covered = {ban_id: by for ban_id, by in covered.items() if by in held}

    def __getitem__(self, ban_id: str) -> int:
        key = self._covered.get(ban_id, ban_id)
        if isinstance(self._held, HeldBans) and not self._held.is_counted(key):
            raise KeyError(ban_id)
        return self._held[key].hits.packets

    def __iter__(self) -> Iterator[str]:
        return iter({**self._covered, **self._held})

    def __len__(self) -> int:
        return len(self._held.keys() | self._covered.keys())


class LeakMonitor:
    """Watches whether what is banned still arrives."""

    def __init__(self, record: Recorder, show_command: str, offloads: Offloads = lambda: False) -> None:
        self._record = record
        self._show_command = show_command
        self._offloads = offloads
        self._new_sockets = NewSockets()
        self._leaks = LeakDetector()
        self._read_at: datetime | None = None
        self._reported: dict[str, LeakStatus] = {}

    def observe(
        self, place: str, rows: SocketTable, kind: str, active_bans: ActiveBans, now: float, utc: datetime
    ) -> None:
        """Take in the sockets of banned sources in one table of one network namespace."""
        for ban, number in self._new_sockets.of(f"{kind} {place}", rows, active_bans, utc):
            self._leaks.saw(ban.id, number, place, now)

    def read(self, outcome: Outcome | None, bans: Mapping[str, Ban], now: float, utc: datetime) -> None:
        """Hold arrivals against the counters, where they were read back since the last call; tell what is new.

        ``outcome`` is None while the plane does not hold what is wanted: nothing is to be proven then.
        """
        if outcome is None or outcome.drift or outcome.change.frame:
            self._leaks.forget()
            self._settle(bans, utc)
            return
        if outcome.read_at is None or outcome.read_at == self._read_at:
            return
        self._read_at = outcome.read_at
        fresh = self._leaks.read(PacketCounts(outcome.held, outcome.covered), now)
        for leak in self._leaks.leaks:
            if leak.ban_id in bans and leak.ban_id not in self._reported:
                self._reported[leak.ban_id] = self._status(leak, bans[leak.ban_id], outcome.foreign, utc)
        self._tell([self._reported[leak.ban_id] for leak in fresh if leak.ban_id in self._reported], utc)
        self._settle(bans, utc)

    @property
    def leaks(self) -> tuple[LeakStatus, ...]:
        """The leaks that stand, for the status."""
        return tuple(self._reported.values())

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each of the first leaks, and one for the rest."""
        more = len(self._reported) - LEAKS_SHOWN
        rest = (f"{count(more, 'more ban is', 'more bans are')} banned but still arriving",) if more > 0 else ()
        return tuple(leak.text for leak in self.leaks[:LEAKS_SHOWN]) + rest

    def _status(self, leak: Leak, ban: Ban, foreign: Iterable[str], utc: datetime) -> LeakStatus:
        cause = likely_cause(ban, leak.place, foreign, self._show_command, offloads=self._offloads)
        target = format_network(ban.target)
        return LeakStatus(
            target=target,
            ban=ban.id,
            since=utc,
            cause=cause,
            text=f"banned but still arriving: {target} (ban {ban.id}) has new connections while its counter stands "
            f"still at {count(leak.base, 'packet')}; likely cause: {cause}",
        )

    def _tell(self, fresh: list[LeakStatus], utc: datetime) -> None:
        for leak in fresh[:LEAKS_SHOWN]:
            log.error("%s", leak.text, extra=event("leak", target=leak.target, ban=leak.ban))
        if len(fresh) > LEAKS_SHOWN:
            more = len(fresh) - LEAKS_SHOWN
            text = "%s banned but still arriving; see: synguard status"
            log.error(text, count(more, "more ban is", "more bans are"), extra=event("leaks", count=more))
        for leak in fresh[:LEAKS_SHOWN]:
            self._note(utc, leak.text)

    def _settle(self, bans: Mapping[str, Ban], utc: datetime) -> None:
        active_bans = {leak.ban_id for leak in self._leaks.leaks} & bans.keys()
        for ban_id in self._reported.keys() - active_bans:
            leak = self._reported.pop(ban_id)
            if ban_id in bans:
                text = f"{leak.target} (ban {ban_id}) no longer arrives"
                log.info("%s", text, extra=event("leak", target=leak.target, ban=ban_id))
                self._note(utc, text)

    def _note(self, utc: datetime, text: str) -> None:
        with ledger_failures_logged():
            self._record(utc, ACTION, text)


def likely_cause(
    ban: Ban, place: str, foreign: Iterable[str], show_command: str, *, offloads: Offloads = lambda: False
) -> str:
    """Return why packets of a banned target probably pass by our rules, and where to look.

    ``foreign`` are the plane's words on foreign rules; ``place`` is the network namespace of the sockets.
    """
    for stranger in foreign:
        if isinstance(stranger, Bypass) and stranger.version == ban.target.version:
            return f"{stranger}; move it behind the jump, or let it accept less"
    if place:
        return (
            f"its sockets live in network namespace {place}, and packets may get there past this host's hooks "
            "(macvlan, ipvlan, or a device moved there); run a synguard of its own in it"
        )
    for stranger in foreign:
        return f"foreign rules among ours may let it pass: {stranger}"
    if offloads():
        return "a flowtable takes established flows past every rule (nft list flowtables); remove its device"
    answers = " in INPUT or FORWARD" if ban.action is Action.REJECT else ""
    return (
        f"not known; a rule or chain ahead of ours{answers} that ends its way, or traffic that does not cross this "
        f"network namespace's IPv{ban.target.version} hooks; look with {show_command}"
    )
