import struct

import pytest

from synguard.readings import EVERY_PORT
from synguard.sensors.bpf import MAX_PORTS, Op, assemble, nothing, syns

RET = 0x06
JEQ = 0x15
JA = 0x05


def instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("=HBBI", program))


def test_labels_become_distances_from_the_next_instruction() -> None:
    program = assemble([Op(JEQ, 6, then="yes", otherwise="no"), Op(JA, then="no"), "yes", Op(RET, 1), "no", Op(RET)])
    assert instructions(program) == [(JEQ, 1, 2, 6), (JA, 0, 0, 1), (RET, 0, 0, 1), (RET, 0, 0, 0)]


def test_every_port_is_no_comparison() -> None:
    assert syns(4, 1, EVERY_PORT) == syns(4, 1, None)


@pytest.mark.parametrize(
    "lines",
    [
        [Op(JEQ, 6, then="nowhere"), Op(RET)],
        ["back", Op(JEQ, 6, then="back"), Op(RET)],
        [Op(JEQ, 6, then="far"), *[Op(RET)] * 256, "far", Op(RET)],
    ],
)
def test_a_jump_that_cannot_be_made_is_refused(lines: list[Op | str]) -> None:
    with pytest.raises(ValueError, match="cannot jump"):
        assemble(lines)


@pytest.mark.parametrize("version", [4, 6])
def test_a_program_of_the_most_ports_can_be_assembled_and_more_are_left_to_numpy(version: int) -> None:
    most = frozenset(range(1, MAX_PORTS + 1))
    assert len(syns(version, 1, most)) > len(syns(version, 1, frozenset({80})))
    assert syns(version, 1, most | {9999}) == syns(version, 1, None)


@pytest.mark.parametrize("one_in", [0, -2, 3, 12])
def test_one_in_is_a_power_of_two(one_in: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        syns(4, one_in, None)


def test_nothing_keeps_nothing() -> None:
    assert instructions(nothing()) == [(RET, 0, 0, 0)]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("one_in", [2, 16, 1 << 20])
def test_of_the_packets_that_are_not_drawn_none_is_looked_at(version: int, one_in: int) -> None:
    """Every SYN of a flood was taken apart, and most were let go at the end by chance."""
    load, random, mask = 0x20, 0xFFFF_F038, 0x54
    drawing = instructions(syns(version, one_in, frozenset({80})))[:4]
    assert drawing == [(load, 0, 0, random), (mask, 0, 0, one_in - 1), (JEQ, 1, 0, 0), (RET, 0, 0, 0)]
    assert instructions(syns(version, one_in, frozenset({80})))[4:] == instructions(syns(version, 1, frozenset({80})))
