import os
import socket
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from synguard import netlink
from synguard.addresses import host_network
from synguard.errors import SensorError
from synguard.netlink import attribute
from synguard.policy.models import Allow
from synguard.sensors.gateways import hops_in
from synguard.sensors.logged_in import read_login_gaps, read_ssh_peers
from synguard.sensors.protected import Places, read_protected, resolvers

ALICE = IPv4Address("192.0.2.81")


def places(**others: object) -> Places:
    chosen: dict[str, object] = {"resolv_conf": (), "ssh_peers": dict, "gateways": dict, "gaps": tuple, **others}
    return Places(**chosen)  # type: ignore[arg-type]


def login(host: str | None, pid: int | None = None) -> SimpleNamespace:
    return SimpleNamespace(name="alice", terminal="pts/0", host=host, started=0.0, pid=pid)


def no_logind(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


def test_the_host_itself_loopback_and_multicast_are_always_protected() -> None:
    protected = read_protected(Allow(), places())
    assert protected.problems == ()
    assert protected.networks[ip_network("127.0.0.0/8")] == "loopback"
    assert protected.networks[ip_network("::1")] == "loopback"
    assert protected.networks[ip_network("ff00::/8")] == "multicast"
    assert protected.networks[ip_network("127.0.0.1")] == "own address of lo"


def test_gateways_people_and_the_allow_list_each_come_with_their_reason(tmp_path: Path) -> None:
    path = tmp_path / "friends"
    path.write_text("198.51.100.0/24 # office\n")
    protected = read_protected(
        Allow(addresses=("203.0.113.0/24",), files=(path,)),  # type: ignore[arg-type]
        places(
            ssh_peers=lambda: {ALICE: "SSH session of alice (pts/0)"},
            gateways=lambda: {ip_address("192.0.2.1"): "eth0", ip_address("fe80::1"): "eth1"},
        ),
    )
    reasons = {str(network): reason for network, reason in protected.networks.items()}
    assert reasons["192.0.2.81/32"] == "SSH session of alice (pts/0)"
    assert reasons["192.0.2.1/32"] == "default gateway via eth0"
    assert reasons["fe80::1/128"] == "default gateway via eth1"
    assert reasons["198.51.100.0/24"] == f"allow-list {path}: office"
    assert reasons["203.0.113.0/24"] == "allow-list of the configuration"


def test_whatever_cannot_be_read_is_a_problem_and_the_rest_is_still_known(tmp_path: Path) -> None:
    def hidden() -> dict[IPv4Address, str]:
        raise SensorError("cannot read the routing tables: Operation not permitted")

    def logins_hidden() -> dict[IPv4Address, str]:
        raise PermissionError(13, "Permission denied")

    protected = read_protected(
        Allow(files=(tmp_path / "gone",)),
        places(gateways=hidden, ssh_peers=logins_hidden, resolv_conf=(tmp_path,)),
    )
    assert len(protected.problems) == 4
    assert "gone: the allow-list cannot be read" in protected.problems[0]
    assert protected.problems[1].startswith(f"cannot read {tmp_path}: Is a directory; nothing of it was known before")
    assert protected.problems[2].startswith("cannot read who is logged in over SSH: Permission denied; ")
    assert protected.problems[3].startswith("cannot read the routing tables: Operation not permitted; ")
    assert ip_network("127.0.0.1") in protected.networks


def unreadable() -> dict[IPv4Address, str]:
    raise SensorError("cannot read it")


@pytest.mark.parametrize(
    ("part", "broken"),
    [
        ("allow-list file that is gone", lambda place, path: path.unlink()),
        ("allow-list file with a faulty line", lambda place, path: path.write_text("192.0.2.5-192.0.2.9\n")),
        ("resolv.conf", lambda place, path: place.update(resolv_conf=(path.parent,))),
        ("logins", lambda place, path: place.update(ssh_peers=unreadable)),
        ("gateways", lambda place, path: place.update(gateways=unreadable)),
    ],
)
def test_a_part_that_cannot_be_read_keeps_what_was_known_and_says_who_it_is(
    part: str, broken: Callable[[dict[str, object], Path], None], tmp_path: Path
) -> None:
    """A typing slip in an allow file, or an editor that replaces it, used to refuse everybody that it named."""
    path, resolv = tmp_path / "friends", tmp_path / "resolv.conf"
    path.write_text("192.0.2.20 # office\n")
    resolv.write_text("nameserver 192.0.2.53\n")
    allow = Allow(files=(path,))
    place: dict[str, object] = {
        "resolv_conf": (resolv,),
        "ssh_peers": lambda: {ALICE: "SSH session of alice"},
        "gateways": lambda: {ip_address("192.0.2.1"): "eth0"},
    }
    before = read_protected(allow, places(**place))
    if part == "resolv.conf":
        before = replace(before, parts={**before.parts, str(tmp_path): before.parts[str(resolv)]})
    broken(place, path)
    after = read_protected(allow, places(**place), before.parts)
    assert after.networks == before.networks
    assert len(after.problems) == 1
    assert "still protected: 192.0.2." in after.problems[0]
    again = read_protected(allow, places(**place), after.parts)
    assert again == after, "however often it is read"


def test_lines_that_can_be_used_protect_beside_a_faulty_one(tmp_path: Path) -> None:
    path = tmp_path / "friends"
    path.write_text("192.0.2.20\nexample.net\n")
    protected = read_protected(Allow(files=(path,)), places())
    assert ip_network("192.0.2.20") in protected.networks
    assert protected.problems[0].startswith(f"{path}:2: ")


def test_a_file_that_is_written_in_place_keeps_whom_it_named_until_it_is_whole(tmp_path: Path) -> None:
    """`curl … > friends` is an empty file for a second, then half a file: its readers saw a list without her."""
    path = tmp_path / "friends"
    path.write_text("192.0.2.20\n192.0.2.21\n")
    known = read_protected(Allow(files=(path,)), places()).parts
    for half in ("", "192.0.2.21\n192.0.2.2"):
        path.write_text(half)
        found = read_protected(Allow(files=(path,)), places(), known)
        assert ip_network("192.0.2.20") in found.networks
        assert found.problems == ()


def test_what_a_source_that_reads_again_no_longer_names_is_not_protected_any_more(tmp_path: Path) -> None:
    path = tmp_path / "friends"
    path.write_text("192.0.2.20\n")
    known = read_protected(Allow(files=(path,)), places()).parts
    path.write_text("192.0.2.21\n")
    os.utime(path, (0, 0))
    networks = read_protected(Allow(files=(path,)), places(), known).networks
    assert ip_network("192.0.2.21") in networks
    assert ip_network("192.0.2.20") not in networks
    assert ip_network("192.0.2.20") not in read_protected(Allow(), places(), known).networks


def test_resolvers_stay_protected_while_their_file_is_being_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.53\n")
    known = read_protected(Allow(), places(resolv_conf=(path,))).parts
    for change in (lambda: path.write_text(""), path.unlink):
        change()
        found = read_protected(Allow(), places(resolv_conf=(path,)), known)
        assert ip_network("192.0.2.53") in found.networks
        assert found.problems == ()
    path.write_text("nameserver 192.0.2.54\n")
    assert ip_network("192.0.2.53") not in read_protected(Allow(), places(resolv_conf=(path,)), known).networks


def test_every_nameserver_is_a_resolver_and_other_words_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# by dhclient\nsearch example.net\nnameserver 192.0.2.53\nnameserver\t2001:db8::53  # second\n"
        "nameserver fe80::1%eth0\nnameserver none\nnameserver\noptions edns0\n"
    )
    assert {str(network) for network in resolvers(path)} == {"192.0.2.53/32", "2001:db8::53/128", "fe80::1/128"}


def test_a_host_without_resolv_conf_has_no_resolvers(tmp_path: Path) -> None:
    protected = read_protected(Allow(), places(resolv_conf=(tmp_path / "gone", tmp_path / "no" / "such")))
    assert protected.problems == ()


def test_resolvers_behind_a_server_on_this_host_are_known_or_said_not_to_be(tmp_path: Path) -> None:
    """NetworkManager's dnsmasq and unbound put 127.0.0.1 into resolv.conf; those that they ask were not protected."""
    stub, behind = tmp_path / "resolv.conf", tmp_path / "no-stub-resolv.conf"
    stub.write_text("nameserver 127.0.0.1\n")
    [gap] = read_protected(Allow(), places(resolv_conf=(stub, behind))).gaps
    assert "cannot be known" in gap
    assert "127.0.0.1" in gap
    behind.write_text("nameserver 192.0.2.53\n")
    protected = read_protected(Allow(), places(resolv_conf=(stub, behind)))
    assert protected.gaps == protected.problems == ()
    assert ip_network("192.0.2.53") in protected.networks
    assert Path("/run/NetworkManager/no-stub-resolv.conf") in Places().resolv_conf


def test_a_server_at_an_address_of_this_host_hides_its_resolvers_as_one_at_loopback_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """unbound for a whole network listens on the host's own address, and resolv.conf names that."""
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.10\nnameserver ::1\n")
    monkeypatch.setattr("synguard.sensors.protected.own_addresses", lambda: {ip_network("192.0.2.10"): "own address"})
    [gap] = read_protected(Allow(), places(resolv_conf=(path,))).gaps
    assert "192.0.2.10, a server on this host" in gap
    path.write_text("nameserver 192.0.2.10\nnameserver 192.0.2.53\n")
    assert read_protected(Allow(), places(resolv_conf=(path,))).gaps == ()


def test_a_resolv_conf_without_end_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("".join(f"nameserver 10.0.{n >> 8}.{n & 255}\n" for n in range(60_000)))
    assert len(resolvers(path)) == 32


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("192.0.2.81", True),
        ("::ffff:192.0.2.81", True),
        ("192.0.2.81 via mosh [4711]", True),
        ("192.0.2.81:S.0", True),
        (":0", False),
        ("tmux(4711).%0", False),
        ("", False),
        (None, False),
        ("desk.example.net", False),
    ],
)
def test_a_login_protects_the_address_it_came_from(
    host: str | None, known: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(psutil, "users", lambda: [login(host)])
    peers = read_ssh_peers({}, no_logind(tmp_path), tmp_path)
    assert peers == ({ALICE: "SSH session of alice (pts/0)"} if known else {})


def test_a_record_that_a_users_own_program_wrote_protects_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """utempter writes whatever host it is told, for whoever asks: any local user could make an attacker immune."""
    for user, known in ((65534, False), (0, True)):
        with subprocess.Popen(["sleep", "60"], user=user) as process:
            record = login("192.0.2.81", process.pid)
            monkeypatch.setattr(psutil, "users", lambda record=record: [record])
            peers = read_ssh_peers({}, no_logind(tmp_path), tmp_path)
            process.kill()
        assert bool(peers) is known


def test_a_session_that_ended_meanwhile_protects_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(psutil, "users", lambda: [login("desk.example.net", 2**22 + 1)])
    assert read_ssh_peers({}, no_logind(tmp_path), tmp_path) == {}


def test_who_started_the_agent_over_ssh_is_protected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(psutil, "users", list)
    environ = {"SSH_CONNECTION": "2001:db8::81 50022 2001:db8::1 22"}
    peers = read_ssh_peers(environ, no_logind(tmp_path), tmp_path)
    assert peers == {ip_address("2001:db8::81"): "SSH session that started synguard"}


def test_logind_names_sessions_on_hosts_without_utmp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(psutil, "users", list)
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    (tmp_path / "proc").mkdir()
    (sessions / "12").write_text("UID=1000\nUSER=alice\nSTATE=active\nREMOTE=1\nREMOTE_HOST=192.0.2.81\nTTY=pts/0\n")
    (sessions / "13").write_text("UID=1000\nUSER=bob\nSTATE=closing\nREMOTE=1\nREMOTE_HOST=192.0.2.82\n")
    (sessions / "1").write_text("UID=0\nUSER=root\nSTATE=active\nREMOTE=0\nTTY=tty1\n")
    os.mkfifo(sessions / "12.ref")
    peers = read_ssh_peers({}, sessions, tmp_path / "proc")
    assert peers == {ALICE: "SSH session of alice (pts/0)"}


def process(proc: Path, pid: int, name: str, *, seen: bool = True) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(f"{name}\n")
    if seen:
        (proc / str(pid) / "exe").symlink_to(f"/usr/sbin/{name}")


def test_a_login_daemon_whose_sessions_cannot_be_told_is_a_gap_and_sshd_is_none(tmp_path: Path) -> None:
    process(tmp_path, 1, "systemd")
    process(tmp_path, 7, "sshd")
    assert read_login_gaps(tmp_path) == ()
    process(tmp_path, 8, "dropbear")
    assert read_login_gaps(tmp_path) == (
        "who is logged in through dropbear cannot be known: put the addresses that you log in from into [allow]",
    )


def test_a_host_that_hides_its_processes_has_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process(tmp_path, 300, "python")
    assert "hidden from this user" in read_login_gaps(tmp_path)[0]
    process(tmp_path, 1, "systemd")
    process(tmp_path, 7, "sshd", seen=False)

    def refused(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "readlink", refused)
    assert "may not be looked at" in read_login_gaps(tmp_path)[0]


def test_a_gap_is_told_and_suspends_nothing() -> None:
    protected = read_protected(Allow(), places(gaps=lambda: ("who is logged in cannot be known",)))
    assert protected.gaps == ("who is logged in cannot be known",)
    assert protected.problems == ()


def rtnetlink_route(dst_len: int, *attributes: bytes, kind: int = 1) -> bytes:
    """Build the body of an RTM_NEWROUTE message as rtnetlink(7) has it."""
    return struct.pack("=BBBBBBBBI", socket.AF_INET, dst_len, 0, 0, 254, 4, 0, kind, 0) + b"".join(attributes)


def gateway(address: str) -> bytes:
    return attribute(5, ip_address(address).packed)


LO = attribute(4, struct.pack("=i", 1))


def test_only_default_routes_through_a_gateway_name_one() -> None:
    routes = (
        rtnetlink_route(0, gateway("192.0.2.1"), LO),
        rtnetlink_route(24, gateway("192.0.2.2"), LO),
        rtnetlink_route(0, LO),
        rtnetlink_route(0, gateway("192.0.2.3"), LO, kind=7),
        rtnetlink_route(1, gateway("192.0.2.4"), LO),
    )
    assert [(str(address), index) for route in routes for address, index in hops_in(route)] == [
        ("192.0.2.1", 1),
        ("None", 1),
        ("192.0.2.4", 1),
    ]


def test_every_next_hop_of_a_multipath_route_and_an_ipv6_next_hop_of_ipv4_are_gateways() -> None:
    hops = b"".join(
        struct.pack("=HBBi", 8 + len(hop), 0, 0, 1) + hop
        for hop in (gateway("192.0.2.1"), attribute(18, struct.pack("=H", 10) + ip_address("fe80::1").packed))
    )
    found = {str(address) for address, index in hops_in(rtnetlink_route(0, attribute(9, hops))) if index}
    assert found == {"192.0.2.1", "fe80::1"}


def test_a_torn_routing_message_names_no_gateway_and_raises_nothing() -> None:
    whole = rtnetlink_route(0, attribute(9, struct.pack("=HBBi", 16, 0, 0, 1) + gateway("192.0.2.1")))
    for end in range(len(whole)):
        assert {address for address, _ in hops_in(whole[:end])} <= {None}


def test_an_address_of_two_reasons_keeps_what_it_is_to_this_host() -> None:
    protected = read_protected(
        Allow(addresses=("192.0.2.1",)),  # type: ignore[arg-type]
        places(gateways=lambda: {ip_address("192.0.2.1"): "eth0"}),
    )
    assert protected.networks[host_network(ip_address("192.0.2.1"))] == "default gateway via eth0"


@pytest.mark.parametrize("error", [OSError(6, "No such device"), OverflowError(), ValueError("negative")])
def test_a_route_through_an_interface_that_never_was_is_named_by_its_number(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``if_indextoname(-1)`` is an OverflowError up to Python 3.13 and a ValueError in 3.14."""

    def refuse(index: int) -> str:
        raise error

    monkeypatch.setattr(socket, "if_indextoname", refuse)
    assert netlink.interface_name(-1) == "interface -1"
