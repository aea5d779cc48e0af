"""The rest of a prefix is found by columns: no more work is done one by one for many members than for few."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest

from synguard.addresses import Network, covers, parse_network
from synguard.columns import U64
from synguard.decision.inside import Inside
from synguard.decision.pieces import MOST_PIECES
from synguard.decision.prefix_aggregation import Offender
from synguard.decision.proven import ProvenPeers
from synguard.detector.assessment import Assessment
from synguard.detector.ban_filter import BanFilter
from synguard.detector.columns import halves
from synguard.detector.members import Crowd, SortedRows
from synguard.model import Evidence, Signal
from synguard.policy.models import Policy

LIMIT = 512.0


def columns(target: Network, count: int, first: int) -> tuple[U64, U64]:
    """Return addresses spread over a network, each second one in the second half of it."""
    high, low = halves(target)
    number = np.arange(first, first + count, dtype=np.uint64)
    wide = np.uint64(target.max_prefixlen - target.prefixlen)
    if wide <= 64:
        return np.full(count, high, np.uint64), np.uint64(low) + number // 2 + (number % 2 << wide - np.uint64(1))
    return np.uint64(high) + (number % 2 << wide - np.uint64(65)), np.uint64(low) + number // 2


def rest(target: Network, members: int, served: int = 300) -> tuple[list[Offender], int]:
    """Return what is stopped beside served clients, and how many lines of Python that took."""
    high, low = columns(target, members, served)
    rows = high, low, np.full(members, 80, np.uint16), np.ones(members)
    crowd = Crowd(SortedRows(lambda: rows), BanFilter(), forgeable=False)
    evidence = Evidence(Signal.CONNECTIONS, float(members), LIMIT, (80,))
    proven = ProvenPeers(60.0, 2**20)
    proven.add(columns(target, served + members // 2, 0), 0.0)
    assessment = Assessment(0.0, crowds={Signal.CONNECTIONS: crowd})
    inside = Inside(Offender(target, 1.0, (evidence,)), Policy(name="web", ports="80"), assessment)
    lines = 0

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        found = list(inside.rest([], [(0, 3)], proven))
    finally:
        sys.settrace(before)
    return found, lines


@pytest.mark.parametrize("text", ["2001:db8:1:1::/64", "2001:db8:1::/48", "10.0.0.0/8"])
def test_the_rest_of_a_prefix_costs_no_line_of_python_for_each_of_its_members(text: str) -> None:
    """Members were kept in dictionaries and sets: one /64 with 2**18 of them stopped the agent for 4.6 s a reading."""
    target = parse_network(text)
    few, lines = rest(target, 2**11)
    many, lines_of_many = rest(target, 2**16)
    assert lines_of_many < 8 * lines
    for found, members in ((few, 2**11), (many, 2**16)):
        assert sum(one.addresses for one in found) >= members - LIMIT
        assert len(found) <= MOST_PIECES


@pytest.mark.parametrize("text", ["2001:db8:1:1::/64", "2001:db8:1::/48", "10.0.0.0/8"])
def test_nobody_served_and_nothing_kept_is_in_the_rest(text: str) -> None:
    target = parse_network(text)
    found, _ = rest(target, 2000)
    assert found
    high, low = columns(target, 300, 0)
    for number in range(300):
        value = int(high[number]) << 64 | int(low[number])
        host = parse_network(str(target.network_address.__class__(value & (1 << target.max_prefixlen) - 1)))
        assert not any(covers(one.target, host) for one in found)
