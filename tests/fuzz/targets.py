"""What reads bytes that others choose, each with the errors it may answer them with and seeds to start from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from synguard.addresses import format_network, parse_network
from synguard.enforcer.iptables.set_members import SetMembers, parse_save
from synguard.enforcer.nftables import elements, nft, parser
from synguard.enforcer.nftables import netlink as nft_netlink
from synguard.enforcer.nftables.layout import SetId, set_id
from synguard.enforcer.nftables.members import take_elements
from synguard.enforcer.nftables.text import frame_lines
from synguard.enforcer.sysctl import SYN_COOKIES
from synguard.enforcer.sysctl_note import NOTE_FILES, SysctlNoteFile
from synguard.errors import (
    ConfigError,
    LedgerError,
    NotPermittedError,
    PlaneError,
    SensorError,
    SynguardError,
    UsageError,
)
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.netlink import NLMSG_DONE, NLMSG_ERROR, attributes, messages
from synguard.operator.enablement import FILE, EnablementFile, Login
from synguard.operator.lists import MOST_REASON, read_lists
from synguard.operator.login import why_not_new
from synguard.policy.load import load_file, load_policies
from synguard.policy.models import Config
from synguard.recording.reader import Recording
from synguard.sensors.allow_list import parse_allow_text
from synguard.sensors.bpf import SNAP6
from synguard.sensors.counters import parse_group
from synguard.sensors.gateways import hops_in
from synguard.sensors.inet_diag import decode, ends_dump
from synguard.sensors.packet_ring import FRAME, PacketRing
from synguard.sensors.packets import decode_ipv4, decode_ipv6
from synguard.sensors.tcp_metrics import decode_finished_peers
from synguard.status.model import STATUS_FILE, read_status
from tests.fuzz import seeds

SEQUENCE: Final = 0x5EC0_0001
NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of hostile bytes."""

    read: Callable[[bytes, Path], object]
    """Given the input and a directory of its own."""
    allowed: tuple[type[Exception], ...]
    """What it may raise: the documented errors and no others."""
    seeds: Callable[[], list[bytes]]


def sock_diag(data: bytes, _: Path) -> None:
    """A dump of sockets, from the kernel."""
    words = np.frombuffer(data[: len(data) & ~3], np.uint32)
    ends_dump(words, SEQUENCE)
    part = decode(words, SEQUENCE)
    assert len(part.sockets.inode) == len(part.sockets.table)


def netlink(data: bytes, _: Path) -> None:
    """The framing that other dumps share, with routes and finished peers in it."""
    for body in bodies(data):
        assert len(body) <= len(data)
        for _kind, value in attributes(body):
            assert len(value) <= len(body)


def routes(data: bytes, _: Path) -> None:
    """Routing tables."""
    for body in bodies(data):
        list(hops_in(body))


def tcp_metrics(data: bytes, _: Path) -> None:
    """The kernel's memory of finished connections."""
    entries = bodies(data)
    high, low = decode_finished_peers(entries, 60.0)
    assert len(high) == len(low) <= len(entries)


def bodies(data: bytes) -> list[bytes]:
    """The messages of a datagram up to the one that ends the answer, or one that is cut short."""
    found: list[bytes] = []
    with suppress(OSError):
        for kind, _, body in messages(data):
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                break
            found.append(body)
    return found


class Played:
    """A netlink socket that has the input for an answer, in datagrams of up to 4 KiB."""

    def __init__(self, data: bytes) -> None:
        self._left = [data[start : start + 4096] for start in range(0, len(data), 4096)]

    def send(self, data: bytes) -> None:
        """Take the question."""

    def recv(self, size: int) -> bytes:
        """Give the next datagram, or time out."""
        if not self._left:
            raise TimeoutError("timed out")
        return self._left.pop(0)[:size]


def nft_set(data: bytes, _: Path) -> None:
    """Elements of an nf_tables set, and the bans that they stand for."""
    for name in ("new-drop-4-24", "all-drop-6-64", "new-port-drop-4-24"):
        one = set_id(name)
        answer = nft_netlink.ask(Played(data), 13)  # type: ignore[arg-type]  # plays the two methods that it uses
        if isinstance(one, SetId):
            take_elements(SetMembers(), one, elements.whole(answer) or [])


def nft_frame(data: bytes, _: Path) -> None:
    """Chains, rules and sets of our table, and what would mend it."""
    answer = nft_netlink.ask(Played(data), 4)  # type: ignore[arg-type]  # plays the two methods that it uses
    frame = parser.frame_of(answer.bodies)
    for body in answer.bodies:
        for take in (parser.take_chain, parser.take_rule, parser.take_set):
            take(frame, body)
    assert all(isinstance(line, str) for line in (*frame.missing, *frame_lines(frame, set())))


def nft_words(data: bytes, _: Path) -> None:
    """What the nft tool complains of in a script."""
    text = data.decode(errors="replace")
    assert isinstance(nft.failure(text, text.split("\n")), Exception)


def ipset_words(data: bytes, _: Path) -> None:
    """What ``ipset save`` prints."""
    parse_save(data.decode(errors="replace").split("\n"))


def packet(data: bytes, _: Path) -> None:
    """Packets from the wire, as the ring holds them."""
    count = len(data) // SNAP6
    rows = np.frombuffer(data[: count * SNAP6], np.uint8).reshape(count, SNAP6)
    claimed = np.frombuffer(data[:4].ljust(4, b"\0"), np.uint32)[0]
    for lengths in (np.full(count, SNAP6, np.uint32), np.full(count, claimed, np.uint32)):
        for read in (decode_ipv4, decode_ipv6):
            columns = read(rows, lengths)
            assert {len(getattr(columns, name)) for name in type(columns).__slots__} == {len(columns)}


class Answering:
    """A packet socket that lost nothing."""

    def getsockopt(self, *_: int) -> bytes:
        """Return the counts."""
        return bytes(8)


def ring(data: bytes, _: Path) -> None:
    """A ring with anything in its frames: the walk ends, gives no more than there is, and makes room."""
    count = len(data) // FRAME
    memory = PacketRing.__new__(PacketRing)
    memory.lost, memory._blocks, memory._cursor, memory._frame, memory._per_block = 0, 1, 0, FRAME, 256
    frames = bytearray(data[: count * FRAME]).ljust(memory.frames * FRAME, b"\0")
    memory._octets = np.frombuffer(frames, np.uint8).reshape(memory.frames, FRAME)
    memory._words = memory._octets.view(np.uint32)
    memory._socket = Answering()  # type: ignore[assignment]  # the one method that a read uses
    packets, lengths = memory.read()
    assert len(packets) == len(lengths) <= count
    decode_ipv4(packets, lengths)
    assert not len(memory.read()[0]) or len(packets)


def recording(data: bytes, home: Path) -> None:
    """A recording to replay."""
    path = _written(home, "x.rec", data)
    with Recording(path) as opened:
        for count, _moment in enumerate(opened.moments()):
            assert count <= len(data)


def config(data: bytes, home: Path) -> None:
    """A config or a pack, with what it leads to."""
    loaded = load_file(_written(home, "x.toml", data))
    if isinstance(loaded, Config):
        load_policies(loaded.model_copy(update={"policies": loaded.policies[:8]}), home)


def allow_list(data: bytes, _: Path) -> None:
    """A list of whom never to ban."""
    parse_allow_text(data.decode(errors="replace"), "allow.txt")


def ban_list(data: bytes, home: Path) -> None:
    """A list of whom to ban, as somebody published it; its words mean what ``parse_network`` says they mean."""
    listing = read_lists([_written(home, "drop.txt", data)])
    for target, entry in listing.entries.items():
        assert parse_network(format_network(target)) == target
        assert len(entry.reason) <= MOST_REASON
        assert entry.reason.isprintable()


def status(data: bytes, home: Path) -> None:
    """The status file, and what ``status`` says of it."""
    from synguard.status.freshness import is_stale

    _written(home, STATUS_FILE, data)
    read = read_status(home)
    assert read is not None
    is_stale(read, NOW)
    read.model_dump_json()


def order(data: bytes, home: Path) -> None:
    """What ``synguard enable`` ordered."""
    _written(home, FILE, data)
    read = EnablementFile(home).read()
    assert read is not None
    read.stands("boot", 1.0)
    read.left(1.0)
    why_not_new(read, Login(ssh="192.0.2.1 1 192.0.2.2 22", started_s=1.0))


def cookie_note(data: bytes, home: Path) -> None:
    """The note of the operator's SYN cookies; one that cannot be read is none."""
    _written(home, NOTE_FILES[SYN_COOKIES], data)
    SysctlNoteFile([home], kernel=lambda: "boot 1").read()


def ledger(data: bytes, home: Path) -> None:
    """A database that others may have written, read and written to as the agent does."""
    for path in home.glob(f"{LEDGER_FILE}*"):
        path.unlink()
    path = _written(home, LEDGER_FILE, data)
    with Ledger.open(path, patience_s=0.1) as opened:
        opened.active_bans(NOW)
        opened.active_records(NOW)
        opened.bans_since(NOW - timedelta(days=3000))
        opened.incidents_since(NOW - timedelta(days=3000))
        opened.offences(NOW - timedelta(days=3000))
        opened.add_bans([seeds.one_ban(NOW)])
        opened.prune(NOW)
        opened.check()


def counters(data: bytes, _: Path) -> None:
    """``/proc/net/netstat``, which older and newer kernels lay out otherwise."""
    parse_group(data.decode("ascii", errors="replace"), "TcpExt")


def _written(home: Path, name: str, data: bytes) -> Path:
    path = home / name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return path


def _json(*documents: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(document).encode() for document in documents]


_KERNEL = (PlaneError, NotPermittedError)

TARGETS: Final[Mapping[str, Target]] = {
    "sock_diag": Target(sock_diag, (SensorError,), seeds.dumps),
    "netlink": Target(netlink, (), seeds.netlink),
    "routes": Target(routes, (), seeds.netlink),
    "tcp_metrics": Target(tcp_metrics, (SensorError,), lambda: seeds.netlink()[::-1]),
    "nft_set": Target(nft_set, _KERNEL, seeds.nft_elements),
    "nft_frame": Target(nft_frame, _KERNEL, seeds.nft_frame),
    "nft_words": Target(nft_words, (), seeds.nft_words),
    "ipset_words": Target(ipset_words, (PlaneError,), seeds.ipset_words),
    "packet": Target(packet, (), seeds.packets),
    "ring": Target(ring, (), seeds.frames),
    "recording": Target(recording, (UsageError,), seeds.recordings),
    "config": Target(config, (ConfigError,), seeds.configs),
    "ban_list": Target(ban_list, (UsageError,), seeds.allow_lists),
    "allow_list": Target(allow_list, (ConfigError,), seeds.allow_lists),
    "status": Target(status, (SynguardError,), seeds.statuses),
    "order": Target(order, (LedgerError,), seeds.orders),
    "cookie_note": Target(cookie_note, (), seeds.notes),
    "ledger": Target(ledger, (LedgerError,), seeds.ledgers),
    "counters": Target(counters, (ValueError,), seeds.counters),
}
