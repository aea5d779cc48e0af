"""Whatever is written in whatever order, the ledger says what a plain list would."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from synguard.addresses import Network, overlaps
from synguard.errors import LedgerError
from synguard.ledger import Ledger
from synguard.ledger.rows import from_us, network_columns, network_of, to_us
from synguard.model import Action, Ban, Evidence, Origin, Scope, Signal, Verdict, VerdictKind
from synguard.policy.models import LedgerLimits

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TARGETS = [
    IPv4Network("192.0.2.7/32"),
    IPv4Network("192.0.2.0/24"),
    IPv4Network("198.51.100.0/24"),
    IPv6Network("2001:db8::/64"),
    IPv6Network("2001:db8::/32"),
]
EVIDENCE = st.builds(
    Evidence,
    st.sampled_from(Signal),
    st.floats(0, 1e9),
    st.floats(0.1, 1e7),
    st.lists(st.integers(1, 65535), max_size=3).map(tuple),
    st.integers(1, 10**6),
    st.floats(0, 1e6),
)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_comes_back_to_the_microsecond(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment


@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**128 - 1), st.integers(0, 128))
def test_a_network_comes_back(v4: int, v4_length: int, v6: int, v6_length: int) -> None:
    for network in (IPv4Network((v4, v4_length), strict=False), IPv6Network((v6, v6_length), strict=False)):
        version, prefixlen, first, last = network_columns(network)
        assert network_of(version, prefixlen, first) == network
        assert last == network.broadcast_address.packed


@settings(max_examples=50)
@given(st.lists(EVIDENCE, max_size=3).map(tuple), st.text(st.characters(exclude_categories=["Cs"])), st.floats(0, 1e12))
def test_any_evidence_and_reason_comes_back(evidence: tuple[Evidence, ...], reason: str, score: float) -> None:
    with tempfile.TemporaryDirectory() as made, Ledger.open(Path(made) / "l.db") as ledger:
        verdict = Verdict(VerdictKind.SPARE, TARGETS[0], score, "p", reason, evidence)
        ledger.record_verdicts([verdict], START, "i")
        assert [record.verdict for record in ledger.verdicts_since(START)] == [verdict]


@dataclass
class Entry:
    """One ban as a plain list would keep it."""

    ban: Ban
    ended: bool = False

    def key(self) -> tuple[object, ...]:
        return self.ban.target, self.ban.scope, self.ban.ports, self.ban.dry_run


@dataclass
class PlainList:
    """What the ledger must agree with."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, ban: Ban) -> None:
        new = Entry(ban)
        for entry in self.entries:
            if not entry.ended and entry.key() == new.key():
                by_hand = entry.ban.origin is Origin.MANUAL and entry.ban.active(ban.created_at)
                if by_hand and ban.origin is Origin.AUTO:
                    new.ended = True
                else:
                    entry.ended = True
        self.entries.append(new)

    def active(self, now: datetime, dry_run: bool) -> dict[str, Ban]:
        active_bans = (one.ban for one in self.entries if not one.ended and one.ban.active(now))
        return {ban.id: ban for ban in active_bans if ban.dry_run is dry_run}


class LedgerAgainstPlainList(RuleBasedStateMachine):
    """Two connections, as agent and verb have them; the clock may jump either way."""

    @initialize()
    def open(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        path = Path(self.directory.name) / "ledger.db"
        limits = LedgerLimits.model_validate({"keep": "1h"})
        self.ledgers = [Ledger.open(path, limits), Ledger.open(path, limits)]
        self.plain = PlainList()
        self.now = START

    @rule(seconds=st.integers(-5000, 5000))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(
        who=st.integers(0, 1),
        network=st.sampled_from(TARGETS),
        scope=st.sampled_from(Scope),
        origin=st.sampled_from(Origin),
        dry_run=st.booleans(),
        seconds=st.integers(1, 3000),
        ports=st.sampled_from([(), (80,), (22, 80)]),
    )
    def ban(
        self,
        who: int,
        network: Network,
        scope: Scope,
        origin: Origin,
        dry_run: bool,
        seconds: int,
        ports: tuple[int, ...],
    ) -> None:
        ban = Ban(
            id=f"b{len(self.plain.entries)}",
            target=network,
            scope=scope,
            action=Action.DROP,
            origin=origin,
            policy="p",
            reason="r",
            created_at=self.now,
            expires_at=self.now + timedelta(seconds=seconds),
            ports=ports if scope is Scope.NEW else (),
            dry_run=dry_run,
        )
        self.plain.add(ban)
        self.ledgers[who].add_bans([ban])

    @rule(who=st.integers(0, 1), choice=st.integers(0, 100))
    def unban(self, who: int, choice: int) -> None:
        if self.plain.entries:
            entry = self.plain.entries[choice % len(self.plain.entries)]
            self.ledgers[who].end_bans([entry.ban.id], self.now, "unbanned")
            entry.ended = True

    @rule(who=st.integers(0, 1), choice=st.integers(0, 100), seconds=st.integers(1, 9000))
    def extend(self, who: int, choice: int, seconds: int) -> None:
        if not self.plain.entries:
            return
        entry = self.plain.entries[choice % len(self.plain.entries)]
        until = self.now + timedelta(seconds=seconds)
        stands = not entry.ended and entry.ban.active(self.now)
        try:
            self.ledgers[who].change_expiries({entry.ban.id: until}, self.now)
        except LedgerError:
            assert not stands
        else:
            assert stands
            entry.ban = replace(entry.ban, expires_at=until)

    @rule(who=st.integers(0, 1))
    def prune(self, who: int) -> None:
        self.ledgers[who].prune(self.now)
        horizon = self.now - timedelta(hours=1)
        for entry in self.plain.entries:  # what a prune drops does not come back when the clock does
            if entry.ban.expires_at is not None and entry.ban.expires_at < horizon:
                entry.ended = True

    @invariant()
    def both_connections_say_what_the_list_says(self) -> None:
        for ledger in getattr(self, "ledgers", []):
            for dry_run in (False, True):
                assert ledger.active_bans(self.now, dry_run) == self.plain.active(self.now, dry_run)
            active_bans = {record.ban.id for record in ledger.active_records(self.now)}
            assert active_bans == {*self.plain.active(self.now, False), *self.plain.active(self.now, True)}

    @invariant()
    def a_question_about_a_network_finds_what_overlaps_it(self) -> None:
        for ledger in getattr(self, "ledgers", [])[:1]:
            kept = {record.ban.id: record.ban.target for record in ledger.bans_since(START - timedelta(days=365))}
            for asked in TARGETS:
                found = {record.ban.id for record in ledger.bans_of(asked)}
                assert found == {id_ for id_, target in kept.items() if overlaps(target, asked)}

    def teardown(self) -> None:
        for ledger in getattr(self, "ledgers", []):
            ledger.close()
        if hasattr(self, "directory"):
            self.directory.cleanup()


TestLedgerAgainstPlainList = LedgerAgainstPlainList.TestCase
TestLedgerAgainstPlainList.settings = settings(max_examples=40, stateful_step_count=25)
