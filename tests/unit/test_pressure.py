"""Pressure: how full each SYN queue is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from synguard.detector.pressure import pressure_on
from synguard.readings import Listener, NamespaceSpan, concatenated
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
        sockets(0, concatenated([rows, rows])), spans=(NamespaceSpan("", 0, 100), NamespaceSpan("web", 100, 200))
    )
    listeners = [Listener(V4, 80, 128, 0), Listener(V4, 80, 100, 0, namespace="web", inner_port=8080)]
    host, container = pressure_on(listeners, reading)
    assert (host.namespace, host.half_open, host.censored) == ("", 100, False)
    assert (container.namespace, container.half_open, container.censored) == ("web", 100, True)
