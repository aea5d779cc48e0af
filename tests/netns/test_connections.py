"""``synguard connections`` on sockets that the test itself opened."""

from __future__ import annotations

import json
import os
import socket
from contextlib import ExitStack
from typing import Any

import pytest

from synguard.cli.main import app
from tests.netns.test_sockets import listening, reading
from tests.support.lab.flood_plan import hosts, prefix
from tests.support.own_network import in_own_network, throw_syns, wait_until

pytestmark = pytest.mark.kernel


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    with pytest.raises(SystemExit) as leaving:
        app(["connections", "--json", *words])
    assert leaving.value.code == 0
    return json.loads(capsys.readouterr().out)


def rows(shape: dict[str, Any]) -> dict[Any, int]:
    return {row[shape["by"]]: row["sockets"] for row in shape["rows"]}


@in_own_network
def test_one_look_answers_what_operators_ask_netstat(capsys: pytest.CaptureFixture[str]) -> None:
    me = f"[{os.getpid()}]"
    with ExitStack() as stack:
        stack.enter_context(listening("0.0.0.0", 80, 1024))
        stack.enter_context(listening("::", 443, 1024, dual=True))
        sockets = stack.enter_context(reading())
        for address, port, times in (("127.0.0.1", 80, 3), ("::1", 443, 2), ("127.0.0.1", 443, 1)):
            for _ in range(times):
                stack.enter_context(socket.create_connection((address, port)))
        throw_syns(hosts("203.0.113.5"), 20, (80,))
        throw_syns(prefix("198.51.100.0/24", distinct=10), 10, (443,))
        throw_syns(prefix("2001:db8:7::/64", distinct=6), 6, (443,))
        wait_until(lambda: len(sockets.half_open(1.0).table) == 36)

        assert rows(asked(capsys, "--by", "state")) == {"SYN_RECV": 36, "ESTABLISHED": 12, "LISTEN": 2}
        half_open = asked(capsys, "--state", "SYN_RECV", "--limit", "2")
        assert half_open["rows"][0]["source"] == "203.0.113.5"
        assert half_open["rows"][0]["half_open"] == 20
        assert half_open["left_out"] == {"groups": 15, "sockets": 15}
        assert rows(asked(capsys, "--by", "source", "--state", "ESTAB")) == {"127.0.0.1": 4, "::1": 2}
        assert rows(asked(capsys, "--by", "prefix", "--state", "SYN_RECV")) == {
            "203.0.113.0/24": 20,
            "198.51.100.0/24": 10,
            "2001:db8:7::/48": 6,
        }
        assert rows(asked(capsys, "--by", "port")) == {80: 23, 443: 19}
        assert rows(asked(capsys, "--by", "source", "--port", "80")) == {"203.0.113.5": 20, "127.0.0.1": 3}
        (process,) = asked(capsys, "--by", "process")["rows"]
        assert process["process"].endswith(me)
        assert process["sockets"] == 42

        listeners = {load["port"]: load for load in asked(capsys, "--listening")["listeners"]}
        assert (listeners[80]["half_open"], listeners[80]["accept_queue"], listeners[80]["backlog"]) == (20, 3, 1024)
        assert (listeners[443]["half_open"], listeners[443]["accept_queue"]) == (16, 3)
        assert listeners[80]["process"].endswith(me)


@in_own_network
def test_udp_and_tcp_are_counted_by_remote_address(capsys: pytest.CaptureFixture[str]) -> None:
    with listening("127.0.0.1", 80), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.connect(("127.0.0.53", 53))
        with socket.create_connection(("127.0.0.1", 80)):
            shape = asked(capsys, "--by", "remote", "--udp")
            assert rows(shape) == {"127.0.0.1": 2, "127.0.0.53": 1}
            assert shape["totals"]["udp"] == 1
