"""A regular look at very many bans takes a bounded piece of each tick: reading, counting, and writing the counts."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from synguard.agent.enforcement import Enforcement
from synguard.agent.ledger_writer import COUNTS_AT_ONCE, LOOKED_AT_ONCE, LedgerWriter
from synguard.agent.totals import Totals
from synguard.enforcer.held_bans import HeldBans, total_hits
from synguard.enforcer.names import Kind
from synguard.enforcer.nftables import plane
from synguard.enforcer.nftables.layout import SetId
from synguard.enforcer.nftables.parser import TableFrame
from synguard.enforcer.reconcile.delta import as_kernel_bans
from synguard.errors import LedgerError
from synguard.ledger import Ledger
from synguard.memory import PIECE_S
from synguard.model import NO_HITS, Hits, KernelBan
from synguard.packed_bans import PackedBans
from tests.support.bans import ban

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_look_pauses_as_often_where_many_small_sets_are_read_as_in_a_large_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each set had a piece of 10 ms of its own, twice: ten sets of 1,000 were read in a tick of 46 ms."""
    spent = 0.0

    def works(*_: object) -> Generator[None, None, list[Any]]:
        nonlocal spent
        spent += 0.6 * PIECE_S
        yield
        return []

    monkeypatch.setattr("synguard.memory.time.thread_time", lambda: spent)
    sets = {SetId(Kind.NEW_DROP, 4, length) for length in range(1, 21)}
    monkeypatch.setattr(plane, "read_frame", lambda _: TableFrame(present=True, sets=sets))
    monkeypatch.setattr(plane, "elements_in_pieces", works)
    monkeypatch.setattr(plane, "take_in_pieces", works)
    pauses, before = 0, spent
    for _ in plane.NftablesPlane(lambda: NOW).read_in_pieces():
        assert spent - before < 2 * PIECE_S
        pauses, before = pauses + 1, spent
    assert pauses == 20


def held(count: int) -> HeldBans:
    bans = (ban(f"b{n}", f"198.51.{n >> 8}.{n & 255}", start=NOW) for n in range(count))
    return HeldBans({one.id: as_kernel_bans(one, Hits(3, 180)) for one in bans})


def test_counts_are_added_up_without_an_object_of_each_ban(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 bans that each had stopped a packet became objects twice, for seconds, in the tick that ended a look."""
    there = held(2)
    there["b0#2"] = KernelBan("b0", *[getattr(there["b0"], name) for name in ("target", "scope", "action")],
                              hits=Hits(4, 240), remains=2)  # fmt: skip
    monkeypatch.setattr(PackedBans, "_ban", lambda *_: pytest.fail("an object was made"))
    assert total_hits(there) == {"b0": Hits(7, 420), "b1": Hits(3, 180)}
    bans = PackedBans([ban("b0", "192.0.2.1"), ban("b1", "192.0.2.2")])
    writer = LedgerWriter(cast("Ledger", None))
    writer.count(there)

    class Told:
        repairs = 0

    Told.writer, Told.bans = writer, bans  # type: ignore[attr-defined]
    assert Totals().status({}, cast("Enforcement", Told)).packets == 10


def test_what_remains_of_a_ban_is_counted_too_where_it_was_read_before_the_ban_itself() -> None:
    there = held(1)
    there["b0#2"] = replace(there["b0"], hits=Hits(4, 240), remains=2)
    there["b0"] = replace(there["b0"], hits=Hits(5, 300))  # as a change during the look does
    assert total_hits(there) == {"b0": Hits(9, 540)}


class Written:
    """A ledger that keeps what it is given, in the batches in which it comes."""

    def __init__(self) -> None:
        self.batches: list[Mapping[str, Hits]] = []
        self.fails = False

    def record_hits(self, hits: Mapping[str, Hits], _: datetime) -> None:
        if self.fails:
            raise LedgerError("full")
        self.batches.append(hits)


def test_a_tick_writes_a_bounded_number_of_counts_and_none_is_lost() -> None:
    ledger, many = Written(), 2 * COUNTS_AT_ONCE + 7
    writer = LedgerWriter(cast("Ledger", ledger))
    there = held(many)
    writer.count(there)
    assert len(writer.hits) == many
    ledger.fails = True
    writer.write_counts(NOW)
    assert writer.problem == "full"
    ledger.fails = False
    for _ in range(4):
        writer.write_counts(NOW)
    assert [len(batch) for batch in ledger.batches] == [COUNTS_AT_ONCE, COUNTS_AT_ONCE, 7]
    assert {id_ for batch in ledger.batches for id_ in batch} == set(there)
    there["b5"] = as_kernel_bans(ban("b5", "198.51.0.5", start=NOW), Hits(9, 540))
    there["b6"] = as_kernel_bans(ban("b6", "198.51.0.6", start=NOW), NO_HITS)
    writer.count(there)
    writer.write_counts(NOW)
    assert ledger.batches[3:] == [{"b5": Hits(9, 540), "b6": NO_HITS}]


def test_while_the_ledger_takes_nothing_no_counts_pile_up_of_bans_that_are_over() -> None:
    ledger, there = Written(), held(9)
    ledger.fails = True
    writer = LedgerWriter(cast("Ledger", ledger))
    writer.count(there)
    writer.write_counts(NOW)
    del there["b3"]
    writer.count(there)
    writer.write_counts(NOW)
    ledger.fails = False
    writer.write_counts(NOW)
    assert [set(batch) for batch in ledger.batches] == [set(there)]


def test_a_tick_compares_a_bounded_number_of_counts_and_one_look_goes_on_behind_another() -> None:
    ledger, compared = Written(), list[str]()
    writer = LedgerWriter(cast("Ledger", ledger))
    hits, more = {f"b{n}": Hits(3, 180) for n in range(LOOKED_AT_ONCE + 5)}, {"b0": Hits(4, 240)}

    class Before(dict[str, Hits]):
        def get(self, ban_id: str, default: Any = None) -> Any:
            compared.append(ban_id)
            return super().get(ban_id, default)

    there = HeldBans()
    there.hits.update(hits)
    writer.hits = Before(hits)
    there.hits.update(more)
    writer.count(there)
    writer.write_counts(NOW)
    assert len(compared) == LOOKED_AT_ONCE
    writer.count(there)
    writer.write_counts(NOW)
    assert len(compared) == len(hits)
    assert ledger.batches == [more]


def test_tables_that_agree_are_compared_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    bans = [ban(f"b{n}", f"198.51.100.{n}", start=NOW) for n in range(4)]
    compared, real = list[int](), PackedBans.agreeing
    monkeypatch.setattr(PackedBans, "agreeing", lambda one, other: compared.append(len(one)) or real(one, other))
    assert not list(PackedBans(bans).differing(PackedBans(bans)))
    assert compared == [4]
    assert list(PackedBans(bans[:3]).differing(PackedBans(bans[1:]))) == ["b0", "b3"]
