"""Whatever comes and goes, in any order: counts, plane and followers say what the bans themselves say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from synguard.agent.tracked_bans import EARLIEST, TrackedBans
from synguard.ledger.ban_changes import ChangedBans
from synguard.model import Ban, Origin
from synguard.packed_bans import PackedBans
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CEILING = 3
IDS = st.sampled_from("abcde")


def made(name: str, seconds: int, automatic: bool) -> Ban:
    one = ban(name, f"192.0.2.{ord(name)}", seconds=seconds, start=START)
    return replace(one, origin=Origin.AUTO if automatic else Origin.MANUAL)


BANS = st.builds(made, IDS, st.integers(1, 90), st.booleans())
LISTS = st.lists(BANS, max_size=5).map(lambda found: {one.id: one for one in found})
BY_HAND = LISTS.map(lambda found: {id_.upper(): replace(one, id=id_.upper()) for id_, one in found.items()})
"""Bans of their own: an id stands for one ban."""
STEPS = st.one_of(
    st.tuples(st.just("put"), BANS, st.booleans()),
    st.tuples(st.just("drop"), IDS),
    st.tuples(st.just("expire"), st.integers(1, 100)),
    st.tuples(st.just("become"), LISTS, BY_HAND, st.sampled_from([None, 1, 2])),
    st.tuples(st.just("take")),
)


class Follower:
    """Keeps a view of all bans by changes alone."""

    def __init__(self) -> None:
        self.seen: Counter[Ban] = Counter()

    def took(self, tracked: TrackedBans) -> None:
        arrived, departed = tracked.take_changes()
        self.seen.subtract(departed)
        self.seen.update(arrived.values())

    @property
    def bans(self) -> set[Ban]:
        assert set(self.seen.values()) <= {0, 1}, f"a change was told twice, or one that never was: {self.seen}"
        return {one for one, count in self.seen.items() if count}


def pieces(there: dict[str, Ban], wanted: dict[str, Ban], at_most: int | None) -> Iterator[ChangedBans]:
    """What the ledger would tell of the way to other bans, some at a time, or where it has lost count."""
    gone = [id_ for id_ in there if id_ not in wanted]
    came = list(wanted.values())
    if at_most is None:
        yield ChangedBans(PackedBans(came), (), wanted.keys())
    else:
        for start in range(0, max(len(gone), len(came)), at_most):
            yield ChangedBans(PackedBans(came[start : start + at_most]), gone[start : start + at_most])


def carry_out(tracked: TrackedBans, follower: Follower, step: tuple[object, ...]) -> None:
    match step:
        case ("put", Ban() as one, bool() as known):
            if known:  # as the engine makes them: new ones
                one = replace(one, id=f"known-{sum(follower.seen.values())}-{len(follower.seen)}")
                follower.seen[one] += 1
            tracked.put(PackedBans([one]), known=known)
        case ("drop", str() as name):
            tracked.drop(name)
        case ("expire", int() as seconds):
            now = START + timedelta(seconds=seconds)
            tracked.expire(now, 100)
            assert all(one.active(now) for one in (*tracked.bans.values(), *tracked.by_hand.values()))
            assert not tracked.has_ended(now)
        case ("become", dict() as bans, dict() as by_hand, at_most):
            for of, there, wanted in ((False, tracked.bans, bans), (True, tracked.by_hand, by_hand)):
                for changes in pieces(dict(there), wanted, at_most):
                    tracked.follow(changes, by_hand=of)
            assert (dict(tracked.bans), dict(tracked.by_hand)) == (bans, by_hand)
        case _:
            follower.took(tracked)


@given(st.lists(STEPS, max_size=30))
def test_counts_plane_and_followers_agree_with_the_bans(steps: list[tuple[object, ...]]) -> None:
    tracked = TrackedBans(FakePlane(max_elements=CEILING))
    follower = Follower()
    for step in steps:
        carry_out(tracked, follower, step)
        assert +tracked.counts == Counter((one.origin, one.scope) for one in tracked.bans.values())
        held: Mapping[str, Ban] = tracked.desired.desired((), ()).bans
        assert {id_: held[id_] for id_ in held} == {id_: tracked.bans[id_] for id_ in held}
        assert len(held) <= CEILING
        assert len(held) == len(tracked.bans) or tracked.admission.problem
    follower.took(tracked)
    assert follower.bans == {*tracked.bans.values(), *tracked.by_hand.values()}


@given(st.lists(BANS, min_size=1))
def test_what_began_last_of_automatic_bans_is_known(bans: list[Ban]) -> None:
    tracked = TrackedBans(FakePlane())
    for number, one in enumerate(bans):
        tracked.put(PackedBans([replace(one, created_at=START + timedelta(seconds=number))]))
    latest = [number for number, one in enumerate(bans) if one.origin is Origin.AUTO]
    assert tracked.newest == (START + timedelta(seconds=latest[-1]) if latest else EARLIEST)
