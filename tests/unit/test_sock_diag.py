"""Dumps over a played socket: retried, refused, cut off, but never a part for the whole."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest

from synguard.errors import SensorError
from synguard.sensors import psutil_tables
from synguard.sensors.busiest import stands_for
from synguard.sensors.inet_diag import UnavailableError
from synguard.sensors.sock_diag import ATTEMPTS, SockDiag
from synguard.sensors.sockets import STANDS_FOR_S, SocketTables
from synguard.socket_table import TcpState
from tests.support.diag_messages import Answer, PlayedSocket, done, refused, row

HALF_OPEN = frozenset({TcpState.SYN_RECV})


def rows(count: int, first: int = 0, **named: int) -> Callable[[int], bytes]:
    return lambda sequence: b"".join(row(sequence, remote_port=first + n, **named) for n in range(count))


class Kernel:
    """Opens one played socket after another."""

    def __init__(self, *plays: Sequence[Answer]) -> None:
        self.sockets: list[PlayedSocket] = []
        self._plays = list(plays)

    def __call__(self) -> PlayedSocket:
        self.sockets.append(PlayedSocket(self._plays.pop(0)))
        return self.sockets[-1]


def whole(count: int) -> list[Answer]:
    return [rows(count), done]


def test_a_dump_in_several_datagrams_is_one_table() -> None:
    kernel = Kernel([rows(300), rows(200, first=300), lambda sequence: rows(1, first=500)(sequence) + done(sequence)])
    assert SockDiag(kernel).tcp(HALF_OPEN).table.remote_port.tolist() == list(range(501))


def test_a_dump_larger_than_the_buffer_is_one_table() -> None:
    pieces: list[Answer] = [rows(300, first=300 * n) for n in range(100)]
    assert SockDiag(Kernel([*pieces, done])).tcp(HALF_OPEN).table.remote_port.tolist() == list(range(30_000))


def test_a_second_dump_leaves_the_first_table_as_it_was() -> None:
    diag = SockDiag(Kernel([rows(10), done, rows(10, first=500), done]))
    first = diag.tcp(HALF_OPEN).table
    diag.tcp(HALF_OPEN)
    assert first.remote_port.tolist() == list(range(10))


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param([rows(5), OSError(errno.ENOBUFS, "No buffer space available")], id="buffer overrun"),
        pytest.param([rows(5), lambda sequence: row(sequence, flags=0x12) + done(sequence)], id="table changed"),
        pytest.param([rows(5), lambda sequence: done(sequence, -errno.EINTR)], id="broken off"),
        pytest.param([rows(5), lambda sequence: done(sequence, -errno.ENOMEM)], id="short of memory"),
    ],
)
def test_a_dump_that_is_not_whole_is_asked_for_again_on_a_new_socket(broken: list[Answer]) -> None:
    kernel = Kernel(broken, whole(7))
    assert len(SockDiag(kernel).tcp(HALF_OPEN)) == 7
    assert [played.closed for played in kernel.sockets] == [True, False]


def test_a_dump_that_is_never_whole_is_an_error_after_a_bound() -> None:
    kernel = Kernel(*[[rows(5), OSError(errno.ENOBUFS, "No buffer space available")] for _ in range(ATTEMPTS + 5)])
    with pytest.raises(SensorError, match=f"{ATTEMPTS} times in a row"):
        SockDiag(kernel).tcp(HALF_OPEN)
    assert len(kernel.sockets) == ATTEMPTS


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        pytest.param([rows(5)], "did not answer", id="the end never comes"),
        pytest.param([rows(900)], "cannot be read", id="a datagram larger than its buffer"),
        pytest.param([lambda _: b""], "cannot be read", id="nothing at all"),
        pytest.param([lambda sequence: row(sequence)[:50], done], "cannot be read", id="a message cut short"),
        pytest.param([OSError(errno.EIO, "Input/output error")], "Input/output", id="another error"),
    ],
)
def test_no_part_is_passed_off_as_the_whole(answers: list[Answer], words: str) -> None:
    kernel = Kernel(answers, whole(3))
    diag = SockDiag(kernel)
    with pytest.raises(SensorError, match=words):
        diag.tcp(HALF_OPEN)
    assert kernel.sockets[0].closed
    assert len(diag.tcp(HALF_OPEN)) == 3, "the next dump starts afresh"


def test_a_kernel_without_the_old_request_is_asked_by_family() -> None:
    kernel = Kernel(
        [lambda sequence: refused(sequence, -errno.EOPNOTSUPP)], [*whole(2), rows(3), done, *whole(1), done]
    )
    diag = SockDiag(kernel)
    assert len(diag.tcp(HALF_OPEN)) == 5
    assert len(diag.tcp(HALF_OPEN)) == 1, "and then always"


def refuse() -> PlayedSocket:
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_a_refused_socket_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="Operation not permitted"):
        SockDiag(refuse).tcp(HALF_OPEN)


def test_only_connections_whose_local_port_listens_are_counted() -> None:
    listen: Answer = lambda sequence: row(sequence, state=10, local_port=443, remote_port=0) + done(sequence)  # noqa: E731
    mixed: Answer = lambda sequence: (  # noqa: E731
        row(sequence, local_port=443) + row(sequence, local_port=50_000, remote_port=443) + done(sequence)
    )
    reading = SocketTables(SockDiag(Kernel([listen, mixed]))).connections(5.0)
    assert (reading.at, reading.source) == (5.0, "sock_diag")
    assert reading.table.local_port.tolist() == [443]


def test_every_half_open_socket_is_incoming_and_so_are_connections_to_its_port() -> None:
    """TPROXY 443 to a listener on 5000: the sockets are on 443, where nothing listens."""
    waiting: Answer = lambda sequence: (  # noqa: E731
        row(sequence, state=10, local_port=5000, remote_port=0) + row(sequence, local_port=443) + done(sequence)
    )
    open_now: Answer = lambda sequence: (  # noqa: E731
        row(sequence, state=1, local_port=443)
        + row(sequence, state=1, local_port=50_000, remote_port=443)
        + done(sequence)
    )
    sockets = SocketTables(SockDiag(Kernel([waiting, open_now])))
    assert sockets.half_open(5.0).table.local_port.tolist() == [443]
    assert sockets.connections(5.0).table.local_port.tolist() == [443]


def test_one_moment_reads_the_listeners_once_and_half_open_sockets_with_them() -> None:
    listen: Answer = lambda sequence: row(sequence, state=10, local_port=443) + done(sequence)  # noqa: E731
    kernel = Kernel([listen, *whole(1)])
    sockets = SocketTables(SockDiag(kernel))
    assert len(sockets.half_open(5.0).table) == 0
    sockets.connections(5.0)
    assert [listener.port for listener in sockets.listeners(5.0)] == [443]
    assert len(kernel.sockets[0].requests) == 2


def test_a_table_stands_while_no_segment_comes_and_nothing_is_half_open() -> None:
    listen: Answer = lambda sequence: row(sequence, state=10, local_port=443) + done(sequence)  # noqa: E731
    waiting: Answer = lambda sequence: (  # noqa: E731
        row(sequence, state=10, local_port=443) + row(sequence, local_port=443) + done(sequence)
    )
    kernel, arrived = Kernel([listen, listen, listen, waiting, waiting]), [7]
    sockets = SocketTables(SockDiag(kernel), arrived=lambda: arrived[0])
    dumps = []
    for now, segments in ((0.0, 7), (1.0, 7), (2.0, 8), (2.0 + STANDS_FOR_S, 8), (8.0, 9), (9.0, 9)):
        arrived[0] = segments
        half_open = sockets.half_open(now)
        assert [one.port for one in sockets.listeners(now)] == [443]
        dumps.append((len(half_open.table), len(kernel.sockets[0].requests)))
    assert dumps == [(0, 1), (0, 1), (0, 2), (0, 3), (1, 4), (1, 5)]


def many(count: int, *half_open: int) -> Answer:
    """Return listening sockets on that many ports, and half-open ones on these; a datagram holds some 740."""
    return lambda sequence: (
        b"".join(row(sequence, state=10, local_port=port, remote_port=0) for port in range(1024, 1024 + count))
        + b"".join(row(sequence, local_port=port) for port in half_open)
        + done(sequence)
    )


def test_of_very_many_listeners_a_tick_looks_at_those_under_pressure(
    monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """An unprivileged user opened 57,000 listeners: a tick took 820 ms, and a flood was stopped after 2.6 s."""
    monkeypatch.setattr("synguard.sensors.busiest.MANY", 700)
    monkeypatch.setattr("synguard.sensors.busiest.MOST_LISTENERS", 20)
    flooded: Answer = lambda sequence: row(sequence, local_port=1700) * 3 + done(sequence)  # noqa: E731
    kernel = Kernel([many(701, 1700, 1700, 1700), flooded])
    sockets = SocketTables(SockDiag(kernel))
    for now in (5.0, 5.5):
        sockets.half_open(now)
        looked_at = [listener.port for listener in sockets.listeners(now)]
        assert looked_at == [*range(1024, 1044), 1700]
        assert len(sockets.served_ports(now)) == 701
    assert sockets.served_ports(5.5) is sockets.served_ports(5.6), "what every tick compares is the same object"
    assert len(kernel.sockets[0].requests) == 2, "very many listeners are not read at every tick"
    record_property("now", f"{len(looked_at)} of 701 listeners looked at, the flooded one among them")


@pytest.mark.parametrize(("count", "seconds"), [(4_096, 0.0), (4_097, 1.0), (57_000, 1.0), (570_000, 10.0)])
def test_the_more_listeners_there_are_the_less_often_they_are_read(count: int, seconds: float) -> None:
    """One port may be listened on at each of many addresses."""
    assert stands_for(count) == pytest.approx(seconds)


def test_a_person_is_shown_all_listeners() -> None:
    assert len(SocketTables(SockDiag(Kernel([many(700)]))).listeners(5.0)) == 700


class Psutil:
    """Stands in for ``psutil.net_connections``."""

    def __init__(self, *entries: tuple[str, str, int, str, int, int | None]) -> None:
        self.asked = 0
        self._entries = entries

    def __call__(self, kind: str) -> list[SimpleNamespace]:
        self.asked += 1
        return [
            SimpleNamespace(
                family=socket.AF_INET6 if ":" in local else socket.AF_INET,
                status=status,
                laddr=SimpleNamespace(ip=local, port=local_port),
                raddr=SimpleNamespace(ip=remote, port=remote_port) if remote else (),
                pid=pid,
            )
            for status, local, local_port, remote, remote_port, pid in self._entries
        ]


def test_psutil_takes_over_where_sock_diag_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Psutil(
        ("LISTEN", "::", 80, "", 0, os.getpid()),
        ("LISTEN", "0.0.0.0", 22, "", 0, None),
        ("SYN_RECV", "::ffff:192.0.2.1", 80, "::ffff:203.0.113.9", 1025, None),
        ("ESTABLISHED", "192.0.2.1", 22, "203.0.113.8", 1026, None),
        ("ESTABLISHED", "192.0.2.1", 40000, "203.0.113.7", 443, None),
    )
    monkeypatch.setattr(psutil_tables.psutil, "net_connections", listing)
    sockets = SocketTables(SockDiag(refuse))
    assert sockets.source == "sock_diag"
    reading = sockets.half_open(1.0)
    assert (reading.source, sockets.source) == ("psutil", "psutil")
    assert "Operation not permitted" in sockets.refusal
    assert (len(reading.table), reading.table.remote_high[0]) == (1, 0)
    assert reading.table.remote_low[0] == 0xFFFF_CB00_7109, "an IPv4-mapped address is IPv4"
    assert sockets.connections(1.0).table.remote_low.tolist() == [0xFFFF_CB00_7108]
    ssh, web = sockets.listeners(1.0)
    assert (str(ssh.address), ssh.port, ssh.process) == ("0.0.0.0", 22, "")
    assert (str(web.address), web.port, web.process.endswith(f"[{os.getpid()}]")) == ("::", 80, True)
    assert ssh.backlog > 0, "psutil knows no backlog: somaxconn stands for it"
    assert listing.asked == 1, "one look serves the whole moment"
    assert len(sockets.tcp({TcpState.ESTABLISHED})) == 2


def test_an_empty_table_is_an_answer_and_no_reason_to_ask_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Psutil()
    monkeypatch.setattr(psutil_tables.psutil, "net_connections", listing)
    sockets = SocketTables(SockDiag(Kernel([done] * 4)))
    assert len(sockets.half_open(1.0).table) == 0
    assert sockets.listeners(2.0) == ()
    assert len(sockets.tcp(HALF_OPEN)) == 0
    assert (sockets.source, listing.asked) == ("sock_diag", 0)


def test_no_source_left_is_an_error_that_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(kind: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/proc/net/tcp")

    monkeypatch.setattr(psutil_tables.psutil, "net_connections", fail)
    with pytest.raises(SensorError, match=r"refuses sock_diag.*psutil cannot list"):
        SocketTables(SockDiag(refuse)).half_open(1.0)
