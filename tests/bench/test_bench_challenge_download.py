"""How fast a client downloads that connected through a challenge, beside one that did not; prints ratios."""

from __future__ import annotations

import time

import pytest

from synguard.enforcer.challenge.program import ProgramSettings
from tests.support.challenge import Challenge, challenge
from tests.support.downloads import PORT, Site
from tests.support.lab.lab import Lab
from tests.support.lab.topology import VICTIM4, Victim

pytestmark = [pytest.mark.kernel, pytest.mark.bench]

ROUNDS = 5
SIZE = 50_000_000


def seconds(site: Site) -> float:
    """Return the shortest of some downloads; each by the last of four connections, of which one or two pass."""
    took = []
    for _ in range(ROUNDS):
        connection = site.connect(str(VICTIM4), 4)[-1]
        begun = time.monotonic()
        assert connection.download(SIZE) == SIZE
        took.append(time.monotonic() - begun)
    return min(took)


def test_a_download_through_a_challenge_beside_one_without() -> None:
    with Lab(Victim()) as lab:
        site = Site(lab)
        plain = seconds(site)
        held = Challenge(lab, ports=(PORT,))
        held.hold(challenge("all", "0.0.0.0/0", PORT))
        kept = seconds(site)
        lab.victim.sysctl({"net.ipv4.tcp_timestamps": 1})
        held.thread.call(held.program.configure, ProgramSettings())
        lost = seconds(site)
        answered = held.hits("all").answered
        held.close()
        site.close()
    assert answered >= 2 * ROUNDS
    print(f"\n50 MB: {SIZE / plain / 1e6:,.0f} MB/s; through a challenge {plain / kept:.2f} of it,")
    print(f"without window scale and SACK (tcp_timestamps = 1) {plain / lost:.2f}")
