"""Gateways, own addresses and SSH sessions as a real kernel shows them."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from synguard.policy.models import Allow
from synguard.sensors.gateways import read_default_gateways
from synguard.sensors.local_routes import read_local_routes
from synguard.sensors.logged_in import read_ssh_peers
from synguard.sensors.protected import Places, own_addresses, read_protected
from tests.support.own_network import HOST4, HOST6, in_own_network, set_sysctls, wait_until

pytestmark = pytest.mark.kernel

SESSION = """
import socket, sys
own_listener = socket.create_server(("127.0.0.1", 0))
visitor = socket.create_connection(own_listener.getsockname(), source_address=("127.0.0.66", 0))
visited, _ = own_listener.accept()
connection = socket.socket(fileno=int(sys.argv[1]))
forwarded = socket.create_connection(("127.0.0.9", int(sys.argv[2])), source_address=("127.0.0.5", 0))
print("ready", flush=True)
sys.stdin.read()
"""


def ip(*commands: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="".join(f"{line}\n" for line in commands), text=True, check=True)


def gateways() -> dict[str, str]:
    return {str(address): interface for address, interface in read_default_gateways().items()}


@in_own_network
def test_gateways_of_every_table_metric_family_and_next_hop_are_found() -> None:
    ip(
        "route add default via 10.9.0.254 metric 500",
        "route add default via 10.9.0.253 table 77",
        "route add default table 78 nexthop via 10.9.0.10 dev wire0 nexthop via 10.8.0.11 dev sink",
        "route add 198.51.100.0/24 via 10.9.0.99",
        "route add unreachable default table 79",
        "route add default dev sink table 80",
        "route add 0.0.0.0/1 via 10.9.0.252",
        "route add ::/0 via fe80::1 dev wire0 metric 20",
        "route add ::/0 via fd08::aa table 77",
        "route add ::/0 table 78 nexthop via fd09::10 dev wire0 nexthop via fd08::11 dev sink",
        "route add default via inet6 fe80::2 dev wire0 table 81",
    )
    assert gateways() == {
        "10.8.0.254": "sink",
        "10.9.0.254": "wire0",
        "10.9.0.253": "wire0",
        "10.9.0.252": "wire0",
        "10.9.0.10": "wire0",
        "10.8.0.11": "sink",
        "fd08::fe": "sink",
        "fe80::1": "wire0",
        "fd08::aa": "sink",
        "fd09::10": "wire0",
        "fd08::11": "sink",
        "fe80::2": "wire0",
    }


@in_own_network
def test_a_gateway_behind_a_nexthop_object_is_found() -> None:
    ip("nexthop add id 5 via 10.9.0.250 dev wire0", "route add default nhid 5 table 90")
    assert gateways()["10.9.0.250"] == "wire0"


@in_own_network
def test_gateways_behind_nexthop_objects_are_found_where_routes_name_no_more_than_their_numbers() -> None:
    set_sysctls({"net.ipv4.nexthop_compat_mode": 0})
    ip(
        "nexthop add id 5 via 10.9.0.250 dev wire0",
        "nexthop add id 6 via fd08::66 dev sink",
        "nexthop add id 7 via 10.8.0.77 dev sink",
        "nexthop add id 8 via 10.8.0.88 dev sink",
        "nexthop add id 9 group 5/7",
        "route add default nhid 9 table 90",
        "route add ::/0 nhid 6 table 90",
        "route add 198.51.100.0/24 nhid 8",
    )
    assert gateways() == {
        "10.8.0.254": "sink",
        "fd08::fe": "sink",
        "10.9.0.250": "wire0",
        "10.8.0.77": "sink",
        "fd08::66": "sink",
    }


@in_own_network
def test_gateways_are_found_among_thousands_of_other_routes() -> None:
    ip(*(f"route add 172.{16 + n // 256}.{n % 256}.0/24 via 10.9.0.99" for n in range(4000)))
    ip(*(f"route add 2001:db8:{n:x}::/48 via fd09::99" for n in range(4000)))
    assert gateways() == {"10.8.0.254": "sink", "fd08::fe": "sink"}


@in_own_network
def test_a_host_without_a_way_out_has_no_gateway() -> None:
    ip("link del wire0", "link del sink")
    assert gateways() == {}


@in_own_network
def test_own_addresses_of_every_interface_and_the_gateways_are_protected_at_once() -> None:
    ip("address add 203.0.113.9/32 dev lo")
    protected = read_protected(Allow(), Places(resolv_conf=(), ssh_peers=dict))
    reasons = {str(network): reason for network, reason in protected.networks.items()}
    assert protected.problems == ()
    assert reasons[f"{HOST4}/32"] == reasons[f"{HOST6}/128"] == "own address of wire0"
    assert reasons["203.0.113.9/32"] == "own address of lo"
    assert reasons["10.8.0.254/32"] == "default gateway via sink"
    assert any(network.startswith("fe80:") for network in reasons)


@in_own_network
def test_what_local_routes_deliver_to_this_host_is_the_host_and_a_transparent_proxys_route_is_not() -> None:
    """AnyIP: 700 local connections to 203.0.113.5 had the host ban its own address."""
    ip(
        "route add local 203.0.113.0/24 dev lo",
        "route add local 2001:db8:a::/48 dev lo",
        "route add local 198.51.100.7 dev lo table 77",
        "route add local 0.0.0.0/0 dev lo table 100",
        "route add local ::/0 dev lo table 100",
    )
    reasons = {str(network): reason for network, reason in own_addresses().items()}
    for network in ("203.0.113.0/24", "2001:db8:a::/48", "198.51.100.7/32"):
        assert reasons[network] == "delivered to this host by a local route on lo"
    assert reasons[f"{HOST4}/32"] == "own address of wire0"
    assert not {"0.0.0.0/0", "::/0"} & reasons.keys()


@in_own_network
def test_local_routes_are_found_among_thousands_of_others() -> None:
    ip("route add local 203.0.113.0/24 dev lo", *(f"route add 172.16.{n}.0/24 via 10.9.0.99" for n in range(256)))
    assert len([one for one in read_local_routes() if one.version == 4]) < 20
    assert read_local_routes()[ip_network("203.0.113.0/24")] == "lo"


@contextmanager
def sshd_session(title: str, folder: Path, owner: int = 0) -> Iterator[int]:
    """Run a process that looks as an sshd session does: called from 127.0.0.81, forwarding one way and the other."""
    program = folder / "sshd"
    shutil.copy(Path(sys.executable).resolve(), program)
    os.chown(program, owner, owner)
    listeners = [socket.create_server((address, 0)) for address in ("127.0.0.22", "127.0.0.9")]
    client = socket.create_connection(listeners[0].getsockname(), source_address=("127.0.0.81", 0))
    session, _ = listeners[0].accept()
    process = subprocess.Popen(
        [title, "-S", "-c", SESSION, str(session.fileno()), str(listeners[1].getsockname()[1])],
        executable=program,
        pass_fds=[session.fileno()],
        env={"PYTHONHOME": sys.base_prefix, "LD_LIBRARY_PATH": f"{sys.base_prefix}/lib"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        process.communicate()
        for each in (session, client, *listeners):
            each.close()


def peers_without_login_records(tmp_path: Path) -> dict[str, str]:
    peers = read_ssh_peers({}, sessions=tmp_path / "sessions")
    return {str(address): reason for address, reason in peers.items() if address in ip_network("127.0.0.0/8")}


@in_own_network
@pytest.mark.parametrize("title", ["sshd: alice@pts/0", "sshd-session: alice@pts/0", "sshd: alice"])
def test_without_login_records_an_authenticated_sshd_session_names_its_peer_and_not_whom_it_forwards_to(
    title: str, tmp_path: Path
) -> None:
    assert peers_without_login_records(tmp_path) == {}
    with sshd_session(title, tmp_path):
        assert peers_without_login_records(tmp_path).keys() == {"127.0.0.81"}
    assert peers_without_login_records(tmp_path) == {}


@in_own_network
def test_a_session_outlives_the_upgrade_of_sshd(tmp_path: Path) -> None:
    """Its program is "/usr/sbin/sshd (deleted)" then: who had logged in before was protected no longer."""
    with sshd_session("sshd: alice@pts/0", tmp_path):
        (tmp_path / "sshd").unlink()
        assert peers_without_login_records(tmp_path).keys() == {"127.0.0.81"}


@in_own_network
@pytest.mark.parametrize("title", ["sshd: alice [priv]", "sshd: unknown [net]", "sshd: [accepted]"])
def test_a_connection_to_the_ssh_port_that_has_not_logged_in_protects_nobody(title: str, tmp_path: Path) -> None:
    """Anyone may open one: it would be immunity for a handshake."""
    with sshd_session(title, tmp_path):
        assert peers_without_login_records(tmp_path) == {}


@in_own_network
def test_a_users_own_program_that_calls_itself_sshd_protects_nobody(tmp_path: Path) -> None:
    with sshd_session("sshd: alice@pts/0", tmp_path, owner=65534):
        assert peers_without_login_records(tmp_path) == {}


@in_own_network
def test_a_login_known_by_name_is_the_peer_of_its_session_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sshd_session("sshd: alice@pts/0", tmp_path) as session:
        login = SimpleNamespace(name="alice", terminal="pts/0", host="desk.example.net", started=0.0, pid=session)
        monkeypatch.setattr(psutil, "users", lambda: [login])
        peers = read_ssh_peers({}, sessions=tmp_path / "sessions")
    assert peers == {ip_address("127.0.0.81"): "SSH session of alice (pts/0)"}


@in_own_network
def test_an_address_that_comes_later_is_protected_from_the_next_read_on() -> None:
    place = Places(resolv_conf=(), ssh_peers=dict)
    before = read_protected(Allow(), place).networks
    ip("address add 203.0.113.10/32 dev wire0")
    wait_until(lambda: ip_network("203.0.113.10") in read_protected(Allow(), place).networks)
    assert ip_network("203.0.113.10") not in before
