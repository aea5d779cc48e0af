"""A local API that is broken, slow or hostile: one error each, bounded in bytes and time, and no secret in its text."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network, ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synguard.addresses import EMBEDDING, Network
from synguard.clock import SystemClock
from synguard.errors import FleetError
from synguard.fleet import http
from synguard.fleet.decisions import parse_stream
from synguard.fleet.follower import DecisionFollower, HostView
from synguard.fleet.lapi import AlertSink, DecisionSource
from synguard.fleet.peer import PeerRecord
from synguard.ledger import Ledger

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
KEY = "k3y-that-nobody-may-see"
HEAD = b"HTTP/1.1 200 OK\r\n"
Talk = Callable[[socket.socket], None]


@dataclass
class Server:
    """A server on loopback that says to each connection what it is told to."""

    talk: Talk
    asked: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                there, _ = self._listener.accept()
                with there, suppress(OSError):
                    self.asked.append(there.recv(65536))
                    self.talk(there)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Talk], Server]]:
    monkeypatch.setattr(http, "PATIENCE_S", 0.5)
    monkeypatch.setattr(http, "MOST_BYTES", 1 << 20)
    made: list[Server] = []

    def start(talk: Talk) -> Server:
        made.append(Server(talk))
        return made[-1]

    yield start
    for one in made:
        one.close()


def says(*pieces: bytes) -> Talk:
    return lambda there: [there.sendall(piece) for piece in pieces] and None


def drips(first: bytes) -> Talk:
    """Bytes that come often enough for every timeout of a single read, and never end."""

    def talk(there: socket.socket) -> None:
        there.sendall(first)
        while True:
            there.sendall(b" ")
            threading.Event().wait(0.02)

    return talk


def floods(there: socket.socket) -> None:
    there.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        there.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")


ECHO = json.dumps({"message": f"no such key: {KEY}"}).encode()
BOMB = gzip.compress(b" " * (64 << 20))
CASES = {
    "drips its head": (drips(b"HTTP/1.1 200 OK\r\nX: "), "takes longer than 0.5 s"),
    "drips its body": (drips(HEAD + b"Content-Length: 100000\r\n\r\n"), "takes longer than 0.5 s"),
    "says nothing": (lambda there: threading.Event().wait(1) and None, "takes longer than 0.5 s"),
    "hangs up": (says(), "does not answer"),
    "is not HTTP": (says(b"\x00\xff" * 100), "does not answer"),
    "never ends": (floods, "more than 1 MiB"),
    "is cut short": (says(HEAD + b"Content-Length: 99\r\n\r\n{"), "does not answer"),
    "lies about its chunks": (says(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "does not answer"),
    "sends elsewhere": (
        says(b"HTTP/1.1 302 No\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"),
        "302",
    ),
    "is a web page": (says(b"HTTP/1.1 404 No\r\nContent-Length: 6\r\n\r\n<html>"), "is this its URL"),
    "repeats the key": (
        says(b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % len(ECHO) + ECHO),
        "answers 500: no such key: …",
    ),
    "has a header without end": (says(HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n"), "does not answer"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_local_api_that_misbehaves_is_one_error_in_bounded_time(case: str, serve: Callable[[Talk], Server]) -> None:
    talk, expected = CASES[case]
    source = DecisionSource(serve(talk).url, KEY)
    with pytest.raises(FleetError, match="CrowdSec local API") as caught:
        source.stream(complete=True)
    assert expected in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 300
    source.close()


def test_what_is_packed_is_not_unpacked(serve: Callable[[Talk], Server]) -> None:
    """64 MiB of blanks are 64 KiB on the way."""
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB)
    body = DecisionSource(serve(says(head, BOMB)).url, KEY).stream(complete=True)
    assert len(body) == len(BOMB)
    with pytest.raises(FleetError):
        parse_stream(body, NOW)


def test_the_next_answer_is_read_from_a_new_connection(serve: Callable[[Talk], Server]) -> None:
    server = serve(drips(HEAD + b"Content-Length: 100000\r\n\r\n"))
    source = DecisionSource(server.url, KEY)
    with pytest.raises(FleetError):
        source.stream(complete=True)
    server.talk = says(HEAD + b"Content-Length: 2\r\n\r\n{}")
    assert source.stream(complete=True) == b"{}"


def test_a_password_and_a_token_that_are_sent_back_are_not_shown(serve: Callable[[Talk], Server]) -> None:
    token = "t0ken-of-this-session"
    login = json.dumps({"token": token}).encode()
    refusal = json.dumps({"message": f"{token} and {KEY} may not"}).encode()
    server = serve(lambda there: None)

    def talk(there: socket.socket) -> None:
        first = b"/login" in server.asked[-1]
        status, body = (b"200 OK", login) if first else (b"500 No", refusal)
        there.sendall(b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)

    server.talk = talk
    with pytest.raises(FleetError, match="500: … and … may not"):
        AlertSink(server.url, "web-1", KEY).send([{}])


def test_a_local_api_with_a_certificate_of_no_known_authority_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="does not answer"):
        DecisionSource("https://127.0.0.1:9", KEY).stream(complete=True)


class Given:
    """A source with one answer."""

    def __init__(self, answer: object) -> None:
        self.answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.here: frozenset[Network] = frozenset()

    def stream(self, *, complete: bool) -> bytes:
        return self.answer

    def addresses(self) -> frozenset[Network]:
        return self.here


def item(value: object, duration: object = "4h", kind: object = "ban", **more: object) -> dict[str, object]:
    whole = {"scope": "Ip", "type": kind, "value": value, "duration": duration, "scenario": "s", "origin": "o"}
    return whole | more


def followed(
    source: Given, tmp_path: Path, *protected: str, pref64: tuple[IPv6Network, ...] = ()
) -> tuple[dict[str, float], PeerRecord]:
    """Target → hours that it is banned for, after one poll."""
    record = PeerRecord("crowdsec decisions", "lapi")
    view = HostView(dry_run=False, protected=frozenset(map(ip_network, protected)), embedding=(*EMBEDDING, *pref64))
    follower = DecisionFollower(
        source, lambda: view, SystemClock(), record, kinds=frozenset({"ban"}), at_most=1000, poll_s=10.0
    )
    with Ledger.open(tmp_path / "l.db") as ledger:
        follower.poll(ledger)
        now = datetime.now(UTC)
        bans = ledger.active_bans(now).values()
        return {str(b.target): round((b.expires_at - now) / timedelta(hours=1)) for b in bans if b.expires_at}, record


def test_no_decision_bans_the_whole_internet_a_protected_party_or_the_local_api(tmp_path: Path) -> None:
    source = Given(
        {
            "new": [
                item(value, scope="Range" if "/" in value else "Ip")
                for value in (
                    *("0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/7", "2000::/3", "2001::/16", "64:ff9b::/96"),
                    *(
                        "192.0.2.2",
                        "192.0.2.0/24",
                        "::ffff:192.0.2.2",
                        "64:ff9b::192.0.2.2",
                        "2001:db8::2",
                        "2001:db8::/32",
                    ),
                    *("198.51.100.1", "198.51.100.0/25", "127.0.0.1", "0.0.0.0", "203.0.113.9"),
                )
            ]
        }
    )
    source.here = frozenset({ip_network("198.51.100.1/32")})
    bans, record = followed(source, tmp_path, "192.0.2.2/32", "2001:db8::2/128", "127.0.0.0/8", "0.0.0.0/32")
    assert bans == {"203.0.113.9/32": 4}
    assert record.state.counts["protected"] == 9


def test_a_decision_on_translated_addresses_is_followed_as_bans_by_hand_of_what_they_embed_are(tmp_path: Path) -> None:
    """Behind 2001:db8:64::/96 the address of somebody protected was banned, and with the whole prefix all of IPv4."""
    refused = ("2001:db8:64::192.0.2.2", "2001:db8:64::/96", "2001:db8:64::/64", "2001:db8::/40", "64:ff9b::/96")
    taken = ("2001:db8:64::203.0.113.9", "2001:db8:65::/64")
    source = Given({"new": [item(value, scope="Range" if "/" in value else "Ip") for value in refused + taken]})
    bans, record = followed(source, tmp_path, "192.0.2.2/32", pref64=(IPv6Network("2001:db8:64::/96"),))
    assert set(bans) == {"2001:db8:64::cb00:7109/128", "2001:db8:65::/64"}
    assert record.state.counts["protected"] == 1
    assert record.state.notes == ("decisions left out: wider than /104",)


def test_other_prefixes_of_translated_addresses_are_asked_of_all_decisions_anew(tmp_path: Path) -> None:
    views = iter([HostView(False, ()), HostView(False, (), embedding=(IPv6Network("2001:db8:64::/96"),))])
    source, record = Given({"new": [item("2001:db8:64::/64", scope="Range")]}), PeerRecord("d", "lapi")
    follower = DecisionFollower(
        source, lambda: next(views), SystemClock(), record, kinds=frozenset({"ban"}), at_most=9, poll_s=1.0
    )
    with Ledger.open(tmp_path / "l.db") as ledger:
        for bans in (1, 0):
            follower.poll(ledger)
            assert len(ledger.active_bans(datetime.now(UTC))) == bans


def test_a_decision_for_a_century_is_taken_for_a_year(tmp_path: Path) -> None:
    bans, _ = followed(Given({"new": [item("203.0.113.9", "876600h"), item("203.0.113.8", "999999999999h")]}), tmp_path)
    assert set(bans.values()) == {366 * 24}


def test_words_without_end_are_cut_short_and_reasons_are_bounded(tmp_path: Path) -> None:
    """The status file takes 4 MiB: a type of 5 MiB, named in a note, would have hidden the agent's whole state."""
    odd = [item("203.0.113.9", kind="x" * 5_000_000), item("203.0.113.7", scope="\x1b[2J" + "y" * 9999)]
    odd += [item("203.0.113.8", kind=f"kind{n}") for n in range(1000)]
    odd += [item("203.0.113.10", scenario="\ud800\x00\x1b[31m" + "z" * 9999, origin="\ud800")]
    bans, record = followed(Given({"new": odd}), tmp_path)
    assert set(bans) == {"203.0.113.10/32"}
    assert sum(map(len, record.state.notes)) < 2000
    assert all(note.isprintable() for note in record.state.notes)


WORDS = st.sampled_from(
    [
        "203.0.113.9",
        "10.0.0.0/8",
        "::1",
        "fe80::1%eth0",
        "a\x00b",
        "1.2.3",
        "0x7f.1",
        "\ud800",
        "4h",
        "-1s",
        "Ip",
        "ban",
    ]
)
VALUES = WORDS | st.none() | st.integers() | st.floats(allow_nan=False) | st.lists(WORDS, max_size=2) | st.booleans()
FIELDS = st.sampled_from(["value", "scope", "type", "duration", "scenario", "origin", "id"])
ITEMS = st.dictionaries(FIELDS, VALUES) | VALUES
LISTS = st.lists(ITEMS, max_size=4) | VALUES
ANSWERS = st.fixed_dictionaries({}, optional={"new": LISTS, "deleted": LISTS, "links": VALUES})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(answer=ANSWERS)
def test_any_answer_is_followed_or_is_one_error(answer: object, tmp_path: Path) -> None:
    with suppress(FleetError):
        followed(Given(answer), tmp_path)


@given(answer=ANSWERS | st.binary(max_size=60))
def test_an_answer_is_taken_apart_as_the_whole_of_it_would_be(answer: object) -> None:
    """What is an object with two lists is an answer, whatever stands in the lists; nothing else is."""
    data = answer if isinstance(answer, bytes) else json.dumps(answer, indent=1).encode()
    try:
        whole = json.loads(data.decode())
        fits = isinstance(whole, dict) and all(isinstance(whole.get(name), list | None) for name in ("new", "deleted"))
    except ValueError:
        fits = False
    try:
        parse_stream(data, NOW)
    except FleetError:
        assert not fits
    else:
        assert fits
