from ipaddress import IPv6Address

import numpy as np
import pytest

from synguard.addresses import unmapped
from synguard.columns import U8, U32
from synguard.sensors.bpf import SNAP6
from synguard.sensors.packets import MOST_OPTIONS, SynColumns, decode_ipv4, decode_ipv6
from tests.support.syn_packets import ACK, FIN, RST, SYN, extension, fragment, ipv4, ipv6, tcp


def rows(*packets: bytes) -> tuple[U8, U32]:
    kept = [packet[:SNAP6] for packet in packets]
    table = np.frombuffer(b"".join(packet.ljust(SNAP6, b"\0") for packet in kept), np.uint8).reshape(-1, SNAP6)
    return table, np.array([len(packet) for packet in kept], np.uint32)


def sources(columns: SynColumns) -> list[str]:
    pairs = zip(columns.source_high.tolist(), columns.source_low.tolist(), strict=True)
    return [str(unmapped(IPv6Address(high << 64 | low))) for high, low in pairs]


def test_an_ipv4_syn_gives_its_source_port_ttl_and_window() -> None:
    columns = decode_ipv4(*rows(ipv4("198.51.100.200", tcp(443, window=64_240), ttl=57)))
    assert sources(columns) == ["198.51.100.200"]
    assert columns.local_port.tolist() == [443]
    assert columns.ttl.tolist() == [57]
    assert columns.tcp_window.tolist() == [64_240]


def test_an_ipv6_syn_gives_its_source_port_hop_limit_and_window() -> None:
    columns = decode_ipv6(*rows(ipv6("2001:db8:ffff::8000:1", tcp(8443, window=1), hops=255)))
    assert sources(columns) == ["2001:db8:ffff::8000:1"]
    assert columns.local_port.tolist() == [8443]
    assert columns.ttl.tolist() == [255]
    assert columns.tcp_window.tolist() == [1]


def test_an_ipv4_mapped_source_on_ipv6_is_ipv4() -> None:
    assert sources(decode_ipv6(*rows(ipv6("::ffff:192.0.2.7", tcp(80))))) == ["192.0.2.7"]


@pytest.mark.parametrize("length", range(0, 44, 4))
def test_ipv4_options_of_any_length_are_stepped_over(length: int) -> None:
    packet = ipv4("192.0.2.7", tcp(80, window=777), options=b"\x01" * length)
    assert decode_ipv4(*rows(packet)).tcp_window.tolist() == [777]


@pytest.mark.parametrize(
    ("next_header", "before"),
    [
        (0, extension(6)),
        (60, extension(6, 120)),
        (60, extension(6, 128)),
        (0, extension(0) + extension(0) + extension(0) + extension(0) + extension(6)),
        (0, extension(60, 184) + extension(60, 184) + extension(6)),
        (43, extension(60) + extension(6, 16)),
        (44, fragment(6)),
        (0, extension(43) + extension(44) + fragment(60) + extension(6)),
    ],
)
def test_ipv6_extension_headers_are_stepped_over(next_header: int, before: bytes) -> None:
    columns = decode_ipv6(*rows(ipv6("2001:db8::7", before + tcp(80, window=777), next_header=next_header)))
    assert columns.tcp_window.tolist() == [777]


@pytest.mark.parametrize(
    ("next_header", "before"),
    [
        (0, extension(60, 192) + extension(6, 192)),
        (0, extension(0) * 8 + extension(6)),
        (44, fragment(6, offset=1)),
        (17, b""),
        (59, b""),
        (50, b""),
    ],
)
def test_what_is_no_tcp_within_reach_is_left_out(next_header: int, before: bytes) -> None:
    packet = ipv6("2001:db8::7", before + tcp(80), next_header=next_header)
    assert len(decode_ipv6(*rows(packet, ipv6("2001:db8::8", tcp(80))))) == 1


@pytest.mark.parametrize("flags", [SYN | ACK, ACK, RST, FIN, SYN | FIN, SYN | RST, 0])
def test_only_what_can_open_a_connection_is_a_syn(flags: int) -> None:
    assert len(decode_ipv4(*rows(ipv4("192.0.2.7", tcp(80, flags))))) == 0
    assert len(decode_ipv6(*rows(ipv6("2001:db8::7", tcp(80, flags))))) == 0


def test_congestion_bits_do_not_hide_a_syn() -> None:
    assert len(decode_ipv4(*rows(ipv4("192.0.2.7", tcp(80, SYN | 0xC0))))) == 1


def test_later_fragments_and_other_protocols_are_left_out() -> None:
    later = ipv4("192.0.2.7", tcp(80), fragment=0x2001)
    far = ipv4("192.0.2.7", tcp(80), fragment=0x0100)
    first = ipv4("192.0.2.8", tcp(80), fragment=0x2000)
    udp = ipv4("192.0.2.9", tcp(80), protocol=17)
    assert sources(decode_ipv4(*rows(later, far, first, udp))) == ["192.0.2.8"]


def test_a_row_that_was_cut_short_is_left_out_whatever_its_end_holds() -> None:
    packet = ipv4("192.0.2.7", tcp(80))
    packets, lengths = rows(packet)
    assert len(decode_ipv4(packets, np.minimum(lengths, np.uint32(36)))) == 1
    assert len(decode_ipv4(packets, np.minimum(lengths, np.uint32(35)))) == 0


LINUX = "020405b4 0402 080a 0000000100000000 01 030307"
WINDOWS = "020405b4 01 030308 01 01 0402"


def options_of(*options: str) -> list[int]:
    packets = [ipv4("192.0.2.7", tcp(80, options=bytes.fromhex(one))) for one in options]
    return decode_ipv4(*rows(*packets)).options.tolist()


def test_tcp_options_become_one_number_the_same_over_both_families() -> None:
    linux, windows = options_of(LINUX, WINDOWS)
    assert linux != windows
    there = ipv6("2001:db8::7", tcp(80, options=bytes.fromhex(LINUX)))
    assert decode_ipv6(*rows(there)).options.tolist() == [linux]


def test_no_options_are_0() -> None:
    assert options_of("") == [0]


def test_timestamps_do_not_enter_the_number_but_mss_window_scale_and_order_do() -> None:
    later = LINUX.replace("00000001", "7fffffff")
    smaller = LINUX.replace("05b4", "05a0")
    wider = LINUX.replace("030307", "030308")
    swapped = "0402 020405b4 080a 0000000100000000 01 030307"
    whole, same, *others = options_of(LINUX, later, smaller, wider, swapped)
    assert whole == same
    assert len({whole, *others}) == 4


@pytest.mark.parametrize("options", ["02000000", "02010000", "02ff05b4", "01010102", "01010103", "08000000"])
def test_an_option_that_is_cut_short_or_too_long_ends_the_walk(options: str) -> None:
    [broken, sound] = options_of(options, "020405b4")
    assert broken not in (0, sound)


def test_nothing_counts_behind_the_end_of_options_nor_behind_the_most_that_are_walked() -> None:
    assert len({*options_of("020405b4 00000000", "020405b4 00ffffff")}) == 1
    assert len({*options_of("01" * MOST_OPTIONS + "020405b4", "01" * MOST_OPTIONS + "020405a0")}) == 1


def test_options_that_were_not_kept_count_as_not_sent() -> None:
    packets, lengths = rows(ipv4("192.0.2.7", tcp(80, options=bytes.fromhex(LINUX))))
    assert decode_ipv4(packets, np.minimum(lengths, np.uint32(40))).options.tolist() == [0]
    assert decode_ipv4(packets, np.minimum(lengths, np.uint32(37))).options.tolist() == [0]


def test_no_packets_are_no_rows() -> None:
    nothing = np.empty((0, SNAP6), np.uint8), np.empty(0, np.uint32)
    assert len(decode_ipv4(*nothing)) == len(decode_ipv6(*nothing)) == 0
