"""Which namespaces lie behind ours, each held open by a reader as long as it lives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from synguard.addresses import Address, Network, host_network
from synguard.errors import SensorError
from synguard.plain import listed
from synguard.readings import CONTAINERS, Protected
from synguard.sensors.container_probe import ContainerProbe, forwards, own_addresses, probe_container
from synguard.sensors.namespaces import Sighting, Walk
from synguard.sensors.veth_links import VethPeer, nsid_of, read_veth_peers

if TYPE_CHECKING:
    from synguard.sensors.namespace_reader import NamespaceReader

LOOK_EVERY_S: Final = 10.0
LOOK_AGAIN_S: Final = 1.0
"""After a namespace went away or could not be read."""
MOST_NAMESPACES: Final = 64
"""Namespaces read at once; those beyond are covered by sampled SYNs."""
_MOST_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class Unread:
    """A namespace behind ours whose sockets are not read, and why."""

    interface: str
    reason: str


@dataclass(frozen=True, slots=True)
class NamespaceContext:
    """What rtnetlink tells; tests put their own here."""

    peers: Callable[[], list[VethPeer]] = read_veth_peers
    forwards: Callable[[], bool] = forwards
    own: Callable[[], frozenset[Address]] = own_addresses
    number: Callable[[int], int | None] = nsid_of
    probe: Callable[[int], ContainerProbe] = probe_container


class Containers:
    """Finds the namespaces behind ours and keeps one reader for each."""

    def __init__(self, walk: Walk | None = None, surroundings: NamespaceContext | None = None) -> None:
        self._walk = walk or Walk()
        self._around = surroundings or NamespaceContext()
        self._due = float("-inf")
        self._readers: dict[int, NamespaceReader] = {}
        self._peers: dict[int, VethPeer] = {}
        self._refused: dict[int, str] = {}
        """Our number of a namespace → why it could not be opened or read, since the last look."""
        self._probes: dict[int, ContainerProbe] = {}
        self._beside: set[int] = set()
        """Namespaces that a link of ours leads to and that do not live by us: neighbours, routers, strangers."""
        self.addresses: Mapping[Network, str] = {}
        """Addresses of containers that serve something, with the reason for people: they are this host's own."""
        self.clients: Mapping[Network, str] = {}
        """Addresses of the other containers that are read: they may be limited, and are never cut off."""
        self.unread: tuple[Unread, ...] = ()
        self.bridged: tuple[VethPeer, ...] = ()
        """Peers in namespaces that a bridge hands packets to past our chains; they are not read: no ban would help."""

    @property
    def readers(self) -> tuple[NamespaceReader, ...]:
        """The namespaces that are read, in the order they were found."""
        return tuple(self._readers.values())

    def look(self, now: float) -> None:
        """Find what is new and let go of what is gone; every ten seconds, in bounded time.

        Raises:
            SensorError: Interfaces or routes cannot be read.
        """
        self._drop_gone(now)
        if now < self._due:
            return
        self._due = now + LOOK_EVERY_S
        self._refused = {}
        self._beside = set()
        peers = self._around.peers() if self._around.forwards() else []
        self.bridged = tuple(peer for peer in peers if not peer.routed)
        self._peers = {peer.nsid: peer for peer in peers if peer.routed}
        for nsid, reader in list(self._readers.items()):
            if nsid not in self._peers or self._around.number(reader.descriptor) != nsid:
                self._drop(nsid)
        missing = self._peers.keys() - self._readers.keys()
        if missing:
            self._adopt(set(missing))
        self.addresses, self.clients = self._addresses(now)
        self._note_unread()

    def failed(self, reader: NamespaceReader, reason: str, now: float) -> None:
        """Let go of a namespace that could not be read; it is tried again at the next look, a second from now."""
        for nsid, one in list(self._readers.items()):
            if one is reader:
                self._drop(nsid)
                self._refused[nsid] = reason
        self._due = min(self._due, now + LOOK_AGAIN_S)
        self._note_unread()

    def close(self) -> None:
        """Let every namespace go."""
        for nsid in list(self._readers):
            self._drop(nsid)
        self._due = float("-inf")

    def _drop_gone(self, now: float) -> None:
        for nsid, reader in list(self._readers.items()):
            if not reader.sighting.stands():
                self._drop(nsid)
                self._due = min(self._due, now)  # it may live on under another holder

    def _drop(self, nsid: int) -> None:
        self._readers.pop(nsid).close()
        self._probes.pop(nsid, None)

    def _addresses(self, now: float) -> tuple[dict[Network, str], dict[Network, str]]:
        """Return the addresses of those that listen, and of those that only connect."""
        serving: dict[Network, str] = {}
        others: dict[Network, str] = {}
        for nsid, reader in self._readers.items():
            try:
                found = serving if len(reader.listening(now)) else others
            except SensorError:  # its sockets tell whether it can be read
                found = others
            for address in self._probes[nsid].addresses:
                found[host_network(address)] = f"own address of {reader.label}"
        return serving, others

    def _adopt(self, missing: set[int]) -> None:
        own = self._around.own()
        for sighting in self._walk.sightings():
            nsid = self._number(sighting)
            if nsid in missing and len(self._readers) < MOST_NAMESPACES:
                missing.discard(nsid)
                try:
                    self._take(nsid, sighting, own)
                except SensorError as error:
                    self._refused[nsid] = str(error)
            if not missing:
                return

    def _take(self, nsid: int, sighting: Sighting, own: frozenset[Address]) -> None:
        from synguard.sensors.namespace_reader import NamespaceReader

        reader = NamespaceReader(sighting, self._label(sighting))
        try:
            probe = self._around.probe(reader.descriptor)
        except SensorError:
            reader.close()
            raise
        if probe.lives_by(own):
            self._readers[nsid], self._probes[nsid] = reader, probe
        else:
            self._beside.add(nsid)
            reader.close()

    def _number(self, sighting: Sighting) -> int:
        """Return our number for a namespace; -1 where it has none, is gone, or may not be opened."""
        try:
            descriptor = sighting.open()
        except SensorError:
            return -1
        try:
            number = self._around.number(descriptor)
        except SensorError:
            return -1
        finally:
            os.close(descriptor)
        return -1 if number is None else number

    def _label(self, sighting: Sighting) -> str:
        label = sighting.label()
        taken = any(reader.label == label for reader in self._readers.values())
        return f"{label} ({sighting.inode})" if taken else label

    def _note_unread(self) -> None:
        full = f"{MOST_NAMESPACES} namespaces are read already"
        unseen = "no process of it may be looked at" if self._walk.refused else "no name or process leads to it yet"
        usual = full if len(self._readers) >= MOST_NAMESPACES else unseen
        self.unread = tuple(
            Unread(peer.interface, self._refused.get(nsid, usual))
            for nsid, peer in sorted(self._peers.items())
            if nsid not in self._readers and nsid not in self._beside
        )

    def summary(self) -> str:
        """Return one sentence on what is read and what is not."""
        names = [reader.label for reader in self._readers.values()]
        parts = []
        if names:
            parts.append(f"reads {listed(names, _MOST_SHOWN)}")
        if self.unread:
            reasons = "; ".join(sorted({one.reason for one in self.unread})[:2])
            parts.append(
                f"{len(self.unread)} behind {_interfaces(self.unread)} covered by sampled SYNs alone: {reasons}"
            )
        if self.bridged:
            names = sorted({peer.interface for peer in self.bridged})
            parts.append(f"{len(self.bridged)} not protected: {', '.join(names[:_MOST_SHOWN])} bridges past our chains")
        return "; ".join(parts) or "no other network namespace lies behind this one"


def _interfaces(unread: Iterable[Unread]) -> str:
    return ", ".join(sorted({one.interface for one in unread})[:_MOST_SHOWN])


def with_containers(seen: Protected, containers: Containers) -> Protected:
    """Return who may never be banned with the containers that serve something, and the others as never cut off."""
    return replace(
        seen,
        networks={**containers.addresses, **seen.networks},
        never_cut_off=containers.clients,
        parts={CONTAINERS: containers.addresses, **seen.parts},
    )
