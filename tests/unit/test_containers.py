"""Which namespaces are read, which are told of as unread, and when they are let go; no kernel needed."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

import pytest

from synguard.errors import SensorError
from synguard.sensors import containers, namespace_reader
from synguard.sensors.container_probe import ContainerProbe
from synguard.sensors.containers import LOOK_AGAIN_S, LOOK_EVERY_S, Containers, NamespaceContext
from synguard.sensors.namespaces import Sighting, Walk
from synguard.sensors.veth_links import VethPeer

OWN = frozenset({ip_address("172.17.0.1")})
LIVES_HERE = ContainerProbe(gateways=OWN, goes_out=True, addresses=frozenset({ip_address("172.17.0.2")}))


class FakeReader:
    """Holds a file where a namespace would be."""

    refuse = ""

    def __init__(self, sighting: Sighting, label: str) -> None:
        if self.refuse:
            raise SensorError(self.refuse)
        self.sighting, self.label = sighting, label
        self.descriptor = sighting.open()

    def listening(self, now: float) -> list[int]:
        return [80] if not self.label.endswith("client") else []

    def close(self) -> None:
        os.close(self.descriptor)


class Host:
    """Files stand for namespaces: each is numbered by its name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port_mapping: list[VethPeer] = []
        self.looks = 0
        self.forwards = True
        self.probes: dict[int, ContainerProbe] = {}

    def probe(self, descriptor: int) -> ContainerProbe:
        return self.probes.get(self.number(descriptor) or 0, LIVES_HERE)

    def add(self, nsid: int, *, routed: bool = True) -> None:
        (self.directory / f"ns{nsid}").touch()
        self.port_mapping.append(VethPeer(nsid, "br0", 3, routed=routed))

    def remove(self, nsid: int) -> None:
        (self.directory / f"ns{nsid}").unlink()
        self.port_mapping = [door for door in self.port_mapping if door.nsid != nsid]

    def number(self, descriptor: int) -> int | None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        return int(name.removeprefix("ns").split(" ")[0]) if name.startswith("ns") else None

    def read_peers(self) -> list[VethPeer]:
        self.looks += 1
        return list(self.port_mapping)


class FilesWalk(Walk):
    """Sees the files of one directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def sightings(self):  # type: ignore[no-untyped-def]  # as the base class
        for path in sorted(self._directory.iterdir()):
            yield Sighting(path.stat().st_ino, str(path))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(namespace_reader, "NamespaceReader", FakeReader)
    monkeypatch.setattr(FakeReader, "refuse", "")
    return Host(tmp_path)


def watching(host: Host) -> Containers:
    around = NamespaceContext(host.read_peers, lambda: host.forwards, lambda: OWN, host.number, host.probe)
    return Containers(FilesWalk(host.directory), around)


def read(watched: Containers) -> list[str]:
    return [reader.label for reader in watched.readers]


def test_only_namespaces_behind_veth_peers_are_read(host: Host) -> None:
    host.add(1)
    (host.directory / "ns2").touch()  # another tenant of the machine
    (host.directory / "somebody").touch()
    watched = watching(host)
    watched.look(0.0)
    assert read(watched) == ["ns1"]
    assert watched.unread == ()
    assert watched.summary() == "reads ns1"
    watched.close()


def test_it_looks_around_every_ten_seconds(host: Host) -> None:
    watched = watching(host)
    for now in range(int(2 * LOOK_EVERY_S)):
        watched.look(float(now))
    assert host.looks == 2
    watched.close()


def test_a_namespace_that_went_away_is_let_go_at_once_and_told_of_no_more(host: Host) -> None:
    host.add(1)
    watched = watching(host)
    watched.look(0.0)
    [reader] = watched.readers
    host.remove(1)
    watched.look(0.2)
    assert read(watched) == []
    assert watched.unread == ()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader.descriptor)


def test_a_namespace_that_may_not_be_entered_is_unread_with_the_reason_until_it_may(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.add(1)
    monkeypatch.setattr(FakeReader, "refuse", "it needs CAP_SYS_ADMIN")
    watched = watching(host)
    watched.look(0.0)
    assert [one.reason for one in watched.unread] == ["it needs CAP_SYS_ADMIN"]
    assert "1 behind br0 covered by sampled SYNs alone: it needs CAP_SYS_ADMIN" in watched.summary()
    monkeypatch.setattr(FakeReader, "refuse", "")
    watched.look(LOOK_EVERY_S)
    assert watched.unread == ()
    watched.close()


def test_a_namespace_that_cannot_be_read_is_let_go_and_tried_again_a_second_later(host: Host) -> None:
    host.add(1)
    watched = watching(host)
    watched.look(0.0)
    watched.failed(watched.readers[0], "no socket table this time", 1.0)
    assert [one.reason for one in watched.unread] == ["no socket table this time"]
    watched.look(1.0 + LOOK_AGAIN_S / 2)
    assert read(watched) == []
    watched.look(1.0 + LOOK_AGAIN_S)
    assert read(watched) == ["ns1"]
    assert watched.unread == ()
    watched.close()


def test_more_namespaces_than_are_held_at_once_are_told_of(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MOST_NAMESPACES", 2)
    for nsid in range(5):
        host.add(nsid)
    watched = watching(host)
    watched.look(0.0)
    assert len(watched.readers) == 2
    assert {one.reason for one in watched.unread} == {"2 namespaces are read already"}
    assert len(watched.unread) == 3
    watched.close()


def test_a_namespace_that_packets_reach_past_our_chains_is_not_read_for_no_ban_would_help(host: Host) -> None:
    host.add(1, routed=False)
    watched = watching(host)
    watched.look(0.0)
    assert read(watched) == []
    assert watched.unread == ()
    assert "not protected: br0 bridges past our chains" in watched.summary()
    watched.close()


@pytest.mark.parametrize(
    ("gateways", "goes_out", "lives_here"),
    [
        (["172.17.0.1"], True, True),
        (["169.254.1.1"], True, True),
        (["fe80::1"], True, True),
        ([], True, True),
        ([], False, False),
        (["10.0.0.1"], True, False),
    ],
)
def test_a_container_is_one_whose_way_out_is_this_host(
    host: Host, gateways: list[str], goes_out: bool, lives_here: bool
) -> None:
    """Attackers in a namespace at the other end of a veth pair were once taken for containers, and protected."""
    host.add(1)
    host.probes[1] = ContainerProbe(frozenset(map(ip_address, gateways)), goes_out, frozenset({ip_address("10.0.0.2")}))
    watched = watching(host)
    watched.look(0.0)
    assert bool(read(watched)) is lives_here
    assert watched.unread == ()
    assert {str(address) for address in watched.addresses} == ({"10.0.0.2/32"} if lives_here else set())
    watched.close()


def test_a_namespace_that_serves_nothing_is_a_client_that_may_be_limited_and_is_never_cut_off(host: Host) -> None:
    (host.directory / "ns7 client").touch()
    host.port_mapping.append(VethPeer(7, "br0", 3, routed=True))
    watched = watching(host)
    watched.look(0.0)
    assert read(watched) == ["ns7 client"]
    assert watched.addresses == {}
    assert {str(one): why for one, why in watched.clients.items()} == {"172.17.0.2/32": "own address of ns7 client"}
    watched.close()


def test_a_host_that_forwards_nothing_has_no_containers(host: Host) -> None:
    host.add(1)
    host.forwards = False
    watched = watching(host)
    watched.look(0.0)
    assert read(watched) == []
    assert watched.unread == ()
    watched.close()
