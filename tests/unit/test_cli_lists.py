"""Lists: every fault of one is told at once and names its line; what is good is banned once, and once only."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.addresses import parse_network
from synguard.errors import NotPermittedError, PlaneError, SynguardError, UsageError
from synguard.network_words import network_of_word
from synguard.operator import lists
from synguard.operator.lists import ListEntry, read_lists
from synguard.socket_table import TcpState
from tests.support.cli_host import GATEWAY, CliHost

GOOD = """\ufeff# bad neighbours
203.0.113.7            # scanner\x1b[31m, ticket 4711
2001:db8:7::/48 ; SBL123\r
\t198.51.100.0/24\r

::ffff:203.0.113.9
203.0.113.7/32         # again
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    return CliHost(tmp_path, monkeypatch)


@pytest.fixture
def listed(tmp_path: Path) -> Callable[[str | bytes], str]:
    def write(text: str | bytes) -> str:
        path = tmp_path / "list.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_a_list_is_read_with_its_comments_as_reasons_and_its_duplicates_folded(
    listed: Callable[[str | bytes], str],
) -> None:
    path = listed(GOOD)
    listing = read_lists([Path(path)])
    assert listing.entries == {
        ip_network("203.0.113.7"): ListEntry(path, 2, "scanner\\x1b[31m, ticket 4711"),
        ip_network("2001:db8:7::/48"): ListEntry(path, 3, "SBL123"),
        ip_network("198.51.100.0/24"): ListEntry(path, 4, ""),
        ip_network("203.0.113.9"): ListEntry(path, 6, ""),
    }
    assert listing.folded == 1


@given(
    st.one_of(st.from_regex(r"[0-9a-f:./%]{1,24}", fullmatch=True), st.ip_addresses().map(str), st.text(max_size=20))
)
def test_a_word_means_what_it_means_elsewhere(word: str) -> None:
    """The quick way takes nothing that the slow one refuses, and gives the same."""
    try:
        slow = parse_network(word)
    except ValueError:
        with pytest.raises(ValueError, match=r"address or prefix|bits beyond"):
            network_of_word(word)
    else:
        assert network_of_word(word) == slow


def test_every_faulty_line_is_named_up_to_a_bound_and_nothing_is_banned(
    host: CliHost, listed: Callable[[str | bytes], str]
) -> None:
    path = listed("203.0.113.7\n" + "".join(f"bad-{n}\n" for n in range(100)) + "192.0.2.1/24\n")
    ran = host.run("ban", "--file", path)
    assert ran.code == 2
    assert f'{path}:2: "bad-0" is not an address or prefix' in ran.err
    assert f"{path}:21: " in ran.err
    assert f"{path}:22: " not in ran.err
    assert "and 81 more" in ran.err
    assert host.records() == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "names no address or prefix"),
        ("# nothing\n\n", "names no address or prefix"),
        ("203.0.113.7\n".encode("utf-16"), "is UTF-16: turn it into UTF-8"),
        (b"\x7fELF\0\0\1\2", "is no text"),
        ("9" * 5000 + "\n", "is not an address or prefix"),
        (b"\xff\xee\xdd\n", "is not an address or prefix"),
        ("203.0.113.0/33\n", "is not an address or prefix"),
        ("203.0.113.7/24\n", "did you mean 203.0.113.0/24?"),
    ],
)
def test_what_is_no_list_is_refused_in_a_sentence(
    host: CliHost, listed: Callable[[str | bytes], str], content: str | bytes, told: str
) -> None:
    ran = host.run("ban", "--file", listed(content))
    assert (ran.code, told in ran.err) == (2, True), ran.err
    assert len(ran.err) < 500
    assert host.records() == []


def test_latin_1_in_a_comment_does_no_harm(listed: Callable[[str | bytes], str]) -> None:
    (entry,) = read_lists([Path(listed(b"203.0.113.7 # f\xfcr immer\n"))]).entries.values()
    assert entry.reason == "f\ufffdr immer"


def test_a_list_is_bounded_in_lines_and_bytes(
    listed: Callable[[str | bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(listed("203.0.113.7\n" * 100))
    monkeypatch.setattr(lists, "MOST_LINES", 50)
    with pytest.raises(UsageError, match="more than 50 lines"):
        read_lists([path])
    monkeypatch.setattr(lists, "MOST_BYTES", 200)
    with pytest.raises(UsageError, match="larger than"):
        read_lists([path])


def test_a_file_that_is_not_there_or_a_directory_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_lists([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="is a directory"):
        read_lists([tmp_path])


def test_a_file_that_may_not_be_read_is_exit_code_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("synguard.operator.lists.os.open", refuse)
    with pytest.raises(NotPermittedError, match="may not be read by this user"):
        read_lists([tmp_path / "secret"])


def test_a_pipe_that_says_nothing_is_given_up_and_one_that_never_ends_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(lists, "SILENCE_S", 0.05)
    with pytest.raises(SynguardError, match="nothing came from"):
        read_lists([pipe])
    monkeypatch.setattr(lists, "MOST_BYTES", 100_000)
    monkeypatch.setattr(lists, "SILENCE_S", 20.0)

    def pour() -> None:
        try:
            with pipe.open("wb", buffering=0) as end:
                while True:
                    end.write(b"203.0.113.7\n" * 100)
        except BrokenPipeError:
            pass

    writer = threading.Thread(target=pour)
    writer.start()
    with pytest.raises(UsageError, match="larger than"):
        read_lists([pipe])
    writer.join(20)
    assert not writer.is_alive()


def test_a_pipe_is_a_list_too(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("203.0.113.7\n203.0.113.8\n"))
    writer.start()
    assert len(read_lists([pipe]).entries) == 2
    writer.join(20)


def test_a_list_and_targets_are_banned_together_and_unban_takes_the_same_list(
    host: CliHost, listed: Callable[[str | bytes], str]
) -> None:
    path = listed(GOOD)
    ran = host.run("ban", "192.0.2.9", "--file", path, "--reason", "weekly list")
    assert ran.code == 0, ran.err
    assert f"unban 192.0.2.9 --file {path}" in ran.out
    assert host.active_bans() == host.held()
    assert len(host.held()) == 5
    reasons = {str(record.ban.target): record.ban.reason for record in host.records()}
    assert reasons["203.0.113.7/32"] == "scanner\\x1b[31m, ticket 4711"
    assert reasons["198.51.100.0/24"] == "weekly list"
    assert host.run("unban", "192.0.2.9", "--file", path).code == 0
    assert host.active_bans() == host.held() == set()
    assert host.run("unban", "--file", path).code == 1


def test_the_same_list_twice_doubles_nothing_and_moves_the_end(
    host: CliHost, listed: Callable[[str | bytes], str]
) -> None:
    path = listed(GOOD)
    host.run("ban", "--file", path, "--for", "1h")
    before = {record.ban.id: record.ban.expires_at for record in host.records()}
    counts = host.run("ban", "--file", path, "--for", "3h", "--json").json["counts"]
    assert (counts["banned"], counts["renewed"]) == (4, 4)
    after = {record.ban.id: record.ban.expires_at for record in host.records()}
    assert after.keys() == before.keys()
    assert all((after[one] or 0) > ends for one, ends in before.items())  # type: ignore[operator]
    assert {held.expires_at for held in host.plane.actual.bans.values()} == set(after.values())


def test_a_renewal_that_the_kernel_did_not_take_leaves_the_old_end(
    host: CliHost, listed: Callable[[str | bytes], str]
) -> None:
    path = listed("203.0.113.7\n")
    host.run("ban", "--file", path, "--for", "1h")
    before = [record.ban for record in host.records()]
    host.plane.fail_next("apply", PlaneError("filling sets", "no memory"))
    assert host.run("ban", "--file", path, "--for", "3h").code == 1
    assert [record.ban for record in host.records() if record.ended_at is None] == before


def test_a_protected_target_in_a_list_is_refused_with_its_line_unless_it_is_left_out(
    host: CliHost, listed: Callable[[str | bytes], str]
) -> None:
    path = listed(f"203.0.113.7\n{GATEWAY}\n198.51.100.1\n192.0.2.0/24\n")
    ran = host.run("ban", "--file", path)
    assert ran.code == 3
    assert f"{path}:2: {GATEWAY} is refused" in ran.err
    assert f"{path}:4: 192.0.2.0/24 is refused" in ran.err
    assert "--skip-refused" in ran.err
    assert host.records() == []
    ran = host.run("ban", "--file", path, "--skip-refused")
    assert ran.code == 0, ran.err
    assert f"left out: {path}:2: {GATEWAY}" in ran.out
    assert host.active_bans() == host.held() == {"203.0.113.7/32", "198.51.100.1/32"}
    only = listed(f"{GATEWAY}\n")
    assert host.run("ban", "--file", only, "--skip-refused").code == 3


def test_of_a_long_list_the_preview_is_sums_and_the_few_that_hit_somebody(
    host: CliHost, listed: Callable[[str | bytes], str]
) -> None:
    path = listed("\n".join(f"198.51.{n // 256}.{n % 256}" for n in range(600)) + "\n2001:db8::/64\n")
    host.run("ban", "198.51.0.0/16", "198.51.1.1")
    host.connect(("198.51.0.7", TcpState.ESTABLISHED), ("2001:db8::9", TcpState.SYN_RECV))
    ran = host.run("ban", "--file", path, "--dry-run")
    assert len(ran.out.splitlines()) < 30
    assert "601 targets: 600 IPv4 and 1 IPv6, 600 addresses and 1 prefix" in ran.out
    assert "198.51.0.7 holds 1 ESTABLISHED; connected peers: 1" in ran.out
    assert "2001:db8::/64 holds 1 SYN_RECV" in ran.out
    assert "1 of them are banned already" in ran.out
    assert "600 of them overlap bans of other targets:" in ran.out
    shape = host.run("ban", "--file", path, "--dry-run", "--json").json
    assert (shape["counts"]["targets"], shape["counts"]["connected"]) == (601, 2)
    assert len(shape["impact"]) == 200


def test_standard_input_is_a_list(host: CliHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").write_text("203.0.113.7\n")
    with (tmp_path / "in").open(encoding="utf-8") as given:
        monkeypatch.setattr("synguard.operator.lists._stdin", given.fileno)
        ran = host.run("ban", "-")
    assert ran.code == 0, ran.err
    assert "unban - < the same list" in ran.out
    assert host.held() == {"203.0.113.7/32"}
    assert host.run("ban", "-", "-").code == 2


def test_no_target_and_no_list_is_a_usage_error(host: CliHost) -> None:
    assert host.run("ban").code == 2
    assert host.run("unban").code == 2
    assert host.run("unban", "--all", "--file", "x").code == 2


def test_what_the_kernel_has_no_room_for_is_refused_before_anything_is_written(
    host: CliHost, listed: Callable[[str | bytes], str]
) -> None:
    host.plane.max_elements = 3
    host.run("ban", "192.0.2.9")
    ran = host.run("ban", "--file", listed("203.0.113.1\n203.0.113.2\n203.0.113.3\n"))
    assert ran.code == 1
    assert "would hold 4, 1 more than its ceiling of 3" in ran.err
    assert "ceilings.members" in ran.err
    assert host.active_bans() == host.held() == {"192.0.2.9/32"}
    assert host.run("ban", "203.0.113.1", "203.0.113.2").code == 0
