"""Forging the addresses of innocents: nobody is cut off, those who are known are not refused, and what others lose."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.conftest import MakeLab
from tests.support.framing import CLASSES, EVERYWHERE, GATEWAY, IDLE, RESOLVER, SERVED, SSH_PEER, frame, known_parties
from tests.support.lab.flood_plan import SourceGroup
from tests.support.lab.topology import Victim
from tests.support.protection import NO_CHALLENGES

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("around", [None, EVERYWHERE], ids=["innocents alone", "innocents in a flood from everywhere"])
def test_whoever_is_framed_keeps_what_he_has_and_the_known_get_new_connections_too(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, around: SourceGroup | None
) -> None:
    """The clients' firewall is stateful: no RST of theirs clears up what was forged in their name."""
    lab = make_lab(Victim(), client_firewall=True)
    lab.serve()
    monkeypatch.setenv("SSH_CONNECTION", f"{SSH_PEER} 50000 192.0.2.2 22")
    with known_parties(lab):
        agent = lab.agent(NO_CHALLENGES)
        agent.start("--enforce")
        framing = frame(lab, agent, around)
    print(f"\n{framing}")
    assert {ban["scope"] for ban in framing.bans.values()} <= {"new"}
    assert {tuple(ban["ports"]) for ban in framing.bans.values()} <= {(80,)}
    for who in CLASSES.keys() - {"idle clients"}:
        assert framing.banned_of(who) == [], who
        assert framing.new_connections[who].share == 1.0, f"{who}: {framing.new_connections[who].outcomes()}"
    assert framing.standing.share == 1.0
    assert {*SERVED, GATEWAY, RESOLVER, SSH_PEER} <= framing.spared
    assert framing.bans.keys() <= set(IDLE)
    assert all(seconds(ban) <= 132 and ban["times"] == 1 for ban in framing.bans.values())
    assert framing.verdict.startswith("spoofed: ") == (around is not None)


def seconds(ban: dict[str, str]) -> float:
    return (datetime.fromisoformat(ban["expires_at"]) - datetime.fromisoformat(ban["created_at"])).total_seconds()
