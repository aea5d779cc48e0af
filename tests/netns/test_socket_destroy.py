"""Sockets that bans made useless, in a real kernel."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from synguard.agent import blocked_sockets
from synguard.agent.blocked_sockets import Leftovers
from synguard.detector.rates import refused_rate
from synguard.enforcer.socket_destroy import destroy_sockets
from synguard.model import Action, Mode
from synguard.policy.models import Config, Limits, Policy
from synguard.sensors.counters import read_counters
from synguard.sensors.sockets import SocketTables
from synguard.socket_table import TcpState
from tests.netns.test_sockets import listening, reading
from tests.support.lab.flood_plan import SourceGroup, anywhere, hosts
from tests.support.own_network import HOST4, in_own_network, throw_syns, wait_until
from tests.support.scene import Scene
from tests.unit.test_active_bans import ban

pytestmark = pytest.mark.kernel

LOW_LIMIT = Policy(name="default", limits=Limits(connections=20), prefix_limits=Limits(connections=2000))


@dataclass
class Held:
    """A service on port 80 with the connections that it accepted, by peer."""

    sockets: SocketTables
    places: dict[str, list[socket.socket]]


@contextmanager
def held_by(peers: dict[str, int]) -> Iterator[Held]:
    """Let peers connect so often to a service that waits for them without end; all of one IP version."""
    with ExitStack() as stack:
        service = stack.enter_context(listening("::", 80, dual=True))
        held = Held(stack.enter_context(reading()), {peer: [] for peer in peers})
        for peer, times in peers.items():
            if ":" in peer:
                subprocess.run(["ip", "addr", "add", f"{peer}/128", "dev", "lo", "nodad"], check=True, timeout=20)
            for _ in range(times):
                server = ("fd09::1" if ":" in peer else "127.0.0.1", 80)
                stack.enter_context(socket.create_connection(server, source_address=(peer, 0)))
                held.places[peer].append(stack.enter_context(service.accept()[0]))
        yield held


def watching(sockets: SocketTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Return a host whose agent enforces on these connections."""
    scene = Scene(tmp_path, LOW_LIMIT, config=Config(mode=Mode.ENFORCE))
    monkeypatch.setattr(scene.sensors, "connections", sockets.connections)
    return scene


def half_open(sockets: SocketTables) -> int:
    return len(sockets.half_open(0.0).table)


@in_own_network
def test_the_resets_of_destroyed_connections_are_not_taken_for_refused_packets() -> None:
    with held_by({"127.0.0.7": 200}) as held:
        table = held.sockets.connections(0.0).table
        before = read_counters(0.0, Path("/proc/thread-self/net"))
        assert destroy_sockets(table.where(table.local_port == 80)) == 200
        after = read_counters(1.0, Path("/proc/thread-self/net"))
    assert after.values["OutRsts"] - before.values["OutRsts"] >= 200
    assert refused_rate(before, after) == 0.0


@pytest.mark.smoke
@pytest.mark.parametrize("group", [anywhere(4), anywhere(6)], ids=["ipv4", "ipv6"])
@in_own_network
def test_a_full_queue_is_freed_at_once_and_takes_clients_again(group: SourceGroup) -> None:
    with listening("0.0.0.0", 80), listening("::", 80), reading() as sockets:
        throw_syns(group, 300, (80,))
        wait_until(lambda: half_open(sockets) >= 65)  # the kernel prunes from half full on
        assert destroy_sockets(sockets.half_open(0.0).table) >= 65
        assert half_open(sockets) == 0
        with socket.create_connection((str(HOST4), 80), timeout=5):
            pass


@in_own_network
def test_ipv4_in_the_queue_of_an_ipv6_listener_is_freed_too() -> None:
    with listening("::", 80, dual=True), reading() as sockets:
        throw_syns(hosts("198.51.100.7"), 20, (80,))
        wait_until(lambda: half_open(sockets) == 20)
        destroy_sockets(sockets.half_open(0.0).table)
        assert half_open(sockets) == 0


@in_own_network
def test_a_half_open_socket_that_is_gone_does_not_cost_the_listener_its_life() -> None:
    """The kernel looks a socket up by its addresses and, where it is gone, finds the listener.

    A first version named sockets by address only: evicting a queue while it was pruned destroyed nginx's listening
    socket, and every client was refused. The cookie tells the two apart.
    """
    with listening("0.0.0.0", 80), reading() as sockets:
        throw_syns(hosts("198.51.100.7"), 20, (80,))
        wait_until(lambda: half_open(sockets) == 20)
        table = sockets.half_open(0.0).table
        destroy_sockets(table)
        destroy_sockets(table)
        assert len(sockets.listeners(0.0)) == 1
        with socket.create_connection((str(HOST4), 80), timeout=5):
            pass


@in_own_network
def test_of_the_half_open_left_from_before_a_challenge_those_of_clients_who_connected_are_spared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``TCP_DEFER_ACCEPT`` and a full accept queue leave them in SYN_RECV; three seconds of it were taken for a no."""
    monkeypatch.setattr(blocked_sockets, "UNANSWERED_S", 1.0)
    monkeypatch.setattr(blocked_sockets, "LOOK_EVERY_S", 0.2)
    challenges = [replace(ban("0.0.0.0/0", ports=(80, 81)), action=Action.CHALLENGE)]
    with ExitStack() as stack:
        deferring, full = (stack.enter_context(listening("0.0.0.0", port, backlog=2)) for port in (80, 81))
        deferring.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
        sockets = stack.enter_context(reading())
        silent = stack.enter_context(socket.create_connection(("127.0.0.1", 80)))
        throw_syns(hosts("198.51.100.7"), 1, (80,))
        throw_syns(hosts("198.51.100.7"), 1, (81,))
        waiting = [stack.enter_context(socket.create_connection(("127.0.0.1", 81))) for _ in range(2)]
        nft("add table ip late; add chain ip late in { type filter hook input priority 0; }")
        nft("add rule ip late in tcp dport 81 tcp flags == ack drop")
        waiting += [stack.enter_context(socket.create_connection(("127.0.0.1", 81))) for _ in range(2)]
        nft("delete table ip late")
        for one in waiting[2:]:
            one.send(b"?")
        wait_until(lambda: sockets.listeners(0.0)[1].accept_queue == 3)
        leftovers, freed = Leftovers(), set[tuple[int, int]]()

        def looked() -> bool:
            now = time.monotonic()
            table, listeners = sockets.half_open(now).table, sockets.listeners(now)
            left = leftovers.of(table, listeners, {}, challenges, [], now)
            freed.update(zip(left.local_port.tolist(), left.remote_low.tolist(), strict=True))
            return bool(freed)

        wait_until(looked)
        assert freed == {(80, 0xFFFFC6336407)}, "and not the forged one of the full queue, which looks like a client's"
        silent.send(b"?")
        deferring.accept()[0].close()
        for _ in range(4):
            full.accept()[0].close()


def nft(command: str) -> None:
    """Give ``nft`` commands in the calling thread's namespace."""
    subprocess.run(["nft", command], check=True, timeout=20)


@in_own_network
def test_rows_without_a_cookie_are_left_alone() -> None:
    with listening("0.0.0.0", 80), reading() as sockets:
        throw_syns(hosts("198.51.100.7"), 5, (80,))
        wait_until(lambda: half_open(sockets) == 5)
        table = sockets.half_open(0.0).table
        assert destroy_sockets(replace(table, cookie=np.zeros(5, np.uint64))) == 0
        assert half_open(sockets) == 5


@pytest.mark.parametrize(
    ("attacker", "client"), [("127.0.0.2", "127.0.0.9"), ("fd06::2", "fd07::9")], ids=["ipv4", "ipv6"]
)
@in_own_network
def test_who_is_banned_whole_keeps_no_place_in_a_service_without_a_time_out(
    attacker: str,
    client: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """One host opened 1,100 connections to a service that takes 1,000, was banned, and went away.

    The ban dropped its FINs, and no client was served any more: 0 of 610 requests, where all were without the agent.
    """
    with held_by({client: 2, attacker: 60}) as held:
        scene = watching(held.sockets, tmp_path, monkeypatch)
        scene.lasts(12.0)
        assert len(scene.banned()) == 1
        assert len(held.sockets.connections(9.0).table) == 2
        for place in held.places[attacker]:
            with pytest.raises(ConnectionAbortedError):
                place.recv(1)
        record_property("now", f"{len(held.sockets.connections(9.5).table) - 2} of 60 places kept")


@pytest.mark.parametrize("serves", [True, False], ids=["serving", "client"])
@in_own_network
def test_a_container_of_this_host_keeps_what_it_may_hold_and_is_not_banned(
    serves: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """One that listened was spared as an own address, and held 1,529 of the 1,536 places of the host's web server."""
    with held_by({"127.0.0.9": 2, "127.0.0.2": 60}) as held:
        scene = watching(held.sockets, tmp_path, monkeypatch)
        container = {"127.0.0.2/32": "own address of web-1"}
        scene.weather.serving, scene.weather.containers = (container, {}) if serves else ({}, container)
        scene.lasts(12.0)
        assert scene.banned() == set()
        assert len(held.sockets.connections(9.0).table) == 2 + int(LOW_LIMIT.limits.connections or 0)
        record_property("now", f"{len(held.sockets.connections(9.5).table) - 2} of 60 kept, limit 20, not banned")


@in_own_network
def test_of_many_addresses_beside_a_protected_one_the_excess_is_closed_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 addresses of one /64 with a connection each, beside an administrator: no one of them had too many."""
    with held_by({"fd06::1": 2} | {f"fd06::{number:x}": 1 for number in range(0x10, 0x10 + 60)}) as held:
        scene = watching(held.sockets, tmp_path, monkeypatch)
        scene.weather.protected = {"fd06::1/128": "logged in over SSH"}
        scene.lasts(12.0)
        assert 2 <= len(held.sockets.connections(9.0).table) <= 2 + int(LOW_LIMIT.limits.connections or 0)
        assert held.places["fd06::1"][0].send(b"?") == 1
        assert "fd06::/64" not in scene.banned()


@in_own_network
def test_only_half_open_sockets_are_evicted() -> None:
    with listening("0.0.0.0", 80), reading() as sockets:
        with pytest.raises(ValueError, match="only half-open"):
            destroy_sockets(sockets.tcp({TcpState.LISTEN}))
        assert len(sockets.listeners(0.0)) == 1
