"""A prefix is cut so that nothing which is kept is stopped, and no more than its limit is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from synguard.decision.pieces import MOST_PIECES, Offsets, Piece, Range, pieces

BITS = 10
OFFSETS = st.integers(0, 2**BITS - 1)
MEMBERS = st.dictionaries(OFFSETS, st.integers(1, 9).map(float), max_size=60)
KEPT = st.lists(st.tuples(OFFSETS, st.integers(0, 6)), max_size=12).map(
    lambda drawn: [(first >> bits << bits, (first >> bits << bits) + 2**bits - 1) for first, bits in drawn]
)


def columns(offsets: Iterable[int]) -> Offsets:
    high, low = np.array([divmod(one, 2**64) for one in sorted(offsets)], np.uint64).reshape(-1, 2).T
    return high, low


def cut(
    bits: int, members: Mapping[int, float], kept: Iterable[Range], limit: float, spared: Iterable[int] = ()
) -> list[Piece]:
    values = np.array([members[one] for one in sorted(members)], np.float64)
    return pieces(bits, columns(members), values, columns(spared), kept, limit)


def last(piece: Piece) -> int:
    return piece.first + 2**piece.bits - 1


@given(MEMBERS, KEPT, st.integers(0, 80))
def test_what_is_kept_is_in_no_piece_and_the_rest_keeps_the_limit(
    members: dict[int, float], kept: list[tuple[int, int]], limit: int
) -> None:
    found = cut(BITS, members, kept, limit)
    for piece in found:
        inside = [value for offset, value in members.items() if piece.first <= offset <= last(piece)]
        assert (piece.value, piece.members) == (sum(inside), len(inside))
        assert all(end < piece.first or first > last(piece) for first, end in kept)
    stopped = {offset for piece in found for offset in range(piece.first, last(piece) + 1)}
    assert len(stopped) == sum(2**piece.bits for piece in found)
    assert len(found) <= MOST_PIECES
    free = {offset: value for offset, value in members.items() if not any(a <= offset <= b for a, b in kept)}
    left = sum(value for offset, value in members.items() if offset not in stopped)
    assert left <= limit or free.keys() <= stopped or len(found) == MOST_PIECES


@given(MEMBERS, KEPT, st.lists(OFFSETS, max_size=12), st.integers(0, 80), st.sampled_from([0, 54, 60, 70]))
def test_a_spared_address_is_as_one_that_is_kept_and_wide_prefixes_are_cut_as_narrow_ones(
    members: dict[int, float], kept: list[tuple[int, int]], spared: list[int], limit: int, shift: int
) -> None:
    found = cut(BITS, members, [*kept, *((one, one) for one in spared)], limit)
    assert cut(BITS, members, kept, limit, spared) == found
    wide = {offset << shift: value for offset, value in members.items()}
    both = [(first << shift, (end + 1 << shift) - 1) for first, end in [*kept, *((one, one) for one in spared)]]
    assert cut(BITS + shift, wide, both, limit) == [
        Piece(one.first << shift, one.bits + shift, one.value, one.members) for one in found
    ]


def test_one_address_that_is_kept_leaves_a_few_wide_pieces_of_an_ipv6_64() -> None:
    crowd = {number * 2**53: 1.0 for number in range(1, 2000)}
    found = cut(64, crowd, [(1, 1)], 300)
    assert [piece.bits for piece in found] == [63, 62, 61]
    assert sum(piece.members for piece in found) == 1999 - 255


def test_without_anyone_to_keep_the_whole_is_one_piece_and_nothing_below_the_limit() -> None:
    assert cut(8, {3: 5.0, 9: 1.0}, [], 2.0) == [Piece(0, 8, 6.0, 2)]
    assert cut(8, {3: 5.0}, [], 5.0) == []
    assert cut(8, {}, [], 0.0) == []
