"""Bans and SYN headers: what may be said, and what may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from synguard.model import Action, Ban, Scope
from synguard.syn_header import SynHeader
from tests.support.bans import ban

HEADER = SynHeader((33, 64), 64240, 1460, 0xDEADBEEF, 60)


def test_a_header_of_syns_is_read_back_as_it_was_written() -> None:
    assert SynHeader.parse(str(HEADER)) == HEADER


@pytest.mark.parametrize("text", ["", "ttl 64", str(HEADER) + " ", str(HEADER).replace("deadbeef", "DEADBEEF")])
def test_what_is_no_header_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the header of a SYN"):
        SynHeader.parse(text)


def test_a_challenge_concerns_new_connections_only() -> None:
    with pytest.raises(ValueError, match="scope new"):
        ban("x", "192.0.2.1", Scope.ALL, Action.CHALLENGE)


def test_a_ban_of_one_header_drops() -> None:
    with pytest.raises(ValueError, match="drops"):
        replace(ban("x", "0.0.0.0/0", action=Action.LIMIT), header=HEADER)


def test_challenges_and_drops_of_one_header_are_for_the_program_and_the_rest_for_the_firewall() -> None:
    assert ban("x", "0.0.0.0/0", action=Action.CHALLENGE).at_interface
    assert replace(ban("x", "0.0.0.0/0"), header=HEADER).at_interface
    assert not ban("x", "192.0.2.1").at_interface


@pytest.mark.parametrize(
    ("made", "effect", "standing", "would"),
    [
        (ban("a", "192.0.2.1"), "drop", "banned", "would ban"),
        (ban("a", "192.0.2.1", action=Action.LIMIT), "limit", "challenged", "would challenge"),
        (replace(ban("a", "0.0.0.0/0"), header=HEADER), "drop header", "header dropped", "would drop header"),
    ],
)
def test_a_ban_says_what_it_does_and_how_its_target_fares(made: Ban, effect: str, standing: str, would: str) -> None:
    """A challenge of everybody was logged as ``banned 0.0.0.0/0``."""
    assert (made.effect, made.standing, replace(made, dry_run=True).standing) == (effect, standing, would)
