"""What nft says and the kernel tells, read without either."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard import netlink
from synguard.enforcer.names import FAMILIES, Kind
from synguard.enforcer.nftables import elements
from synguard.enforcer.nftables.layout import CHAINS, FIXED, SetId, set_id
from synguard.enforcer.nftables.nft import NftFailedError, failure
from synguard.enforcer.nftables.parser import TableFrame, frame_of, take_set
from synguard.errors import NotPermittedError, PlaneUnavailableError

LINES = ["add table inet synguard", "create element inet synguard new-drop-4-32 { 192.0.2.1, 192.0.2.2 }"]


def test_an_error_points_at_the_element_that_was_refused_and_not_at_a_hundred_others() -> None:
    words = "/dev/stdin:2:57-65: Error: Could not process rule: File exists\ncreate element …\n   ^^^^^^^^^"
    error = failure(words, LINES)
    assert isinstance(error, NftFailedError)
    assert (error.detail, error.refused) == (
        "File exists",
        "create element inet synguard new-drop-4-32 { 192.0.2.2 }",
    )


def test_an_error_without_a_place_keeps_the_words() -> None:
    error = failure("Error: No such file or directory\nlist table inet synguard\n                ^^^^^^^^")
    assert isinstance(error, NftFailedError)
    assert error.absent
    assert error.refused == ""


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        ("netlink: Error: cache initialization failed: Operation not permitted", NotPermittedError, "CAP_NET_ADMIN"),
        ("Operation not permitted (you must be root)\nnetlink: Error: …", NotPermittedError, "CAP_NET_ADMIN"),
        ("netlink: Error: cache initialization failed: Protocol not supported", PlaneUnavailableError, "nf_tables"),
        ("Error: Could not process rule: Operation not supported", PlaneUnavailableError, "nf_tables"),
    ],
)
def test_what_the_tool_says_becomes_the_error_to_react_to(words: str, kind: type[Exception], told: str) -> None:
    error = failure(words)
    assert isinstance(error, kind)
    assert told in str(error)


def test_every_set_is_known_by_its_name_and_nothing_else_is() -> None:
    for kind in Kind:
        for family in FAMILIES:
            for length in (1, 24, 32) if family == 4 else (1, 64, 128):
                assert set_id(SetId(kind, family, length).name) == SetId(kind, family, length)
    for name in ("new-drop-4-0", "new-drop-4-33", "new-drop-6-129", "new-drop-5-24", "new-4-24", "new-drop-4-024", "x"):
        assert set_id(name) is None


def test_every_jump_is_to_a_chain_that_is_made_before_the_rules() -> None:
    for rules in FIXED.values():
        for rule in rules:
            if " jump " in f" {rule.text}":
                assert rule.text.split()[-1] in CHAINS


INET = struct.pack("=BBH", 1, 0, 0)


def test_a_frame_without_our_table_is_a_missing_one_whatever_others_have() -> None:
    others = [INET + attribute(1, name) for name in (b"synguard2\0", b"mine\0")]
    assert frame_of(others) == TableFrame() == frame_of([])
    assert frame_of(others).missing == ("table inet synguard",)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("flags", "size", "fits"), [(0x10, 131072, True), (0x110, 200000, True), (0x30, 131072, False),
                                                     (0x10, 10, False)])  # fmt: skip
def test_a_set_is_known_by_what_it_is_in_either_form_of_the_kernels(
    several: bool, flags: int, size: int, fits: bool
) -> None:
    """Since Linux 5.11 a set may name its counter in a list, with a flag that says so; later ones count its members."""
    counter = attribute(1, b"counter\0")
    parts = {2: b"new-drop-4-24\0", 3: struct.pack(">I", flags), 4: struct.pack(">I", 7)}
    parts[9] = attribute(1, struct.pack(">I", size))
    parts |= {18: attribute(1, counter)} if several else {17: counter}
    parts |= {19: b"hash\0", 20: struct.pack(">I", 1)} if several else {}  # type and count
    frame = TableFrame(present=True)
    take_set(frame, INET + b"".join(attribute(kind, value) for kind, value in parts.items()))
    assert (frame.unfit == []) is fits
    assert (SetId(Kind.NEW_DROP, 4, 24) in frame.sets) is fits


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def element(key: bytes, comment: str, packets: int) -> bytes:
    counter = attribute(1, struct.pack(">Q", 60 * packets)) + attribute(2, struct.pack(">Q", packets))
    text = comment.encode() + b"\0"
    body = attribute(1, attribute(1, key)) + attribute(7, attribute(1, b"counter\0") + attribute(2, counter))
    return struct.pack("=BBH", 1, 0, 0) + attribute(3, attribute(1, body + attribute(6, bytes([0, len(text)]) + text)))


def test_an_element_is_read_with_comment_and_counter() -> None:
    (found,) = elements.elements_in(element(b"\xc0\0\2\1", "synguard allow", 7))
    assert (found.key, found.comment, found.packets, found.bytes) == (b"\xc0\0\2\1", "synguard allow", 7, 420)


@given(st.binary(max_size=200), st.integers(0, 120), st.integers(0, 255))
def test_no_answer_makes_the_decoder_hang_or_raise_anything_but_that_it_is_cut_short(
    noise: bytes, place: int, value: int
) -> None:
    list(elements.elements_in(noise))
    bent = bytearray(element(b"\xc0\0\2\1", "synguard ban a until never", 3))
    bent[min(place, len(bent) - 1)] = value
    list(elements.elements_in(bytes(bent)))
    with suppress(OSError):
        list(netlink.messages(bytes(bent) + noise))
