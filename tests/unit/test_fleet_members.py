"""Each half of the membership alone, and that neither touches an agent that is not a member."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from synguard.policy.models import Config
from tests.unit.test_fleet_hostile import KEY, Server, says
from tests.unit.test_fleet_operator import lasts_until, member

EMPTY = says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")


def test_an_agent_that_is_no_member_has_no_peer_no_thread_and_no_process(tmp_path: Path) -> None:
    threads = psutil.Process().num_threads()
    with member(tmp_path) as scene:
        assert psutil.Process().num_threads() == threads
        assert not psutil.Process().children()
        assert not scene.agent.conditions.all


@pytest.mark.parametrize(
    ("half", "asks", "never"),
    [
        ({"api_key": KEY}, b"/v1/decisions/stream", b"/v1/watchers"),
        ({"machine_id": "web-1", "password": KEY}, b"", b"/v1/decisions/stream"),
    ],
    ids=["decisions alone", "alerts alone"],
)
def test_each_half_may_be_used_alone(half: dict[str, str], asks: bytes, never: bytes, tmp_path: Path) -> None:
    server = Server(EMPTY)
    with member(tmp_path, crowdsec={"url": server.url, **half}) as scene:
        lasts_until(scene, lambda: asks in b"".join(server.asked))
        scene.lasts(2)
    server.close()
    assert never not in b"".join(server.asked)


@pytest.mark.parametrize(
    ("crowdsec", "why"),
    [
        ({"url": "http://127.0.0.1:1"}, "give one of them, or both"),
        ({"api_key": KEY}, "url is missing"),
        ({"url": "http://u:p@127.0.0.1:1", "api_key": KEY}, "machine_id"),
        ({"url": "ftp://127.0.0.1", "api_key": KEY}, "http"),
        ({"url": "http://127.0.0.1:1", "machine_id": "m"}, "belong together"),
    ],
)
def test_a_half_membership_is_a_fault_of_the_config(crowdsec: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Config.model_validate({"crowdsec": crowdsec})
