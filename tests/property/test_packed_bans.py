"""Bans in columns are what a dict of them would be, whatever comes and goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.addresses import covers
from synguard.ban_columns import microseconds
from synguard.columns import RowIndex, TextColumn
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.reconcile.delta import as_kernel_bans
from synguard.ledger import Ledger
from synguard.ledger.ban_changes import BanChanges
from synguard.model import NO_HITS, Ban, Evidence, Origin, Signal
from synguard.packed_bans import PackedBans
from synguard.syn_header import SynHeader
from tests.property.test_reconciler import TARGETS, one_ban
from tests.support.bans import ban
from tests.support.manual_clock import START

NETWORKS = [ban("x", target).target for target in TARGETS]
STEPS = st.lists(st.one_of(one_ban(), st.sampled_from("abcde")), max_size=30)


@given(STEPS, st.booleans(), st.sampled_from([0, 2, 1_024]))
def test_columns_hold_what_a_dict_holds(steps: list[Ban | str], asked: bool, late: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synguard.ban_columns.LATE", late)
        packed, plain = PackedBans(), dict[str, Ban]()
        for step in steps:
            if asked:
                packed.of(NETWORKS[0])
            if isinstance(step, str):
                assert packed.pop(step) == plain.pop(step, None)
                continue
            packed.put(step)
            plain.pop(step.id, None)
            plain[step.id] = step
            assert list(packed.items()) == list(plain.items())
        for network in NETWORKS:
            assert packed.of(network) == [one for one in plain.values() if one.target == network]
            around = {one.id for one in plain.values() if covers(one.target, network)}
            assert {one.id for one in packed.around(network)} == around
        for seconds in (0, 1, 5, 60, 600):
            now = START + timedelta(seconds=seconds)
            ended = {one.id for one in plain.values() if not one.active(now)}
            assert set(packed.ended(microseconds(now))) == ended
            assert (packed.next_end <= microseconds(now)) == bool(ended)


@given(STEPS)
def test_of_bans_of_one_id_that_come_at_once_the_last_stays(steps: list[Ban | str]) -> None:
    """The first stayed, against what is promised and what happens to those that come one by one."""
    bans = [one for one in steps if isinstance(one, Ban)]
    one_by_one = PackedBans()
    for one in bans:
        one_by_one.put(one)
    assert list(PackedBans(bans).items()) == list(one_by_one.items())


@given(st.lists(STEPS, max_size=4), st.booleans(), st.sampled_from([0, 2, 1_024]))
def test_many_that_come_at_once_are_as_if_they_came_one_by_one(
    batches: list[list[Ban | str]], asked: bool, late: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synguard.ban_columns.LATE", late)
        packed, plain = PackedBans(), PackedBans()
        for batch in batches:
            if asked:
                packed.of(NETWORKS[0])
            bans = [one for one in batch if isinstance(one, Ban)]
            coming = PackedBans(bans)
            for one in filter(lambda one: isinstance(one, str), batch):
                coming.discard(str(one))
            assert set(coming.common(packed)) == coming.keys() & packed.keys()
            rivals = coming.rivals(packed, coming.rows)
            for one, rival in zip(coming.values(), rivals.tolist(), strict=True):
                assert rival or len(packed.of(one.target)) + len(coming.of(one.target)) == 1
            for ports, rows in coming.groups(lambda one: one.ports):
                assert [one.ports for one in coming.bans(rows)] == [ports] * len(rows)
            assert sum(len(rows) for _, rows in coming.groups(lambda one: one.ports)) == len(coming)
            some = coming.rows[::2]
            packed.put_many(coming, some)
            for one in coming.bans(some):
                plain.put(one)
            assert list(packed.items()) == list(plain.items())
            assert packed.next_end == plain.next_end
            for network in NETWORKS:
                assert packed.of(network) == plain.of(network)
            manual = [one for one in plain.values() if one.origin is Origin.MANUAL]
            assert [*packed.select(lambda origin, _: origin is Origin.MANUAL)] == manual


@given(STEPS, STEPS)
def test_what_differs_is_what_is_held_otherwise(one: list[Ban | str], other: list[Ban | str]) -> None:
    wanted = {ban.id: ban for ban in one if isinstance(ban, Ban)}
    held = {ban.id: as_kernel_bans(ban, NO_HITS) for ban in other if isinstance(ban, Ban)}
    as_held = {id_: as_kernel_bans(ban, NO_HITS) for id_, ban in wanted.items()}
    columns = HeldBans(held)
    assert dict(columns) == held
    differing = {id_ for id_ in wanted.keys() | held.keys() if as_held.get(id_) != held.get(id_)}
    assert sorted(PackedBans(wanted.values()).differing(columns.rows)) == sorted(differing)
    targets = {ban.target for ban in held.values()}
    lacking = [ban for ban in wanted.values() if ban.target not in targets]
    assert list(PackedBans(wanted.values()).elsewhere(columns.rows)) == lacking


def test_one_ban_that_is_gone_does_not_make_the_ids_of_all_others_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100,000 that took 0.1 s, in a tick that took over a list; cut out are rows of which many are gone."""
    packed = PackedBans(ban(str(n), f"198.51.{n >> 8}.{n & 255}", start=START) for n in range(1_000))
    packed.discard("7")
    asked = list[int]()
    real = TextColumn.__getitem__
    monkeypatch.setattr(TextColumn, "__getitem__", lambda self, row: asked.append(row) or real(self, row))
    for n in range(1_000, 3_000):
        packed.put(ban(str(n), f"198.51.{n >> 8}.{n & 255}", start=START))
    for n in range(10, 2_500):
        packed.discard(str(n))
    assert len(asked) == 2_490
    assert list(packed) == [str(n) for n in (*range(7), 8, 9, *range(2_500, 3_000))]


def test_a_key_that_comes_again_and_again_is_sorted_in_like_any_other() -> None:
    index, keys = RowIndex(), [7, 7, 7]
    for row, key in enumerate(keys):
        index.put(key, row)
    assert (index.late, list(index.rows(7, keys.__getitem__))) == (3, [0, 1, 2])
    index.sort(np.array(keys, np.uint64))
    assert (index.late, list(index.rows(7, keys.__getitem__))) == (0, [0, 1, 2])


@pytest.mark.parametrize("many", [3, 10_000])
def test_an_index_tells_which_keys_it_has(many: int) -> None:
    """Few are looked up one by one, many all at once."""
    known = np.arange(0, 2 * many, 2, dtype=np.uint64)
    index = RowIndex()
    index.sort(known[:-1])
    index.put(2 * many - 2, many - 1)
    found = index.has(np.arange(2 * many, dtype=np.uint64), known.item, lambda: known)
    assert found.tolist() == [True, False] * many


def test_a_ban_with_all_that_it_may_have_comes_back_as_it_was(tmp_path: Path) -> None:
    evidence = (Evidence(Signal.SYN_RATE, 312.5, 64, (80, 443), 3, 12.0),)
    full = replace(
        ban("m0123456789ab", "2001:db8::/64", start=START, ports=(80, 443)),
        origin=Origin.CROWDSEC, reason="because", score=130.5, times=3, evidence=evidence, forced=True, dry_run=True,
    )  # fmt: skip
    assert PackedBans([full])[full.id] == full
    drop = replace(full, id="h1", target=NETWORKS[0], header=SynHeader((40, 64), 512, 0, 0, 40), dry_run=False)
    for_good = replace(ban("p1", "192.0.2.0/24", start=START), origin=Origin.MANUAL, expires_at=None)
    bans = [replace(full, dry_run=False), drop, for_good]
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.add_bans(bans)
        came = ledger.take_changes(BanChanges(dry_run=False), START).came
    assert list(came.values()) == bans


LEDGER = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.booleans(), one_ban()),
        st.tuples(st.just("end"), st.booleans(), st.integers(0, 20)),
        st.tuples(st.just("look"), st.sampled_from([None, 1, 2]), st.sampled_from([0, 2, 70, -30])),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(LEDGER)
def test_who_follows_the_ledger_knows_what_stands(steps: list[tuple[str, bool | int | None, Ban | int]]) -> None:
    """By its own writes and those of another process; bans that ended in their time are the follower's to drop."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.sqlite"
        with Ledger.open(path) as mine, Ledger.open(path) as other:
            changes, known, now = BanChanges(dry_run=False), dict[str, Ban](), START
            ids = list[str]()
            for what, how, thing in [*steps, ("look", None, 0)]:
                if what == "add" and isinstance(thing, Ban):
                    one = replace(thing, id=f"b{len(ids)}", created_at=now, ports=tuple(sorted(thing.ports)))
                    if one.expires_at is None:
                        one = replace(one, origin=Origin.MANUAL)
                    ids.append(one.id)
                    (mine if how else other).add_bans([one])
                    if how:
                        known[one.id] = one
                        changes.wrote([one.id])
                elif what == "end" and ids:
                    other.end_bans([ids[int(str(thing)) % len(ids)]], now, "by hand")
                elif what == "look":
                    now += timedelta(seconds=int(str(thing)))
                    left = True
                    while left:
                        seen = mine.take_changes(changes, now, how if how is None else int(how))
                        left = seen.left
                        for id_ in [*seen.gone, *(known.keys() - seen.standing if seen.standing is not None else ())]:
                            known.pop(id_, None)
                        known |= seen.came
                    assert {id_: one for id_, one in known.items() if one.active(now)} == other.active_bans(now)
