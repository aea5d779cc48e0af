"""Whole, well-formed inputs to start from, made by what the other tests make them by."""

from __future__ import annotations

import json
import struct
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from synguard.ledger import LEDGER_FILE, Ledger
from synguard.model import Ban, Mode
from synguard.operator.enablement import Enablement, Login
from synguard.policy.files import packs_directory
from synguard.policy.models import Config
from synguard.readings import Protected
from synguard.sensors.bpf import SNAP
from synguard.sensors.packet_ring import FRAME
from synguard.status.model import ListenerStatus, SensorStatus, Status
from tests.support.bans import ban
from tests.support.calm_day import calm
from tests.support.config_text import show_config
from tests.support.diag_messages import done, message, refused, row
from tests.support.recordings import recorded
from tests.support.syn_packets import extension, fragment, ipv4, ipv6, tcp

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEQUENCE: Final = 0x5EC0_0001


def one_ban(start: datetime) -> Ban:
    """Return a ban that a ledger takes."""
    return ban("f00d", "192.0.2.0/24", start=start)


def dumps() -> list[bytes]:
    """Socket dumps: whole, cut short, refused, interrupted."""
    rows = row(SEQUENCE) + row(SEQUENCE, state=1, attributes=bytes(8)) + row(SEQUENCE, remote="192.0.2.9", inode=7)
    return [
        rows + done(SEQUENCE),
        rows,
        refused(SEQUENCE, -1),
        row(SEQUENCE, flags=0x12) + done(SEQUENCE),
        row(SEQUENCE, local="2001:db8::1", remote="2001:db8::2") + done(SEQUENCE, -4),
    ]


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def netlink() -> list[bytes]:
    """Routes with gateways, one of many next hops, and entries of tcp_metrics."""
    head = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)
    gateway = _attribute(5, bytes([192, 0, 2, 254])) + _attribute(4, struct.pack("=i", 1))
    hop = struct.pack("=HBBi", 16, 0, 0, 2) + _attribute(18, b"\x0a\0" + bytes(16))[:8]
    v4 = _attribute(1, bytes(4)) + _attribute(11, bytes(4)) + _attribute(3, struct.pack("=Q", 1000))
    v6 = _attribute(2, bytes(16)) + _attribute(12, bytes(16)) + _attribute(3, struct.pack("=Q", 1000))
    return [
        message(24, head + gateway, 1) + done(1),
        message(24, head + _attribute(9, hop) + gateway, 1),
        message(22, bytes(4) + v4, 1) + message(22, bytes(4) + v6, 1) + done(1),
    ]


def nft_elements() -> list[bytes]:
    """An element with a counter and a comment, in the form of other releases too."""
    key = _attribute(0x8001, _attribute(1, bytes([192, 0, 2, 0])))
    counter = _attribute(2, _attribute(1, struct.pack(">Q", 60)) + _attribute(2, struct.pack(">Q", 1)))
    comment = _attribute(6, b"\x00\x10synguard v1 f00d")
    element = _attribute(1, key + _attribute(7, _attribute(1, b"counter\0") + counter) + comment)
    several = _attribute(1, key + _attribute(11, _attribute(1, counter)))
    body = struct.pack("=BBH", 1, 0, 0) + _attribute(1, b"synguard\0") + _attribute(3, element + several)
    return [message(0xA0C, body, 1) + message(3, bytes(4), 1), message(2, struct.pack("=i", -1) + bytes(16), 1)]


def nft_frame() -> list[bytes]:
    """A chain with a hook, a rule with a comment, and a set, each of our table."""
    ours = struct.pack("=BBH", 1, 0, 0) + _attribute(1, b"synguard\0")
    hook = _attribute(1, bytes(4)) + _attribute(2, struct.pack(">i", -310))
    chain = (
        _attribute(3, b"prerouting\0") + _attribute(4, hook) + _attribute(5, b"\0\0\0\1") + _attribute(7, b"filter\0")
    )
    text = b"synguard frame v1 prerouting-1\0"
    rule = _attribute(2, b"prerouting\0") + _attribute(3, bytes(8)) + _attribute(7, bytes([0, len(text)]) + text)
    counter, size = _attribute(1, b"counter\0"), _attribute(1, struct.pack(">I", 131072))
    held = _attribute(2, b"new-drop-4-24\0") + _attribute(3, b"\0\0\0\x10") + _attribute(4, b"\0\0\0\7")
    held += _attribute(9, size) + _attribute(17, counter) + _attribute(18, _attribute(1, counter))
    return [message(0xA03, ours + part, 1) + message(3, bytes(4), 1) for part in (chain, rule, held)]


def nft_words() -> list[bytes]:
    """Complaints about a script, and about the kernel."""
    complaint = "/dev/stdin:1:46-52: Error: Could not process rule: No such file or directory\ndelete element x { y }\n"
    return [complaint.encode(), b"netlink: Error: cache initialization failed: not permitted\n"]


def ipset_words() -> list[bytes]:
    """What ``ipset save`` prints of ours."""
    create = "create synguard-new-drop-4 hash:net family inet hashsize 1024 maxelem 131072 timeout 0 counters comment\n"
    rest = 'timeout 86 packets 1 bytes 60 comment "synguard v1 f00d 1772366400"\n'
    member = f"add synguard-new-drop-4 192.0.2.0/24 {rest}"
    ports = f"add synguard-port-drop-4 192.0.2.0/24,tcp:80 {rest}"
    return [(create + member + ports).encode()]


def packets() -> list[bytes]:
    """SYNs of both families, with options, extension headers and a fragment, in rows as wide as they are kept."""
    whole = [
        ipv4("192.0.2.7", tcp(80, options=b"\x02\x04\x05\xb4")),
        ipv4("192.0.2.7", tcp(443), options=b"\x01" * 8),
        ipv6("2001:db8::7", tcp(80)),
        ipv6("2001:db8::7", extension(6, 24) + tcp(80), next_header=0),
        ipv6("2001:db8::7", fragment(6) + tcp(80), next_header=44),
    ]
    return [b"".join(one[:SNAP].ljust(SNAP, b"\0") for one in whole), whole[0][:SNAP].ljust(SNAP, b"\0")]


def frames() -> list[bytes]:
    """Frames of the ring that the kernel has handed over."""
    head = struct.pack("=IIIHH", 1, 60, 60, 64, 80)
    return [b"".join((head + bytes(FRAME)).ljust(FRAME, b"\0")[:FRAME] for _ in range(3))]


def recordings() -> list[bytes]:
    """A recording of a calm second, and one without a tick."""
    return [recorded((one, Protected({})) for one in calm(1.0, count=4)), recorded([])]


def configs() -> list[bytes]:
    """Every pack that is shipped, and the config with all of its defaults."""
    return [path.read_bytes() for path in sorted(packs_directory().glob("*.toml"))] + [show_config(Config()).encode()]


def allow_lists() -> list[bytes]:
    """All that a line may be."""
    plain = b"\xef\xbb\xbf192.0.2.0/24  # monitoring\r\n\n# the office\n2001:db8:7::/48\n"
    return [plain, plain + b"192.0.2.1-192.0.2.9\nfe80::1%eth0\n::ffff:192.0.2.1/120\n"]


def statuses() -> list[bytes]:
    """What an agent tells of itself."""
    listener = ListenerStatus(
        port=80, process="nginx[7]", half_open=1, backlog=128, fill=0.1, censored=False, accept_queue=0
    )
    status = Status(
        mode=Mode.ENFORCE, plane="iptables-sets", show_command="", healthy=True, pid=1, started_at=NOW,
        last_reading_at=NOW, policies=("default",), pressure=(listener,), sensors={"sockets": SensorStatus(ok=True)},
    )  # fmt: skip
    return [status.model_dump_json().encode()]


def orders() -> list[bytes]:
    """An order on trial, and one for good."""
    login = Login(ssh="192.0.2.7 1 192.0.2.1 22")
    trial = Enablement(boot="boot", since=NOW, since_s=1.0, by=login, until=NOW, until_s=2.0)
    for_good = Enablement(boot="boot", since=NOW, since_s=1.0)
    return [one.model_dump_json().encode() for one in (trial, for_good)]


def notes() -> list[bytes]:
    """A note of the operator's SYN cookies."""
    return [json.dumps({"kernel": "boot 1", "before": 0, "since": "2026-03-01T12:00:00Z"}).encode()]


def ledgers() -> list[bytes]:
    """A new ledger, and one with a ban."""
    found = []
    for bans in ([], [ban("beef", "198.51.100.0/24", start=NOW - timedelta(seconds=5))]):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / LEDGER_FILE
            with Ledger.open(path) as ledger:
                ledger.add_bans(bans)
            found.append(path.read_bytes())
    return found


def counters() -> list[bytes]:
    """The two lines of a group."""
    return [b"TcpExt: SyncookiesSent SyncookiesRecv\nTcpExt: 12 3\nIpExt: a\nIpExt: 1\n"]
