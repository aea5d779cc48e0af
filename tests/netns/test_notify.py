"""A real flood, a real agent, a real webhook: one message at the start and one at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.mail_and_web import Web
from tests.support.network_thread import NetworkThread
from tests.support.protection import SHAPES, SMALL_PPS, attackers, flood_of, wait_for_bans

pytestmark = pytest.mark.kernel

ONE = SHAPES["one source"][0](0)


@pytest.fixture
def web(lab: Lab) -> Iterator[Web]:
    """A webhook on the victim's own loopback."""
    thread = NetworkThread(lab.victim)
    try:
        with thread.call(Web) as web:
            yield web
    finally:
        thread.close()


def test_a_flood_makes_exactly_one_message_at_its_start_and_one_at_its_end(lab: Lab, web: Web) -> None:
    lab.serve()
    agent = lab.agent(f'incident.calm_for = "2s"\n[notify]\nname = "victim"\nquiet = "2s"\nurls = ["{web.url()}"]\n')
    agent.start("--enforce")
    flood = lab.start_flood(flood_of(ONE, pps=SMALL_PPS))
    wait_for_bans(agent, attackers(ONE))
    wait_for(lambda: web.bodies, "the message of its start", 60.0, every=0.1)
    flood.stop()
    wait_for(lambda: len(web.bodies) == 2, "the message of its end", 60.0, every=0.2)
    assert agent.stop() == 0
    start, end = web.bodies
    assert (start["event"], end["event"]) == ("start", "end")
    assert start["title"] == "victim: SYN flood began"
    assert [port.partition(" ")[0] for port in start["attack"]["ports"]] == ["80"]
    assert end["attack"]["id"] == start["attack"]["id"]
    assert end["attack"]["bans"] >= 1
    assert web.url() not in agent.program.stderr
    assert agent.ask("notify", "show")["services"] == [f"1 http://127.0.0.1:{web.port}/…"]
