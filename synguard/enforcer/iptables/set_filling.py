"""Very many drops of everything, put into their ipsets over netlink, or taken out.

What ``ipset restore`` does with ``add`` and ``del`` lines in half of the time: no tool is started, no text is read.

Source: include/uapi/linux/netfilter/ipset/ip_set.h; net/netfilter/ipset/ip_set_core.c ``ip_set_ad``, ``call_ad``.
"""

from __future__ import annotations

import errno
import math
import socket
import struct
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TypeAlias

from synguard.enforcer.iptables.set_members import LONGEST_TIMEOUT_S
from synguard.enforcer.names import Family, Kind, member_comment, set_name
from synguard.errors import NotPermittedError, PlaneError
from synguard.memory import in_parts
from synguard.netlink import ACK, NESTED, NETFILTER, ask, attribute, open_channel
from synguard.network_words import packed_of_word

Members: TypeAlias = dict[Family, list[bytes]]
"""Family → members as the kernel takes them."""

TIMEOUT_S: Final = 10.0
_ADD, _DELETE = 6 << 8 | 9, 6 << 8 | 10  # NFNL_SUBSYS_IPSET, IPSET_CMD_ADD and IPSET_CMD_DEL
_PROTOCOL, _SET_NAME, _DATA, _MANY, _LINE = 1, 2, 7, 8, 9
_IP, _WIDTH, _TIMEOUT, _COMMENT = 1, 3, 6, 26
_BIG_ENDIAN: Final = 0x4000
_VERSION: Final = b"\x06"  # IPSET_PROTOCOL_MIN of every kernel since 2.6.39
_ADDRESS: Final[dict[Family, int]] = {4: 1, 6: 2}
_FAMILY: Final[dict[Family, int]] = {4: socket.AF_INET, 6: socket.AF_INET6}
_AT_ONCE: Final = 400
"""Members in one message: an attribute holds 64 KiB."""
_ADDRESS_AT: Final = 12
"""Where the address stands in a member, behind three headers."""
_TIMEOUT_AT: Final = 20
_COMMENT_AT: Final = 28
_SECONDS: Final = len("00.000000Z")
"""How much of a comment's end differs within a minute."""


def members_of(bans: Iterable[tuple[str, str, int | None]], now: datetime) -> Members:
    """Return the members that drop all of these targets: (ban id, target as text, UTC seconds of its end, or None).

    Of IPv4 addresses, as nearly all are, only address and id differ from others that end in the same second, and of
    those seconds few words. Bans that have expired at ``now`` have none.
    """
    now_s = now.timestamp()
    found: Members = {4: [], 6: []}
    made: dict[tuple[int | None, int], tuple[bytes, bytes, bytes]] = {}
    wide: dict[tuple[int | None, int, int, int], tuple[bytes, bytes, bytes]] = {}
    for ban_id, target, ends_s in bans:
        if ends_s is not None and ends_s <= now_s:
            continue
        if ":" in target or "/" in target:
            version, address, length = packed_of_word(target)
            kind = ends_s, len(ban_id), version, length
            if kind not in wide:
                wide[kind] = _around_wide(*kind, now_s)
            head, middle, end = wide[kind]
            found[4 if version == 4 else 6].append(b"".join((head, address, middle, ban_id.encode(), end)))
            continue
        parts = made.get((ends_s, len(ban_id)))
        if parts is None:
            parts = made[ends_s, len(ban_id)] = _around(len(ban_id), ends_s, now_s)
        head, middle, end = parts
        found[4].append(b"".join((head, socket.inet_pton(socket.AF_INET, target), middle, ban_id.encode(), end)))
    return found


def bare_members(targets: Iterable[str]) -> Members:
    """Return the members that drop these targets as far as the kernel needs them to find them."""
    found: Members = {4: [], 6: []}
    for target in targets:
        version, address, length = packed_of_word(target)
        head, end = _bare(len(address), length)
        found[4 if version == 4 else 6].append(b"".join((head, address, end)))
    return found


def put(members: Members) -> None:
    """Put members into the sets of drops; what is there is updated.

    Raises:
        NotPermittedError: The kernel refuses this process.
        PlaneError: The kernel does not take them: a set is missing, or full; what came before is in.
    """
    _change(_ADD, members, "filling ipsets")


def take_out(members: Members) -> None:
    """Take members out of the sets of drops; what is not there is no error.

    Raises:
        NotPermittedError, PlaneError: As for ``put``.
    """
    _change(_DELETE, members, "emptying ipsets")


def _change(command: int, members: Members, doing: str) -> None:
    try:
        with open_channel(NETFILTER, TIMEOUT_S) as there:
            for family, all_of_it in members.items():
                name = set_name(Kind.ALL_DROP, family).encode() + b"\0"
                head = struct.pack("=BBH", _FAMILY[family], 0, 0)
                head += attribute(_PROTOCOL, _VERSION) + attribute(_SET_NAME, name) + attribute(_LINE, b"\1\0\0\0")
                for some in in_parts(all_of_it, _AT_ONCE):
                    ask(there, command, head + attribute(_MANY | NESTED, b"".join(some)), ACK)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            text = "The kernel does not let this process change ipsets: it needs CAP_NET_ADMIN."
            raise NotPermittedError(text) from error
        raise PlaneError(doing, error.strerror or str(error)) from error


@lru_cache(maxsize=256)
def _bare(size: int, prefixlen: int) -> tuple[bytes, bytes]:
    """Return what stands around the address, of so many bytes, of a member of which only that is said."""
    width = attribute(_WIDTH, bytes([prefixlen])) if prefixlen < 8 * size else b""
    ip = attribute(_IP | NESTED, attribute(_ADDRESS[4 if size == 4 else 6] | _BIG_ENDIAN, bytes(size)))
    member = attribute(_DATA | NESTED, ip + width)
    return member[:_ADDRESS_AT], member[_ADDRESS_AT + size :]


def _around(length: int, ends_s: int | None, now_s: float) -> tuple[bytes, bytes, bytes]:
    """Return what stands around the IPv4 address and the id, of this length, of a ban."""
    if ends_s is None:
        return _around_wide(None, length, 4, 32, now_s)
    head, before_timeout, before_id, end = _form(length)
    seconds = b"%b%02d.000000Z" % (_minute(ends_s // 60), ends_s % 60)
    return head, before_timeout + _timeout(ends_s, now_s) + before_id, seconds + end


@lru_cache(maxsize=64)
def _form(length: int) -> tuple[bytes, bytes, bytes, bytes]:
    """Return what all members of IPv4 addresses and ids of one length share, around what differs."""
    mark = b"\1" * length
    member = _member(b"\0\0\0\0", mark.decode(), 0, 0.0)
    id_at = member.index(mark, _COMMENT_AT)
    end_at = member.index(b"Z", id_at) + 1
    return member[:_ADDRESS_AT], member[_ADDRESS_AT + 4 : _TIMEOUT_AT], member[_TIMEOUT_AT + 4 : id_at], member[end_at:]


def _around_wide(
    ends_s: int | None, length: int, version: int, prefixlen: int, now_s: float
) -> tuple[bytes, bytes, bytes]:
    """Return the same of a prefix, of an IPv6 address, and of a ban for good."""
    mark, size = b"\1" * length, 4 if version == 4 else 16
    width = prefixlen if prefixlen < 8 * size else None
    member = _member(bytes(size), mark.decode(), ends_s, now_s, width)
    id_at = member.index(mark, _COMMENT_AT)
    return member[:_ADDRESS_AT], member[_ADDRESS_AT + size : id_at], member[id_at + length :]


@lru_cache(maxsize=256)
def _minute(minute: int) -> bytes:
    """Return what the comment of a ban that ends in a minute says behind the id, up to its seconds."""
    _, until, end = member_comment("", datetime.fromtimestamp(60 * minute, UTC)).partition(" until ")
    return f"{until}{end}"[:-_SECONDS].encode()


def _timeout(ends_s: int | None, now_s: float) -> bytes:
    """Return the seconds that are left; 0, which is the kernel's "never", for a ban without an end."""
    return (0 if ends_s is None else min(math.ceil(ends_s - now_s), LONGEST_TIMEOUT_S)).to_bytes(4, "big")


def _member(address: bytes, ban_id: str, ends_s: int | None, now_s: float, width: int | None = None) -> bytes:
    comment = member_comment(ban_id, _moment(ends_s)).encode() + b"\0"
    return attribute(
        _DATA | NESTED,
        attribute(_IP | NESTED, attribute(_ADDRESS[4 if len(address) == 4 else 6] | _BIG_ENDIAN, address))
        + (b"" if width is None else attribute(_WIDTH, bytes([width])))
        + attribute(_TIMEOUT | _BIG_ENDIAN, _timeout(ends_s, now_s))
        + attribute(_COMMENT, comment),
    )


@lru_cache(maxsize=256)
def _moment(ends_s: int | None) -> datetime | None:
    return None if ends_s is None else datetime.fromtimestamp(ends_s, UTC)
