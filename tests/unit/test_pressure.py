"""Pressure: how full each SYN queue is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import numpy as np

from synguard.detector.pressure import ELSEWHERE, pressure_on
from synguard.readings import Listener, NamespaceSpan
from synguard.socket_table import SocketTable
from tests.support.traffic import sockets, table

V4, V6 = ip_address("0.0.0.0"), ip_address("::")


def test_ipv4_and_ipv6_sockets_of_one_port_have_queues_of_their_own() -> None:
    """Added up, a full IPv4 queue of 128 beside an idle IPv6 one would read as half full."""
    listeners = [Listener(V4, 80, 128, 0), Listener(V6, 80, 128, 0)]
    ipv4, ipv6 = pressure_on(listeners, sockets(0, table({"198.51.100.7": 129})))
    assert (ipv4.half_open, ipv4.censored) == (129, True)
    assert (ipv6.half_open, ipv6.censored) == (0, False)


def test_a_single_ipv6_socket_takes_both_families() -> None:
    [both] = pressure_on([Listener(V6, 80, 128, 0)], sockets(0, table({"198.51.100.7": 60, "2001:db8::1": 60})))
    assert both.half_open == 120
    assert both.censored


def test_a_reuseport_group_is_added_up() -> None:
    group = [Listener(V4, 80, 128, 0)] * 4
    [pressure] = pressure_on(group, sockets(0, table({"198.51.100.7": 129})))
    assert pressure.backlog == 512
    assert not pressure.censored


def test_a_full_accept_queue_is_the_applications_fault_and_no_pressure() -> None:
    [pressure] = pressure_on([Listener(V4, 80, 128, 129)], sockets(0, table({"198.51.100.7": 129})))
    assert not pressure.accepting
    assert pressure.fill == 0
    assert not pressure.censored


def test_a_backlog_of_zero_divides_nothing() -> None:
    [pressure] = pressure_on([Listener(V4, 80, 0, 0)], sockets(0, table({"198.51.100.7": 1})))
    assert pressure.fill == 1


def test_listeners_of_other_namespaces_have_queues_of_their_own() -> None:
    """A relay listens on the host's port 80, and the kernel forwards what comes from outside to the container."""
    rows = table({"198.51.100.7": 100})
    reading = replace(
        sockets(0, SocketTable.joined([rows, rows])), spans=(NamespaceSpan("", 0, 100), NamespaceSpan("web", 100, 200))
    )
    listeners = [Listener(V4, 80, 128, 0), Listener(V4, 80, 100, 0, namespace="web", inner_port=8080)]
    host, container = pressure_on(listeners, reading)
    assert (host.namespace, host.half_open, host.censored) == ("", 100, False)
    assert (container.namespace, container.half_open, container.censored) == ("web", 100, True)


def test_of_twenty_listeners_of_one_port_the_flooded_one_is_shown_and_judged() -> None:
    """Added up they read as "129/2560 (5%)", while one address turned its clients away."""
    addresses = [ip_address(f"192.0.2.{number}") for number in range(1, 21)]
    listeners = [Listener(address, 80, 128, 0, f"web{address}") for address in addresses]
    rows = table({"198.51.100.7": 129, "198.51.100.8": 3})
    flooded, other = (np.uint64(0xFFFF << 32 | int(addresses[place])) for place in (7, 3))
    to = np.where(np.arange(132) < 129, flooded, other)
    [pressure] = pressure_on(listeners, sockets(0, replace(rows, local_low=to)))
    assert (pressure.half_open, pressure.backlog, pressure.censored) == (129, 128, True)
    assert pressure.process == "web192.0.2.8"


def test_what_comes_to_an_address_without_a_listener_of_its_own_is_the_wildcard_s() -> None:
    listeners = [Listener(ip_address("192.0.2.99"), 80, 4096, 0), Listener(V4, 80, 128, 0)]
    [pressure] = pressure_on(listeners, sockets(0, table({"198.51.100.7": 129})))
    assert (pressure.half_open, pressure.backlog) == (129, 128)


def test_what_comes_to_an_address_without_an_ipv4_listener_is_the_ipv6_wildcard_s() -> None:
    """`[::]:80` beside `192.0.2.2:80` with a backlog of 5: 20 sockets in the first were a full queue of the second."""
    listeners = [Listener(V6, 80, 4096, 0), Listener(ip_address("192.0.2.2"), 80, 5, 0)]
    small, wide = pressure_on(listeners, sockets(0, table({"198.51.100.7": 20})))
    assert (small.half_open, small.backlog) == (0, 5)
    assert (wide.half_open, wide.backlog) == (20, 4096)


def test_half_open_sockets_on_a_port_without_a_listener_count_against_the_longest_queue() -> None:
    """TPROXY and sk_lookup hand them to a listener on another port; which one cannot be seen."""
    listeners = [Listener(V4, 5000, 128, 0), Listener(V4, 22, 64, 0)]
    ssh, alone, proxy = pressure_on(listeners, sockets(0, table({"198.51.100.7": 129}, port=443)))
    assert (alone.port, alone.half_open, alone.backlog, alone.censored) == (443, 129, 128, True)
    assert alone.process == ELSEWHERE
    assert (ssh.half_open, proxy.half_open) == (0, 0)
