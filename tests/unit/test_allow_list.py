from ipaddress import ip_network
from pathlib import Path

import pytest

from synguard.errors import ConfigError
from synguard.sensors import allow_list
from synguard.sensors.allow_list import AllowEntry, parse_allow_text, read_allow_file, read_allow_networks


def test_each_line_is_a_network_with_its_comment_as_the_reason() -> None:
    entries = parse_allow_text("192.0.2.7 # monitoring\n\n# the office\n  2001:db8:7::/48\n", "friends")
    assert entries == [
        AllowEntry(ip_network("192.0.2.7"), "monitoring", 1),
        AllowEntry(ip_network("2001:db8:7::/48"), "", 4),
    ]


def test_a_file_from_windows_reads_as_any_other() -> None:
    entries = parse_allow_text("\ufeff192.0.2.7\r\n198.51.100.0/24 # office\r\n", "friends")
    assert [str(entry.network) for entry in entries] == ["192.0.2.7/32", "198.51.100.0/24"]
    assert entries[1].reason == "office"


def test_ipv4_written_as_ipv6_is_ipv4_and_a_zone_is_dropped() -> None:
    entries = parse_allow_text("::ffff:192.0.2.7\n::ffff:192.0.2.0/120\nfe80::1%eth0\nfe80::%eth0/64", "friends")
    assert [str(entry.network) for entry in entries] == ["192.0.2.7/32", "192.0.2.0/24", "fe80::1/128", "fe80::/64"]


def test_every_faulty_line_is_told_at_once_with_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_allow_text("192.0.2.7\nexample.net\n192.0.2.7/24\n192.0.2.7 192.0.2.8\n", "friends")
    assert [fault.split(" ")[0] for fault in caught.value.problems] == ["friends:2:", "friends:3:", "friends:4:"]
    assert "did you mean 192.0.2.0/24?" in caught.value.problems[1]
    assert "one address a line" in caught.value.problems[2]


def test_a_thousand_faulty_lines_make_a_short_message() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_allow_text("x\n" * 1000, "friends")
    assert len(caught.value.problems) == 51
    assert caught.value.problems[-1] == "friends: and 950 more lines that cannot be used"


@pytest.mark.parametrize("word", ["192.0.2.07", "192.0.2", "0xC0000207", "192.0.2.7\0", "192.0.2.256", "٣.0.2.7"])
def test_an_address_in_odd_writing_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="is not an address or prefix"):
        parse_allow_text(word, "friends")


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("192.0.2.1-192.0.2.4", "one a line: 192.0.2.1, 192.0.2.2/31, 192.0.2.4"),
        ("192.0.2.0 - 192.0.2.255", "one a line: 192.0.2.0/24"),
        ("2001:db8::-2001:db8::ffff", "one a line: 2001:db8::/112"),
        ("0.0.0.1-255.255.255.254", "beginning with 0.0.0.1"),
        ("192.0.2.1-9", "ranges are not understood"),
        ("192.0.2.1-::1", "ranges are not understood"),
        ("192.0.2.9-192.0.2.1", "ranges are not understood"),
    ],
)
def test_a_range_is_refused_with_the_prefixes_to_write_instead(word: str, advice: str) -> None:
    with pytest.raises(ConfigError, match="range") as caught:
        parse_allow_text(word, "friends")
    assert advice in str(caught.value)


def test_a_list_of_more_lines_than_any_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allow_list, "MAX_LINES", 2)
    assert len(parse_allow_text("192.0.2.1\n192.0.2.2\n", "friends")) == 2
    with pytest.raises(ConfigError, match="more than 2 lines"):
        parse_allow_text("192.0.2.1\n192.0.2.2\n192.0.2.3\n", "friends")


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "friends"
    path.write_text("192.0.2.7 # monitoring\n")
    first = read_allow_networks(path)
    assert first == {ip_network("192.0.2.7"): f"allow-list {path}: monitoring"}
    assert read_allow_networks(path) is first
    path.write_text("192.0.2.8\n192.0.2.9\n")
    assert read_allow_networks(path) == dict.fromkeys(
        (ip_network("192.0.2.8"), ip_network("192.0.2.9")), f"allow-list {path}"
    )


def test_a_file_that_cannot_be_read_is_never_an_empty_list(tmp_path: Path) -> None:
    """ddos-deflate #1: an unreadable allow-list counted as empty, and the admin was banned."""
    with pytest.raises(ConfigError, match=r"gone: the allow-list cannot be read \(No such file or directory\)"):
        read_allow_file(tmp_path / "gone")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_allow_file(tmp_path)


def test_a_list_turned_into_a_device_or_a_pipe_does_not_hang(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a regular file"):
        read_allow_file(Path("/dev/zero"))


def test_binary_content_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "friends"
    path.write_bytes(b"192.0.2.7\n\xff\xfe\n")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read_allow_file(path)


def test_a_file_larger_than_any_list_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "friends"
    with path.open("wb") as file:
        file.truncate(allow_list.MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="larger than 16 MiB"):
        read_allow_file(path)
