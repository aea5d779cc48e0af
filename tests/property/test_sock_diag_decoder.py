"""Whatever bytes come, the decoder gives a table or a sensor error."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from synguard.errors import SensorError
from synguard.sensors.inet_diag import Part, decode, ends_dump
from synguard.socket_table import SocketTable, TcpState
from tests.support.diag_messages import done, message, row, words

SEQUENCE = 0x5EC0_0001

padded = st.binary(max_size=400).map(lambda data: data + bytes(-len(data) % 4))
attributes = st.binary(max_size=44).map(lambda data: data + bytes(-len(data) % 4))
rows = st.builds(
    row,
    st.just(SEQUENCE),
    state=st.integers(0, 13),
    remote=st.one_of(st.ip_addresses(v=4).map(str)),
    remote_port=st.integers(0, 65535),
    queues=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    attributes=attributes,
)
messages = st.one_of(
    rows,
    st.builds(message, st.integers(0, 30), padded, st.sampled_from([SEQUENCE, 0]), st.integers(0, 0xFFFF)),
    st.builds(done, st.just(SEQUENCE), st.integers(-200, 200)),
    padded,
)


def check(part: Part) -> None:
    table = part.sockets.table
    lengths = {len(getattr(table, name)) for name in SocketTable.__slots__}
    assert lengths == {len(part.sockets)}
    assert all(state in TcpState.__members__.values() for state in table.state.tolist())


@given(st.lists(messages, max_size=8).map(b"".join))
def test_any_messages_give_a_table_or_a_sensor_error(data: bytes) -> None:
    ends_dump(words(data), SEQUENCE)
    try:
        part = decode(words(data), SEQUENCE)
    except SensorError:
        return
    check(part)


@given(st.lists(rows, min_size=1, max_size=8).map(b"".join), st.data())
def test_one_changed_word_gives_a_table_or_a_sensor_error(data: bytes, draw: st.DataObject) -> None:
    at = 4 * draw.draw(st.integers(0, len(data) // 4 - 1))
    word = struct.pack("=I", draw.draw(st.one_of(st.integers(0, 200), st.integers(0, 2**32 - 1), st.just(SEQUENCE))))
    try:
        part = decode(words(data[:at] + word + data[at + 4 :]), SEQUENCE)
    except SensorError:
        return
    check(part)


@given(st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 65535), attributes), max_size=30))
def test_whole_messages_give_every_row_in_order(sent: list[tuple[object, int, bytes]]) -> None:
    data = b"".join(
        row(SEQUENCE, remote=str(remote), remote_port=port, attributes=extra) for remote, port, extra in sent
    )
    part = decode(words(data + done(SEQUENCE)), SEQUENCE)
    assert part.done
    assert part.sockets.table.remote_port.tolist() == [port for _, port, _ in sent]
    assert part.sockets.table.remote_low.tolist() == [0xFFFF << 32 | int(remote) for remote, _, _ in sent]  # type: ignore[call-overload]
