"""The recorder: never in a tick's way, and every end of it is told."""

from __future__ import annotations

import errno
import logging
import os
import random
import re
import stat
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Event

import pytest

from synguard.errors import RefusedError, SynguardError, UsageError
from synguard.readings import CounterReading, Listener, Protected, Readings
from synguard.recording import recorder as module
from synguard.recording.heads import MOST_ROWS, ListenerHead, ProtectedHead, TickHead
from synguard.recording.reader import Recording
from synguard.recording.recorder import Recorder
from synguard.recording.shape import is_recorded
from synguard.sensors.counters import read_counters
from tests.support.traffic import listener, sockets, syns, table

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOBODY = Protected({})
LIMIT = 1 << 20


def tick(at: float, rows: int = 50) -> Readings:
    """A tick of a flood: other sources every time."""
    chance = random.Random(at)
    return Readings(
        at=at,
        half_open=sockets(at, table({str(ip_address(chance.getrandbits(32))): 1 for _ in range(rows)})),
        listeners=(listener(),),
        counters=CounterReading(at, {"SyncookiesSent": int(at * 1000)}),
    )


def tell(recorder: Recorder, count: int, rows: int = 50) -> None:
    for number in range(count):
        at = 1.0 + number / 10
        recorder.record(START + timedelta(seconds=at), tick(at, rows), NOBODY)


def ticks_in(path: Path) -> int:
    with Recording(path) as recording:
        return sum(1 for _ in recording.moments())


def test_the_file_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    with Recorder(path, LIMIT, "dry-run") as recorder:
        tell(recorder, 3)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ticks_in(path) == 3


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    path.write_text("mine")
    with pytest.raises(RefusedError, match="add --force"):
        Recorder(path, LIMIT, "dry-run")
    assert path.read_text() == "mine"
    with Recorder(path, LIMIT, "dry-run", force=True) as recorder:
        tell(recorder, 2)
    assert ticks_in(path) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_forced_recording_replaces_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    """Run as root in a shared directory, following a link would overwrite any file of the host."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "x.rec").symlink_to(tmp_path / "victim")
    with Recorder(tmp_path / "x.rec", LIMIT, "dry-run", force=True) as recorder:
        tell(recorder, 1)
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_file_is_refused_even_if_forced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "x.rec")
    with pytest.raises(UsageError, match="no file that can be recorded to"):
        Recorder(tmp_path / "x.rec", LIMIT, "dry-run", force=True)


def test_a_missing_directory_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SynguardError, match="No such file or directory"):
        Recorder(tmp_path / "nowhere" / "x.rec", LIMIT, "dry-run")


def test_the_recording_ends_whole_at_its_limit_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.rec"
    with Recorder(path, 8192, "dry-run") as recorder:
        tell(recorder, 200)
    assert path.stat().st_size <= 8192
    assert 10 < ticks_in(path) < 200
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in told if "limit of 8 KiB (--record-limit)" in record.getMessage()]
    assert len(told) == 1


def test_a_full_disk_ends_the_recording_with_one_sentence_and_a_whole_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.rec"
    room = [6000]

    def write(fd: int, data: bytes) -> int:
        """Take what fits, as a disk does that runs full."""
        fits = min(len(data), room[0])
        if not fits:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room[0] -= fits
        return os.pwrite(fd, bytes(data[:fits]), os.lseek(fd, 0, os.SEEK_END))

    monkeypatch.setattr(module.os, "write", write)
    with Recorder(path, LIMIT, "dry-run") as recorder:
        tell(recorder, 100)
    monkeypatch.undo()
    with Recording(path) as recording:
        assert 5 < len(list(recording.moments())) < 100
        assert not recording.cut_short
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert "No space left on device" in told[0]
    assert "the agent goes on" in told[0]


def test_a_disk_that_hangs_never_holds_a_tick_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hangs = Event()
    real = os.write

    def write(fd: int, data: bytes) -> int:
        hangs.wait(20)
        return real(fd, data)

    monkeypatch.setattr(module.os, "write", write)
    with Recorder(tmp_path / "x.rec", LIMIT, "dry-run") as recorder:
        tell(recorder, module.PENDING_TICKS + 10)
        assert "cannot keep up" in recorder.ended
        hangs.set()
    assert sum("cannot keep up" in record.getMessage() for record in caplog.records) == 1


def test_ticks_that_wait_are_bounded_by_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING_ROWS", 40)
    with Recorder(tmp_path / "x.rec", LIMIT, "dry-run") as recorder:
        tell(recorder, 1, rows=50)
        assert "cannot keep up" in recorder.ended


def test_a_mistake_of_ours_ends_the_recording_and_not_the_agent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Recorder(tmp_path / "x.rec", LIMIT, "dry-run") as recorder:
        recorder.record(START, Readings(at=1.0, counters=CounterReading(1.0, {"ListenDrops": float("nan")})), NOBODY)
        tell(recorder, 2)
    assert [record for record in caplog.records if "could not be written down" in record.getMessage()]


def test_rows_beyond_the_bound_are_counted_and_not_recorded(tmp_path: Path) -> None:
    many = MOST_ROWS + 7
    crowd = table({"198.51.100.1": many})
    reading = Readings(at=1.0, half_open=sockets(1.0, crowd), syns=syns(1.0, {"198.51.100.1": many}, 0.1))
    with Recorder(tmp_path / "x.rec", 1 << 24, "dry-run") as recorder:
        recorder.record(START, reading, NOBODY)
    with Recording(tmp_path / "x.rec") as recording:
        [moment] = recording.moments()
    assert moment.lost == 14
    assert moment.readings.half_open is not None
    assert len(moment.readings.half_open.table) == MOST_ROWS


def test_an_agent_that_is_killed_leaves_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    with Recorder(path, LIMIT, "dry-run") as recorder:
        tell(recorder, 10)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with Recording(path) as recording:
        assert len(list(recording.moments())) == 9
        assert recording.cut_short


def test_every_counter_that_detection_reads_is_recorded() -> None:
    """A counter added to the detector and forgotten here would be 0 in every replay."""
    known = read_counters(0.0).values.keys()
    sources = [*Path("synguard/detector").glob("*.py"), *Path("synguard/decision").glob("*.py")]
    named = {word for path in sources for word in re.findall(r'"(\w+)"', path.read_text())} & known
    assert named >= {"SyncookiesSent", "TCPReqQFullDrop", "PassiveOpens", "ListenOverflows"}
    assert {name for name in named if not is_recorded(name)} == set()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is no recording of synguard"),
        (b"GIF89a..", "it is no recording of synguard"),
        (b"SYNGREC\x09more", "it is of version 9, and this release reads version 1"),
        (b"SYNGREC\x01", "it ends before its first tick"),
    ],
)
def test_what_is_no_recording_is_told_why(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UsageError, match=why):
        Recording(tmp_path / "x")


def test_damage_is_told_with_its_place_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    with Recorder(path, LIMIT, "dry-run") as recorder:
        tell(recorder, 10)
    data = bytearray(path.read_bytes())
    data[-5] ^= 0xFF
    path.write_bytes(data)
    with Recording(path) as recording, pytest.raises(UsageError, match=r"damaged at byte .*truncate -s"):
        list(recording.moments())
    with path.open("r+b") as file:
        file.truncate(recording.offset)
    assert ticks_in(path) == 9


def test_whatever_the_readings_hold_is_recorded() -> None:
    """A field added to the readings and forgotten here would be missing from every replay."""
    not_of_the_network = {"cpu"}
    assert {item.name for item in fields(Readings)} - not_of_the_network <= TickHead.model_fields.keys()
    assert {item.name for item in fields(Listener)} <= ListenerHead.model_fields.keys()
    not_decided_by = {"gaps", "parts", "embedding"}
    assert {item.name for item in fields(Protected)} - not_decided_by <= ProtectedHead.model_fields.keys()
