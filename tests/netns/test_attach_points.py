"""Attach points of real interfaces: bond, bridge, VLAN, tun, containers; made, renamed and removed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from contextlib import closing

import pytest

from synguard.sensors.attach_points import AttachPoints, AttachPointWatch, read_attach_points
from tests.support.lab.namespaces import Namespace, new_prefix
from tests.support.own_network import in_own_network, wait_until

pytestmark = pytest.mark.kernel


def ip(*commands: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True, timeout=20)


def names(found: AttachPoints) -> set[str]:
    return {point.name for point in found.points} - {"wire0", "wire1", "sink"}  # of the namespace itself


def supported(kinds: Iterable[str]) -> set[str]:
    """Return the kinds of interfaces that this kernel can make."""
    found = set()
    for kind in kinds:
        if not subprocess.run(["ip", "link", "add", "probe0", "type", kind], capture_output=True).returncode:
            ip("link del probe0")
            found.add(kind)
    return found


@in_own_network
def test_the_device_that_holds_the_address_is_the_attach_point() -> None:
    ip("link add a0 type veth peer name a1", "link add b0 type veth peer name b1")
    ip("link set a0 up", "link set a1 up", "link set b1 up")
    assert {"a0", "a1"} <= names(read_attach_points()), "both have a link-local address"
    ip("link add br0 type bridge", "link set a0 master br0", "link set br0 up", "addr add 10.5.0.1/24 dev br0")
    found = names(read_attach_points())
    assert "br0" in found
    assert "a0" not in found, "a port of the bridge"
    assert "b0" not in found, "down"


@in_own_network
def test_bonds_vlans_and_tunnels_where_this_kernel_has_them() -> None:
    kinds = supported(("bond", "dummy"))
    ip("link add c0 type veth peer name c1", "link set c1 up")
    if "bond" in kinds:
        ip(
            "link add bond7 type bond",
            "link set c0 master bond7",
            "link set bond7 up",
            "addr add 10.6.0.1/24 dev bond7",
        )
        assert "bond7" in names(read_attach_points())
        assert "c0" not in names(read_attach_points())
    else:
        ip("link set c0 up", "addr add 10.6.0.1/24 dev c0")
    below = "bond7" if "bond" in kinds else "c0"
    if not subprocess.run(
        ["ip", "link", "add", "link", below, "name", "v10", "type", "vlan", "id", "10"], capture_output=True
    ).returncode:
        ip("link set v10 up", "addr add 10.7.0.1/24 dev v10")
        assert "v10" in names(read_attach_points())
    if not subprocess.run(["ip", "tuntap", "add", "tun7", "mode", "tun"], capture_output=True).returncode:
        ip("link set tun7 up", "addr add 10.8.7.1/24 dev tun7")
        assert "tun7" in names(read_attach_points())
    assert any(str(one) == "10.6.0.1/32" for one in read_attach_points().addresses)
    assert not any(one.is_loopback for one in read_attach_points().addresses)


@in_own_network
def test_a_veth_into_a_container_is_no_attach_point() -> None:
    container = Namespace(f"{new_prefix()}-container")
    container.add()
    try:
        ip(f"link add inside0 type veth peer name eth0 netns {container.name}")
        ip("link set inside0 up", "addr add 10.4.0.1/24 dev inside0")
        assert "inside0" not in names(read_attach_points())
    finally:
        container.remove_if_present()


@in_own_network
def test_interfaces_are_followed_when_they_come_are_renamed_and_go() -> None:
    now = 0.0
    known = AttachPoints()

    def sees(*wanted: str) -> bool:
        nonlocal now, known
        now += 1.1  # the clock of the watch, which need not wait
        known = watch.follow(now) or known
        return names(known) == set(wanted)

    with closing(AttachPointWatch()) as watch:
        wait_until(lambda: sees())
        now += 1.1
        assert watch.follow(now) is None or watch.follow(now + 1.1) is None, "nothing changes any more"
        ip("link add new0 type veth peer name other0", "addr add 10.3.0.1/24 dev new0", "link set new0 up")
        wait_until(lambda: sees("new0"))
        index = {point.name: point.index for point in known.points}["new0"]
        ip("link set new0 down", "link set new0 name renamed0", "link set renamed0 up")
        wait_until(lambda: sees("renamed0"))
        assert {point.name: point.index for point in known.points}["renamed0"] == index
        ip("link del renamed0")
        wait_until(lambda: sees())
