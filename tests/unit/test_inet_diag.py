"""Socket dumps decoded from messages built by hand."""

from __future__ import annotations

import errno
import struct

import pytest

from synguard.addresses import address_of
from synguard.errors import SensorError
from synguard.sensors.inet_diag import (
    AF_INET6,
    AF_UNSPEC,
    SOCK_DIAG_BY_FAMILY,
    TCPDIAG_GETSOCK,
    DumpRequest,
    InterruptedDumpError,
    UnavailableError,
    decode,
    ends_dump,
)
from synguard.socket_table import TcpState
from tests.support.diag_messages import done, message, refused, row, words

SEQUENCE = 0x5EC0_0001
MARK = bytes.fromhex("08000f0000000000")
FULL = bytes.fromhex("050008000000000008000f00000000000c00150001000000000000000600160052000000")


def remotes(data: bytes) -> list[str]:
    table = decode(words(data), SEQUENCE).sockets.table
    pairs = zip(table.remote_high, table.remote_low, strict=True)
    return [str(address_of(int(high), int(low))) for high, low in pairs]


def test_rows_of_one_size_are_decoded_in_order() -> None:
    data = b"".join(row(SEQUENCE, remote=f"198.51.100.{n}", remote_port=1000 + n, attributes=MARK) for n in range(200))
    part = decode(words(data), SEQUENCE)
    table = part.sockets.table
    assert not part.done
    assert remotes(data) == [f"198.51.100.{n}" for n in range(200)]
    assert table.remote_port.tolist() == [1000 + n for n in range(200)]
    assert set(table.local_port.tolist()) == {80}
    assert set(table.state.tolist()) == {TcpState.SYN_RECV}


def test_rows_of_unequal_size_are_decoded_in_order() -> None:
    data = b"".join(
        row(SEQUENCE, state=1 + n % 2 * 5, remote=f"198.51.100.{n}", attributes=(FULL, b"", MARK)[n % 3])
        for n in range(200)
    )
    assert remotes(data + done(SEQUENCE)) == [f"198.51.100.{n}" for n in range(200)]
    assert decode(words(data), SEQUENCE).sockets.table.state.tolist()[:4] == [1, 6, 1, 6]


def test_ipv4_ipv6_and_mapped_addresses_share_two_columns() -> None:
    data = (
        row(SEQUENCE, remote="192.0.2.9")
        + row(SEQUENCE, local="2001:db8::1", remote="2001:db8:1:2:3:4:5:6")
        + row(SEQUENCE, local="::ffff:192.0.2.1", remote="::ffff:192.0.2.10")
    )
    table = decode(words(data), SEQUENCE).sockets.table
    assert remotes(data) == ["192.0.2.9", "2001:db8:1:2:3:4:5:6", "192.0.2.10"]
    assert table.remote_high.tolist() == [0, 0x20010DB800010002, 0]
    assert table.remote_low.tolist() == [0xFFFF_C000_0209, 0x0003000400050006, 0xFFFF_C000_020A]
    assert table.local_low[0] == table.local_low[2] == 0xFFFF_C000_0201


def test_new_syn_recv_is_reported_as_syn_recv() -> None:
    data = row(SEQUENCE, state=12) + row(SEQUENCE, state=3)
    assert decode(words(data), SEQUENCE).sockets.table.state.tolist() == [3, 3]


def test_queues_and_inode_of_a_listener_are_read() -> None:
    rows = decode(words(row(SEQUENCE, state=10, queues=(7, 4096), inode=31337, attributes=FULL)), SEQUENCE).sockets
    assert (rows.table.recv_queue[0], rows.table.send_queue[0], rows.inode[0]) == (7, 4096, 31337)


def test_an_address_that_holds_the_sequence_number_is_no_message() -> None:
    """A peer who guesses our sequence number could plant it in an IPv6 address; the chain of lengths must decide."""
    planted = "2001:db8::" + struct.pack("=I", SEQUENCE).hex()[:4] + ":" + struct.pack("=I", SEQUENCE).hex()[4:]
    data = b"".join(row(SEQUENCE, local="2001:db8::1", remote=planted, remote_port=n) for n in range(5))
    assert decode(words(data), SEQUENCE).sockets.table.remote_port.tolist() == [0, 1, 2, 3, 4]


def test_the_end_is_seen_alone_and_behind_rows() -> None:
    assert decode(words(done(SEQUENCE)), SEQUENCE).done
    assert ends_dump(words(done(SEQUENCE)), SEQUENCE)
    behind = row(SEQUENCE) + done(SEQUENCE)
    assert ends_dump(words(behind), SEQUENCE)
    assert decode(words(behind), SEQUENCE).done
    assert not ends_dump(words(row(SEQUENCE)), SEQUENCE)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOENT, errno.EACCES, errno.EINVAL])
def test_a_refusal_is_told_apart_from_an_empty_table(number: int) -> None:
    for data in (refused(SEQUENCE, -number), done(SEQUENCE, -number)):
        with pytest.raises(UnavailableError, match="refuses sock_diag"):
            decode(words(data), SEQUENCE)


def test_an_inconsistent_dump_is_not_whole() -> None:
    for data in (row(SEQUENCE, flags=0x12) + done(SEQUENCE), row(SEQUENCE) + done(SEQUENCE, flags=0x12)):
        with pytest.raises(InterruptedDumpError):
            decode(words(data), SEQUENCE)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(row(SEQUENCE)[:60], id="cut short"),
        pytest.param(row(SEQUENCE) + row(SEQUENCE)[:40], id="second message cut short"),
        pytest.param(message(SOCK_DIAG_BY_FAMILY, bytes(40), SEQUENCE), id="too short for a socket"),
        pytest.param(row(SEQUENCE) + row(SEQUENCE + 1), id="another request's answer"),
        pytest.param(row(SEQUENCE, state=0), id="state 0"),
        pytest.param(row(SEQUENCE, state=99), id="unknown state"),
        pytest.param(message(77, bytes(72), SEQUENCE), id="unknown message"),
        pytest.param(message(2, b"", SEQUENCE), id="an error without a number"),
        pytest.param(refused(SEQUENCE, 0), id="an acknowledgement instead of a dump"),
        pytest.param(struct.pack("=IHHII", 0, 20, 2, SEQUENCE, 0) + bytes(72), id="length 0"),
    ],
)
def test_what_is_no_dump_is_an_error(data: bytes) -> None:
    with pytest.raises(SensorError):
        decode(words(data), SEQUENCE)


def test_both_numbers_of_half_open_are_asked_for() -> None:
    by_family = DumpRequest(SOCK_DIAG_BY_FAMILY, AF_INET6, 6).encode({TcpState.SYN_RECV}, SEQUENCE)
    old = DumpRequest(TCPDIAG_GETSOCK, AF_UNSPEC, 6).encode({TcpState.SYN_RECV}, SEQUENCE)
    assert (len(by_family), len(old)) == (72, 76)
    assert struct.unpack_from("=IHHII BBBxI", by_family) == (
        72,
        20,
        0x301,
        SEQUENCE,
        0,
        AF_INET6,
        6,
        0,
        1 << 3 | 1 << 12,
    )
    assert struct.unpack_from("=I", old, 68) == (1 << 3 | 1 << 12,)
