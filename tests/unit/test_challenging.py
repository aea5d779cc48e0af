"""The agent's own changes to the challenge program, while another process changes bans."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.agent.challenging import FOLLOW_EVERY_S, Challenging
from synguard.enforcer.challenge.program import Program
from synguard.enforcer.locks import APPLY_LOCK, exclusive
from synguard.enforcer.plane import Delta
from synguard.model import Action
from synguard.policy.models import Config
from tests.support.manual_clock import START
from tests.unit.test_challenge_ban_maps import CHALLENGE, DROP, Host


@pytest.fixture
def challenging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Challenging:
    made = Challenging(Config(runtime_dir=tmp_path), lambda: START)
    monkeypatch.setattr(made._points, "follow", lambda now: None)
    monkeypatch.setattr(made._preflight, "follow", lambda ports, entrances, now: None)
    return made


def test_ports_are_watched_only_while_no_one_changes_bans(challenging: Challenging, tmp_path: Path) -> None:
    """The agent freed the slot that a verb had just given the port of its ban, as no ban named it yet; or wrote back
    what it had read of a slot, without the ban of everybody that had come there meanwhile."""
    host = Host()
    challenging.plane.program = Program({}, host.maps.maps)
    seconds = 0.0

    def agent_follows(*ports: int) -> None:
        nonlocal seconds
        seconds += FOLLOW_EVERY_S
        challenging.follow(frozenset(ports), lambda: (), seconds, used=True, calm=True)

    agent_follows(22)
    assert host.maps.slot_of_port[22]

    def called(name: str, wrote: bool) -> None:
        if wrote:
            host.maps.called = lambda name, wrote: None
            agent_follows(int(seconds) % 7 + 5000)
            host.maps.called = called

    coming = (
        host.ban("one", "192.0.2.0/24", ports=(80,)),
        host.ban("all", "0.0.0.0/0", Action.DROP, ports=(443,)),
        host.ban("everywhere", "0.0.0.0/0"),
    )
    with exclusive(tmp_path / APPLY_LOCK, 0.0, "the test"):
        verb = host.process()
        host.maps.called = called
        verb.change(Delta(add=coming))
        host.maps.called = lambda name, wrote: None
    assert seconds > 10
    assert host.step("192.0.2.1") == host.step("198.51.100.1", 22) == CHALLENGE
    assert host.step("198.51.100.1", 443) == DROP
    assert host.maps.slot_of_port[22], "it was busy"
    assert challenging.trouble == ""
    agent_follows(25)
    assert host.maps.slot_of_port[25]
    assert not host.maps.slot_of_port[22]
    assert host.step("192.0.2.1") == host.step("198.51.100.1", 25) == CHALLENGE
