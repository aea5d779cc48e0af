from ipaddress import IPv4Address, IPv6Address

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from synguard.sensors.bpf import SNAP
from synguard.sensors.packets import decode_ipv4, decode_ipv6
from tests.support.syn_packets import extension, ipv4, ipv6, tcp

ports = st.integers(0, 65_535)
octets = st.integers(0, 255)


@given(st.binary(max_size=4 * SNAP), st.integers(1, SNAP), st.data())
def test_any_bytes_of_any_width_give_columns_of_equal_length_and_nothing_worse(
    content: bytes, width: int, data: st.DataObject
) -> None:
    count = len(content) // width
    packets = np.frombuffer(content[: count * width], np.uint8).reshape(count, width)
    claimed = data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=count, max_size=count))
    lengths = np.array(claimed, np.uint32)
    for decode in (decode_ipv4, decode_ipv6):
        columns = decode(packets, lengths)
        assert len(columns) <= count
        sizes = {len(getattr(columns, name)) for name in type(columns).__slots__}
        assert sizes == {len(columns)}


@given(st.binary(min_size=SNAP, max_size=SNAP), st.integers(0, SNAP))
def test_bytes_beyond_the_length_of_a_row_change_nothing(content: bytes, length: int) -> None:
    lengths = np.array([length], np.uint32)
    packet = bytes([content[0] & 0x0F | 0x60, *content[1:]])
    for first in (packet, bytes([0x45]) + packet[1:]):
        whole = np.frombuffer(first, np.uint8).reshape(1, SNAP)
        cut = np.frombuffer(first[:length].ljust(SNAP, b"\xff"), np.uint8).reshape(1, SNAP)
        for decode in (decode_ipv4, decode_ipv6):
            one, other = decode(whole, lengths), decode(cut, lengths)
            assert one.local_port.tolist() == other.local_port.tolist()
            assert one.source_low.tolist() == other.source_low.tolist()
            assert one.options.tolist() == other.options.tolist()


@given(st.binary(max_size=40), octets)
def test_any_options_give_one_number_that_other_rows_do_not_touch(options: bytes, claimed: int) -> None:
    padded = options.ljust(-(-len(options) // 4) * 4, b"\0")
    packet = bytearray(ipv4("192.0.2.7", tcp(80, options=padded)))
    packet[32] = claimed  # the header's length in words, whatever is really there
    alone = np.frombuffer(bytes(packet).ljust(SNAP, b"\0"), np.uint8).reshape(1, SNAP)
    amid = np.concatenate([np.full((1, SNAP), 0x45, np.uint8), alone, alone[:, ::-1], alone])
    lengths = np.full(4, len(packet), np.uint32)
    [number] = decode_ipv4(alone, lengths[:1]).options.tolist()
    assert decode_ipv4(amid, lengths).options.tolist() == [number] * 2


@given(st.ip_addresses(v=4), ports, ports, octets, st.integers(0, 10))
def test_what_was_written_as_ipv4_is_read(source: IPv4Address, port: int, window: int, ttl: int, words: int) -> None:
    packet = ipv4(source, tcp(port, window=window), options=b"\x01" * (4 * words), ttl=ttl)
    row = np.frombuffer(packet.ljust(SNAP, b"\0"), np.uint8).reshape(1, SNAP)
    columns = decode_ipv4(row, np.array([len(packet)], np.uint32))
    assert columns.source_low.tolist() == [0xFFFF << 32 | int(source)]
    assert columns.source_high.tolist() == [0]
    assert (columns.local_port[0], columns.tcp_window[0], columns.ttl[0]) == (port, window, ttl)


@given(st.ip_addresses(v=6), ports, ports, octets, st.integers(0, 4))
def test_what_was_written_as_ipv6_is_read(source: IPv6Address, port: int, window: int, hops: int, headers: int) -> None:
    kinds = [60] * headers + [6]
    payload = b"".join(extension(kind, 24) for kind in kinds[1:]) + tcp(port, window=window)
    packet = ipv6(source, payload, hops=hops, next_header=kinds[0])
    row = np.frombuffer(packet.ljust(SNAP, b"\0"), np.uint8).reshape(1, -1)
    columns = decode_ipv6(row, np.array([len(packet)], np.uint32))
    assert columns.source_high.tolist() == [int(source) >> 64]
    assert columns.source_low.tolist() == [int(source) & (2**64 - 1)]
    assert (columns.local_port[0], columns.tcp_window[0], columns.ttl[0]) == (port, window, hops)
