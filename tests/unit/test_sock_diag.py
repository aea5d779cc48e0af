"""Dumps over a played socket: retried, refused, cut off, but never a part for the whole."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

import pytest

from synguard.errors import SensorError
from synguard.readings import SocketTable, TcpState, empty_table
from synguard.sensors import psutil_tables
from synguard.sensors.inet_diag import UnavailableError
from synguard.sensors.sock_diag import ATTEMPTS, SockDiag
from synguard.sensors.sockets import Sockets
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


def test_only_sockets_whose_local_port_listens_are_counted() -> None:
    listen: Answer = lambda sequence: row(sequence, state=10, local_port=443, remote_port=0) + done(sequence)  # noqa: E731
    mixed: Answer = lambda sequence: (  # noqa: E731
        row(sequence, local_port=443) + row(sequence, local_port=50_000, remote_port=443) + done(sequence)
    )
    reading = Sockets(SockDiag(Kernel([listen, mixed]))).half_open(5.0)
    assert (reading.at, reading.source) == (5.0, "sock_diag")
    assert reading.table.local_port.tolist() == [443]


def test_one_moment_reads_the_listeners_once() -> None:
    listen: Answer = lambda sequence: row(sequence, state=10, local_port=443) + done(sequence)  # noqa: E731
    kernel = Kernel([listen, *whole(1), *whole(1)])
    sockets = Sockets(SockDiag(kernel))
    sockets.half_open(5.0)
    sockets.connections(5.0)
    assert [listener.port for listener in sockets.listeners(5.0)] == [443]
    assert len(kernel.sockets[0].requests) == 3


def test_psutil_takes_over_where_sock_diag_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[frozenset[TcpState]] = []

    def tcp_table(states: frozenset[TcpState]) -> SocketTable:
        asked.append(states)
        return empty_table()

    monkeypatch.setattr(psutil_tables, "tcp_table", tcp_table)
    sockets = Sockets(SockDiag(refuse))
    assert sockets.source == "sock_diag"
    assert sockets.half_open(1.0).source == "psutil"
    assert sockets.source == "psutil"
    assert "Operation not permitted" in sockets.refusal
    assert asked[-1] == HALF_OPEN


def test_no_source_left_is_an_error_that_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(kind: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/proc/net/tcp")

    monkeypatch.setattr(psutil_tables.psutil, "net_connections", fail)
    with pytest.raises(SensorError, match=r"refuses sock_diag.*psutil cannot list"):
        Sockets(SockDiag(refuse)).half_open(1.0)
