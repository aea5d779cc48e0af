"""What is recorded is read back; what no recorder wrote is one sentence."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.errors import UsageError
from synguard.policy.models import Config, Limits, Pack, Policy
from synguard.readings import Protected, Readings
from synguard.recording.columns import DamagedError, pack
from synguard.recording.decoder import Decoder, validated
from synguard.recording.encoder import Encoder
from synguard.recording.frames import FIRST, FrameReader, FrameWriter
from synguard.recording.heads import FileHead, TickHead, file_head
from synguard.recording.reader import Recording
from synguard.recording.shape import Moment, columns_written
from synguard.replay.player import Player
from synguard.replay.replay_result import ReplayResult
from synguard.replay.suggestion import margin_for, suggest
from synguard.replay.traffic_profile import TrafficProfile
from tests.support.readings import readings, same, ticks
from tests.support.recordings import START, recorded

POLICY = Policy(
    name="strict",
    limits=Limits(half_open=1, syn_rate=1, connections=1, connection_rate=1),
    prefix_limits=Limits(half_open=2, syn_rate=2, connections=2, connection_rate=2),
)
Ticks = list[tuple[Readings, Protected]]


def head() -> FileHead:
    return file_head("0.1.0", "dry-run", START, 0.0, columns_written())


@contextmanager
def file_of(data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x.rec"
        path.write_bytes(data)
        yield path


def replayed(data: bytes) -> tuple[list[Moment], bool]:
    with file_of(data) as path, Recording(path) as recording:
        return list(recording.moments()), recording.cut_short


def replayed_or_told(data: bytes) -> list[Moment]:
    """Return what a file holds; nothing, if it is refused in one sentence."""
    try:
        return replayed(data)[0]
    except UsageError as error:
        told = str(error)
    assert "\n" not in told
    assert told
    return []


@settings(max_examples=30)
@given(ticks())
def test_what_was_recorded_is_read_back(told: Ticks) -> None:
    moments, cut_short = replayed(recorded(told))
    assert not cut_short
    assert len(moments) == len(told)
    for moment, (seen, protected) in zip(moments, told, strict=True):
        assert same(moment.readings, seen)
        assert moment.protected == protected
        assert moment.utc == START + timedelta(seconds=seen.at)
        assert moment.lost == 0


@settings(max_examples=30)
@given(ticks(), st.data())
def test_a_recording_cut_anywhere_reads_fine_up_to_the_cut(told: Ticks, data: st.DataObject) -> None:
    whole = recorded(told)
    start = len(recorded([]))
    cut = data.draw(st.integers(start, len(whole)))
    moments, cut_short = replayed(whole[:cut])
    assert all(same(moment.readings, seen) for moment, (seen, _) in zip(moments, told, strict=False))
    ends = [len(recorded(told[:count])) for count in range(len(told) + 1)]
    assert len(moments) == sum(end <= cut for end in ends) - 1
    assert cut_short == (cut not in ends)


@settings(max_examples=30)
@given(ticks(), st.data())
def test_a_changed_byte_is_one_sentence_or_changes_nothing(told: Ticks, data: st.DataObject) -> None:
    whole = bytearray(recorded(told))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    moments = replayed_or_told(bytes(whole))  # a length that points beyond the end looks like a cut
    assert all(same(moment.readings, seen) for moment, (seen, _) in zip(moments, told, strict=False))


@settings(max_examples=30)
@given(st.binary(max_size=200))
def test_any_file_is_a_recording_or_one_sentence(data: bytes) -> None:
    for start in (b"", FIRST, recorded([])):
        replayed_or_told(start + data)


HEADS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*TickHead.model_fields, "new", "rows", "plain", "values", "networks", "problems", "one_in"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(st.lists(st.tuples(HEADS | st.fixed_dictionaries({"at": st.floats()}), st.binary(max_size=60)), max_size=3))
def test_content_with_a_right_checksum_is_a_tick_or_damaged(told: list[tuple[object, bytes]]) -> None:
    import json

    decoder = Decoder(head())
    for line, rows in told:
        try:
            decoder.read(json.dumps(line).encode() + b"\n" + rows)
        except DamagedError:
            return


@settings(max_examples=30)
@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_any_head_of_a_file_is_a_head_or_damaged(line: bytes) -> None:
    with pytest.raises(DamagedError):
        Decoder(validated(FileHead, line))


@settings(max_examples=30)
@given(st.binary(max_size=100))
def test_any_bytes_are_frames_or_damaged(data: bytes) -> None:
    frames = FrameReader(io.BytesIO(data))
    try:
        while frames.frame() is not None:
            pass
    except DamagedError:
        pass
    assert frames.offset <= len(data)


@settings(max_examples=30)
@given(readings(1.0))
def test_a_tick_that_says_what_the_last_one_said_costs_less_than_a_packet(seen: Readings) -> None:
    frames, encoder, protected = FrameWriter(), Encoder(), Protected({})
    frames.frame(encoder.write(seen, protected))
    frames.frame(encoder.write(seen, protected))
    assert len(frames.frame(encoder.write(seen, protected))) < 600


def columns_of(kinds: dict[str, str], rows: int, value: int) -> dict[str, np.ndarray[tuple[int], np.dtype[np.uint64]]]:
    return {name: np.full(rows, value, np.uint64) for name in kinds}


def test_columns_of_other_releases_are_zeros_or_passed_over() -> None:
    """An older file lacks ``options``; a newer one has columns that this release has never heard of."""
    tables = columns_written()
    del tables["syns"]["options"]
    tables["syns"]["flags"] = "u2"
    tables["sockets"]["mark"] = "u4"
    other = file_head("9.9", "dry-run", START, 0.0, tables)
    line = b'{"at":1,"half_open":{"new":2},"syns":{"rows":3,"plain":{"at":1,"window_s":0.1,"one_in":1,"novel":5}}}\n'
    rows = pack(columns_of(tables["sockets"], 2, 0), tables["sockets"])
    moment = Decoder(other).read(line + rows + pack(columns_of(tables["syns"], 3, 7), tables["syns"]))
    assert moment.readings.half_open is not None
    assert len(moment.readings.half_open.table) == 2
    assert moment.readings.syns is not None
    assert moment.readings.syns.ttl.tolist() == [7, 7, 7]
    assert moment.readings.syns.options.tolist() == [0, 0, 0]


def test_a_port_mapping_under_its_older_name_is_read() -> None:
    moment = Decoder(head()).read(b'{"at":1,"doors":{"80":[8080]}}\n')
    assert moment.readings.port_mapping == {80: (8080,)}


@settings(max_examples=60)
@given(ticks())
def test_whatever_a_file_says_can_be_replayed_and_measured(told: Ticks) -> None:
    """A recording comes from somebody else's host, or from nobody's: odd numbers must not stop a replay."""
    player, story, survey = Player(Config(), [POLICY]), ReplayResult(), TrafficProfile([POLICY])
    for moment in replayed(recorded(told))[0]:
        story.add(player.play(moment), player.scores)
        survey.add(moment, calm=True)
    [suggestion] = suggest([POLICY], survey, margin_for(survey.calm_s), POLICY)
    assert Pack.model_validate({"policy": [suggestion.policy.model_dump(mode="json", exclude_none=True)]})
    assert story.ticks == len(told)
