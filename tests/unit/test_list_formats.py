"""Lists as they are published and saved: each is recognised, said, and read to the same targets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.errors import UsageError
from synguard.operator.list_formats import format_of, networks_of_word
from synguard.operator.lists import BanList, read_lists
from tests.support.cli_host import CliHost

SAMPLES = {
    "plain": "203.0.113.7 # office\n203.0.113.0/24\n2001:db8::/48\n",
    "netset": "#\n# firehol\n#\n203.0.113.7 # office\n203.0.113.0/24\n2001:db8::/48\n",
    "semicolons": "; SBL list\n203.0.113.7 ; office\n203.0.113.0/24\n2001:db8::/48 ;\n",
    "columns": "first_seen,ip,comment\n2026-01-01,203.0.113.7,office\n2026-01-01,203.0.113.0/24,\n"
    "2026-01-01,2001:db8::/48,\n",
    "columns without a head": "1|203.0.113.7\n2|203.0.113.0/24\n3|2001:db8::/48\n",
    "JSON lines": '{"cidr":"203.0.113.7","sblid":"office"}\n{"cidr":"203.0.113.0/24"}\n"2001:db8::/48"\n'
    '{"type":"metadata","timestamp":1}\n',
    "JSON": '[\n  {"ip": "203.0.113.7", "comment": "office"},\n  "203.0.113.0/24",\n  "2001:db8::/48"\n]\n',
    "ipset save": "create bad hash:net family inet hashsize 1024 maxelem 65536 comment\n"
    'add bad 203.0.113.7 timeout 60 comment "office"\nadd bad 203.0.113.0/24\nadd six 2001:db8::/48\n',
}


def read(tmp_path: Path, text: str, *, skip_faulty: bool = False) -> BanList:
    path = tmp_path / "list"
    path.write_text(text, encoding="utf-8")
    return read_lists([path], skip_faulty=skip_faulty)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_gives_the_same_targets(tmp_path: Path, name: str) -> None:
    listing = read(tmp_path, SAMPLES[name])
    assert [str(one) for one in listing.entries] == ["203.0.113.7/32", "203.0.113.0/24", "2001:db8::/48"]
    reasons = [one.reason for one in listing.entries.values()]
    assert reasons == (["", "", ""] if name == "columns without a head" else ["office", "", ""])
    said = "".join(listing.formats)
    assert bool(said) == (name not in ("plain", "netset", "semicolons"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("columns", "read as columns, the addresses in column 2"),
        ("JSON lines", "read as JSON lines"),
        ("ipset save", "read as ipset save"),
    ],
)
def test_what_a_list_was_read_as_is_said(tmp_path: Path, name: str, said: str) -> None:
    (line,) = read(tmp_path, SAMPLES[name]).formats
    assert line.endswith(said)


def test_a_range_is_the_prefixes_that_cover_it_and_nothing_else(tmp_path: Path) -> None:
    listing = read(tmp_path, "203.0.113.5-203.0.113.9  # five of them\n")
    covered = sorted(str(address) for network in listing.entries for address in network)
    assert covered == [f"203.0.113.{n}" for n in range(5, 10)]
    assert {one.reason for one in listing.entries.values()} == {"five of them"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.0.0.1-255.255.255.254\n", "is a range of more than 32 prefixes"),
        ("203.0.113.9-203.0.113.5\n", "203.0.113.9-203.0.113.5"),
        ("203.0.113.5-2001:db8::1\n", "of one family"),
        ("203.0.113.5;203.0.113.6;203.0.113.7\n", "names several addresses: write one per line"),
        ("203.0.113.5, 203.0.113.6,203.0.113.7\n", "names several addresses: write one per line"),
        ("203.0.113.5\t203.0.113.6\n", "names several addresses: write one per line"),
        ("203.0.113.5|2001:db8::/32\n", "names several addresses: write one per line"),
        ("tcp|in|d=22|s=203.0.113.5\n", "is a rule for ports as csf has them"),
        ("203.0.113.5\nInclude /etc/csf/more\n", '"Include /etc/csf/more" is not an address'),
        ("add bad 203.0.113.0/24 nomatch\n", "is an exception (nomatch)"),
        ("add bad 203.0.113.7,tcp:80\n", "names more than an address"),
        ('{"name": "x"}\n', "none of cidr, ip"),
        ("{\n", "is no JSON"),
        ("[1, 2]\n", '"1" names no address'),
        ("[[[\n", "is no JSON"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert str(tmp_path / "list") in str(caught.value)


def test_deep_nesting_is_a_sentence(tmp_path: Path) -> None:
    for text in ("[" * 200_000, '{"a":' * 200_000):
        with pytest.raises(UsageError):
            read(tmp_path, text)


def test_one_faulty_line_loses_no_nightly_feed_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = CliHost(tmp_path, monkeypatch)
    feed = tmp_path / "feed"
    feed.write_text("203.0.113.7\nnonsense\n203.0.113.8\n")
    refused = host.run("ban", "--file", str(feed))
    assert (refused.code, "--skip-faulty" in refused.err) == (2, True)
    told = host.run("ban", "--file", str(feed), "--skip-faulty")
    assert told.code == 0
    assert f'left out {feed}:2: "nonsense" is not an address or prefix' in told.err
    assert host.active_bans() == {"203.0.113.7/32", "203.0.113.8/32"}
    assert host.run("unban", "--file", str(feed), "--skip-faulty").code == 0
    assert host.active_bans() == set()


@pytest.mark.parametrize(
    "feed",
    [
        "ip,reason\n203.0.113.7,ssh\n203.0.113.300,web\n203.0.113.8,web\n",
        "203.0.113.7,ssh, again\n203.0.113.8,web\n203.0.113.9x,web\n",
        '"ip","reason"\n"203.0.113.7","ssh, again"\n"nonsense","web"\n"203.0.113.8","web"\n',
        '"203.0.113.7","ssh"\n"","web"\n"203.0.113.8","web"\n',
        "first\tip\n2026-01-01\t203.0.113.7\n2026-01-01\n2026-01-02\t203.0.113.8\n",
    ],
    ids=["a typing slip", "a comma too many", "quoted", "quoted without a head", "a column too few"],
)
def test_one_faulty_row_does_not_make_columns_unknown(tmp_path: Path, feed: str) -> None:
    """Each of the other rows was refused too, and `--skip-faulty` found no address in the whole list."""
    listing = read(tmp_path, feed, skip_faulty=True)
    assert {str(one) for one in listing.entries} == {"203.0.113.7/32", "203.0.113.8/32"}
    assert "columns" in listing.formats[0]
    assert len(listing.faults) == (0 if "again\n203" in feed and "9x" not in feed else 1)


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"], ids=["CR", "CRLF", "LF"])
def test_lines_end_as_any_system_ends_them(tmp_path: Path, end: str) -> None:
    """A list of CR alone was one line of several addresses, and the advice kept the CRs."""
    listing = read(tmp_path, end.join(["# head", "203.0.113.5 # a", "", "203.0.113.6", "203.0.113.7", ""]))
    assert [(str(one), entry.at, entry.reason) for one, entry in listing.entries.items()] == [
        ("203.0.113.5/32", 2, "a"), ("203.0.113.6/32", 4, ""), ("203.0.113.7/32", 5, ""),
    ]  # fmt: skip


def test_several_addresses_in_a_line_are_refused_with_what_puts_each_on_a_line_of_its_own(tmp_path: Path) -> None:
    text = "203.0.113.5;203.0.113.6|203.0.113.7, \t203.0.113.8\n" * 30
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    *_, command, _ = str(caught.value).splitlines()
    assert command.startswith("to get one per line: tr ")
    tr = command.partition(": ")[2].replace("LIST", str(tmp_path / "list"))
    assert (
        subprocess.run(["sh", "-c", tr], capture_output=True, text=True).stdout.split()
        == [f"203.0.113.{n}" for n in (5, 6, 7, 8)] * 30
    )


def test_a_feed_of_faults_alone_is_refused_whatever_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no address or prefix"):
        read(tmp_path, "nonsense\n<html>\n", skip_faulty=True)


@given(st.lists(st.text(max_size=60), max_size=20))
def test_no_list_is_more_than_a_fault(lines: list[str]) -> None:
    form = format_of(lines)
    for line in lines:
        try:
            form.read(line)
        except ValueError:
            continue


@given(st.ip_addresses(v=4), st.integers(min_value=0, max_value=300))
def test_a_range_covers_each_of_its_addresses_once(first: object, more: int) -> None:
    from ipaddress import IPv4Address

    start = int(IPv4Address(str(first)))
    last = min(start + more, 2**32 - 1)
    networks = networks_of_word(f"{first}-{IPv4Address(last)}")
    assert sum(one.num_addresses for one in networks) == last - start + 1
