import struct
from ipaddress import ip_address

import pytest

from synguard.errors import SensorError
from synguard.netlink import attribute
from synguard.sensors.tcp_metrics import decode_finished_peers


def entry(peer: str, age_s: float, *, rest: bytes = b"") -> bytes:
    """Build an entry as net/ipv4/tcp_metrics.c writes it: peer, own address, age in ms, then what varies."""
    address = ip_address(peer)
    kinds = (1, 11) if address.version == 4 else (2, 12)
    body = attribute(kinds[0], address.packed) + attribute(kinds[1], address.packed)
    body += attribute(3, struct.pack("=Q", round(age_s * 1000))) + rest
    return struct.pack("=BBH", 1, 1, 0) + body


def peers(high: list[int], low: list[int]) -> list[tuple[int, int]]:
    return list(zip(high, low, strict=True))


def test_entries_of_both_families_and_of_any_length_are_read() -> None:
    values = attribute(6, b"\0" * 24)
    high, low = decode_finished_peers(
        [
            entry("192.0.2.7", 1, rest=values),
            entry("2001:db8::7", 2),
            entry("2001:db8:ffff::8000:1", 3, rest=values),
            entry("198.51.100.200", 4),
        ],
        max_age_s=60,
    )
    number = int(ip_address("2001:db8:ffff::8000:1"))
    assert set(peers(high.tolist(), low.tolist())) == {
        (0, 0xFFFF << 32 | int(ip_address("192.0.2.7"))),
        (0, 0xFFFF << 32 | int(ip_address("198.51.100.200"))),
        (int(ip_address("2001:db8::7")) >> 64, 7),
        (number >> 64, number & (2**64 - 1)),
    }


def test_an_entry_of_exactly_the_age_counts_and_an_older_one_does_not() -> None:
    high, low = decode_finished_peers([entry("192.0.2.7", 60), entry("192.0.2.8", 60.001)], max_age_s=60)
    assert peers(high.tolist(), low.tolist()) == [(0, 0xFFFF << 32 | int(ip_address("192.0.2.7")))]


def test_no_entries_are_no_peers() -> None:
    assert [len(column) for column in decode_finished_peers([], 60)] == [0, 0]


def test_a_kernel_that_lays_entries_out_otherwise_is_an_error_and_not_an_empty_memory() -> None:
    body = attribute(3, struct.pack("=Q", 1)) + attribute(1, bytes(4)) + attribute(11, bytes(4))
    strange = struct.pack("=BBH", 1, 1, 0) + body
    with pytest.raises(SensorError, match="lays its entries out"):
        decode_finished_peers([entry("192.0.2.7", 1), strange], 60)
