import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.errors import SensorError
from synguard.netlink import attributes, dump, messages

INTERRUPTED = 0x10


def message(kind: int = 27, flags: int = 2, payload: bytes = b"\0" * 4) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, 1, 0) + payload


def done(code: int = 0) -> bytes:
    return message(3, payload=struct.pack("=i", -code))


class PlayedSocket:
    """Answers each question with the next scene: datagrams, or an error to raise."""

    def __init__(self, scenes: Iterator[list[bytes | OSError]]) -> None:
        self._scenes = scenes

    def __call__(self, *_: object) -> Self:
        self._answers = iter(next(self._scenes))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def settimeout(self, _: float) -> None: ...
    def setsockopt(self, *_: int) -> None: ...
    def send(self, *_: object) -> None: ...

    def recv(self, _: int) -> bytes:
        answer = next(self._answers)
        if isinstance(answer, OSError):
            raise answer
        return answer


def play(monkeypatch: pytest.MonkeyPatch, *scenes: list[bytes | OSError]) -> None:
    monkeypatch.setattr(socket, "socket", PlayedSocket(iter(scenes)))


OVERRUN = OSError(errno.ENOBUFS, "No buffer space available")


@pytest.mark.parametrize(
    "spoilt",
    [
        [message() + message(flags=INTERRUPTED) + done()],
        [message(), message(flags=INTERRUPTED), message() + done()],
        [message() + message(3, INTERRUPTED, bytes(4))],
        [message(), OVERRUN],
    ],
)
def test_an_answer_that_is_not_whole_is_asked_for_again(
    spoilt: list[bytes | OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, spoilt, [message() * 2, message() + done()])
    assert len(dump(0, 26, b"", "the routes")) == 3


def test_what_never_holds_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, *[[OVERRUN]] * 9)
    with pytest.raises(SensorError, match="cannot read the routes: it changed under each of 5 attempts"):
        dump(0, 26, b"", "the routes")


@pytest.mark.parametrize(
    "refusal", [message(2, payload=struct.pack("=i", -errno.EPERM) + bytes(16)), done(errno.EPERM)]
)
def test_a_refusal_is_told_in_the_kernels_words(refusal: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, [refusal])
    with pytest.raises(SensorError, match="cannot read the routes: Operation not permitted"):
        dump(0, 26, b"", "the routes")


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, [message(payload=bytes(4096))] * 1000)
    with pytest.raises(SensorError, match="the answer is too large"):
        dump(0, 26, b"", "the routes", at_most_bytes=1 << 20)


def test_a_kernel_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, [TimeoutError()])
    with pytest.raises(SensorError, match="did not answer within 2 s"):
        dump(0, 26, b"", "the routes")


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_and_attributes_within_their_bounds_or_cut_short(content: bytes) -> None:
    with suppress(OSError):
        for _, _, body in messages(content):
            assert len(body) <= len(content)
            assert all(len(value) <= len(body) for _, value in attributes(body))
