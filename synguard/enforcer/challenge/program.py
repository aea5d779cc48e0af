"""The challenge program in the kernel: loaded, attached to interfaces, found again by the next process.

Nothing is pinned. Programs and maps live as long as a filter runs them or a process holds them; a new agent finds
them through the filters, which have a handle and a priority of their own.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from synguard.addresses import Network
from synguard.enforcer.challenge import layout, libbpf
from synguard.enforcer.challenge.every_map import MAP_NAMES, Maps
from synguard.enforcer.challenge.filters import has_filters, ingress_qdisc
from synguard.enforcer.challenge.maps import ArrayMap, HashMap
from synguard.enforcer.challenge.proven import ProvenTable
from synguard.enforcer.challenge.slots import Slots
from synguard.errors import PlaneError
from synguard.netlink import interface_name

OBJECT: Final = Path(__file__).parent / "bpf" / "challenge.bpf.o"
HANDLE: Final = 0x53594E
PRIORITY: Final = 0x5347
"""By these, at the clsact qdisc of an interface, and by the program's name a filter is known to be ours."""
NAME: Final = "synguard_"
_IN, _OUT = "synguard_in", "synguard_out"
_PROGRAMS: Final = (_IN, _OUT, f"{_IN}_ip", f"{_OUT}_ip")
_NOTES: Final = ("notes", "links")
"""Maps that the program does not use, only keeps."""

_SIOCGIFHWADDR: Final = 0x8927
_ETHERNET: Final = 1
_PLAIN_IP: Final = frozenset({512, 519, 768, 769, 776, 778, 823, 65_534})
"""Hardware types whose packets begin with the IP header: PPP, raw IP, tunnels, tun and WireGuard (linux/if_arp.h)."""
PASS_EVERY_S: Final = 0.1
_NS_PER_S: Final = 1_000_000_000
_ONCE_NS: Final = 1 << 62
"""Longer than any kernel is up: a peer that has used up what it had gets no more."""


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """How the program behaves, as far as no ban says it."""

    timestamps: bool = False
    """``net.ipv4.tcp_timestamps`` is 2: answers carry window scale, SACK and timestamps; else MSS alone."""
    pass_every_s: float = PASS_EVERY_S
    """Between two SYNs of challenged targets that reach one listener, on each CPU, so that it accepts cookies."""
    sample_one_in: int = 0
    """One in so many SYNs of challenged targets, a power of two, reaches its listener too; 0: none but those."""
    proven_per_second: float = 8.0
    """SYNs of one proven peer that pass unchallenged (0: one alone),"""
    proven_burst: int = 16
    """and how many of them at once."""
    onset_window_s: float = 0.02
    """A port's onset threshold is about SYNs within this time."""
    onset_quiet_s: float = 0.2
    """Between two wakes for one port."""


class Cookies(NamedTuple):
    """SYN cookies since the program was loaded."""

    answered: int = 0
    returned: int = 0
    """ACKs that brought a cookie, a listener's own or one from here, to a listener's port, of challenged sources"""
    others: int = 0
    """and from all others."""


class Program:
    """The loaded program and its maps; ``load`` and ``find`` make it."""

    def __init__(self, programs: dict[str, int], maps: Maps) -> None:
        self._programs = programs
        self.maps = maps

    @property
    def onset_fd(self) -> int:
        """A descriptor that is readable while SYNs to a port have become many; see ``onsets``."""
        return self.maps.descriptors["wakes"]

    def onsets(self) -> dict[int, int]:
        """Return port → SYNs within the window, of the wakes since the last call; port 0 is any that is not watched.

        ``onset_fd`` is not readable afterwards.
        """
        return {int(wake["port"]): int(wake["syns"]) for wake in self.maps.wakes.read()}

    def cookies(self) -> Cookies:
        """Return how many SYNs were answered so far, and how many cookies came back, on all ports."""
        counts = self.maps.port_counts.read()
        return Cookies(*(int(counts[name].sum()) for name in ("answered", "returned", "others")))

    def configure(self, settings: ProgramSettings) -> None:
        """Make the settings hold from the next packet on."""
        record = self.maps.settings[0]
        record["layout"] = layout.layout_number()
        record["timestamps"] = settings.timestamps
        record["pass_every"] = _ns(settings.pass_every_s)
        record["pass_mask"] = max(settings.sample_one_in - 1, 0)
        interval = _ns(1 / settings.proven_per_second) if settings.proven_per_second else _ONCE_NS
        record["proven_interval"] = interval
        record["proven_burst"] = (settings.proven_burst - 1) * interval if settings.proven_per_second else 0
        record["onset_window"] = _ns(settings.onset_window_s)
        record["onset_quiet"] = _ns(settings.onset_quiet_s)
        self.maps.settings[0] = record

    def watch(self, onset_by_port: dict[int, int]) -> None:
        """Count these local TCP ports exactly and learn how their listeners answer; at most 255, the rest is port 0.

        The value is the number of SYNs within ``onset_window_s`` that wakes the agent, 0 for never. Port 0 in it is
        all other ports together. Ports that bans name are watched until no ban does.
        """
        Slots(self.maps).watch(onset_by_port)

    def set_proven(self, peers: Iterable[Network]) -> None:
        """Let these single addresses pass unchallenged at their small rate, and no others."""
        wanted, proven = {layout.packed(peer) for peer in peers}, ProvenTable(self.maps)
        held = proven.read()
        proven.change(list(wanted - held)[: layout.PROVEN - len(held & wanted)], held - wanted)

    def attach(self, ifindex: int) -> None:
        """Attach to an interface, in the place of an earlier version of ours; no effect on foreign filters.

        Raises:
            PlaneError: It is of a kind that is not understood, has an ``ingress`` qdisc, or is gone.
        """
        kind = "" if _hardware_type(ifindex) == _ETHERNET else "_ip"
        own = libbpf.create_clsact(ifindex)
        if not own and ingress_qdisc(ifindex) != "clsact":
            raise PlaneError(
                f"attaching the challenge program to {interface_name(ifindex)}",
                "it has a qdisc of kind ingress, not clsact; replace it: tc qdisc replace dev IFACE clsact",
            )
        if own:
            self.maps.links.put(ifindex, (1,))
        libbpf.attach_filter(ifindex, libbpf.INGRESS, self._programs[_IN + kind], HANDLE, PRIORITY)
        libbpf.attach_filter(ifindex, libbpf.EGRESS, self._programs[_OUT + kind], HANDLE, PRIORITY)

    def detach(self, ifindex: int) -> None:
        """Leave an interface, and take our clsact away if it is empty; no error where we are not, or it is gone."""
        link = self.maps.links.get(ifindex)
        _leave(ifindex, own_clsact=link is not None and bool(link["own_clsact"]))
        self.maps.links.remove(ifindex)

    def attached(self) -> set[int]:
        """Return the interfaces (ifindex) where it runs for arriving and leaving packets."""
        return {index for index in _interfaces() if all(_ours(index, point) for point in _POINTS)}

    def close(self) -> None:
        """Close the descriptors; where it is attached it goes on."""
        for descriptor in (*self._programs.values(), *self.maps.descriptors.values()):
            os.close(descriptor)
        self._programs.clear()


_POINTS: Final = (libbpf.INGRESS, libbpf.EGRESS)


def load() -> Program:
    """Load the program with empty maps; it is attached nowhere yet.

    Raises:
        PlaneUnavailableError: No libbpf, or a kernel that does not take it.
        NotPermittedError: It takes CAP_BPF and CAP_NET_ADMIN.
    """
    program = _load({})
    program.configure(ProgramSettings())
    return program


def find() -> Program | None:
    """Return the program that runs already, with its maps as they are; None where none runs, or one of other maps.

    The code is loaded anew around the maps, so that an upgrade replaces it without losing a ban.

    Raises:
        PlaneError: The kernel could not be asked.
    """
    for index in _interfaces():
        found = _ours(index, libbpf.INGRESS)
        if found is None:
            continue
        maps = dict(libbpf.open_map(number) for number in found)
        if set(maps) == set(MAP_NAMES) and _same_layout(maps["settings"]):
            return _load(maps)
        for descriptor in maps.values():
            os.close(descriptor)
    return None


def remove_all() -> None:
    """Leave every interface of this network namespace, whichever version of ours is there."""
    for index in _interfaces():
        found = _ours(index, libbpf.INGRESS)
        if found is None and _ours(index, libbpf.EGRESS) is None:
            continue
        maps = dict(libbpf.open_map(number) for number in found or ())
        own = False
        if "links" in maps:
            link = HashMap("links", maps["links"], np.dtype(np.uint32), layout.LINK, 1024).get(index)
            own = link is not None and bool(link["own_clsact"])
        _leave(index, own_clsact=own)
        for descriptor in maps.values():
            os.close(descriptor)


def _load(maps: dict[str, int]) -> Program:
    file = libbpf.ObjectFile(OBJECT)
    try:
        for name, descriptor in maps.items():
            file.reuse(name, descriptor)
        file.load()
        programs = {name: file.program(name) for name in _PROGRAMS}
        maps = maps or {name: file.map(name) for name in MAP_NAMES}
    finally:
        file.close()
    for program in programs.values():
        for name in _NOTES:
            libbpf.keep_map(program, maps[name])
    return Program(programs, Maps(maps))


def _leave(ifindex: int, *, own_clsact: bool) -> None:
    for point in _POINTS:
        if _ours(ifindex, point) is not None:
            libbpf.detach_filter(ifindex, point, HANDLE, PRIORITY)
    if own_clsact and not has_filters(ifindex):
        libbpf.remove_clsact(ifindex)


def _ours(ifindex: int, point: int) -> list[int] | None:
    """Return the ids of the maps of our program at this place; None where it is not there."""
    program = libbpf.filter_program(ifindex, point, HANDLE, PRIORITY)
    if program is None:
        return None
    name, maps = libbpf.program_name_and_maps(program)
    return maps if name.startswith(NAME) else None


def _same_layout(settings: int) -> bool:
    found = ArrayMap("settings", settings, layout.SETTINGS, 1)[0]
    return int(found["layout"]) == layout.layout_number()


def _interfaces() -> list[int]:
    return [index for index, _ in socket.if_nameindex()]


def _hardware_type(ifindex: int) -> int:
    """Return the interface's hardware type, one that the program understands."""
    action = f"attaching the challenge program to {interface_name(ifindex)}"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
            name = socket.if_indextoname(ifindex).encode()
            answer = fcntl.ioctl(asked, _SIOCGIFHWADDR, struct.pack("16s24x", name))
    except (OSError, ValueError, OverflowError) as error:  # the last two: no index that any interface has
        raise PlaneError(action, getattr(error, "strerror", None) or str(error)) from error
    found: int = struct.unpack_from("=H", answer, 16)[0]
    if found != _ETHERNET and found not in _PLAIN_IP:
        raise PlaneError(action, f"its hardware type {found} is not understood")
    return found


def _ns(seconds: float) -> int:
    return round(seconds * _NS_PER_S)
