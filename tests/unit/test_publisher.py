"""The status reaches its readers once a second, whatever becomes of its file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from synguard.model import Mode
from synguard.status import publisher as publishing
from synguard.status.conditions import Code, Conditions
from synguard.status.model import Status, read_status
from synguard.status.publisher import STATUS_EVERY_S, Publisher

MOMENT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def status(pid: int = 1) -> Status:
    return Status(
        mode=Mode.DRY_RUN, plane="dry-run", show_command="", healthy=True, pid=pid, started_at=MOMENT,
        last_reading_at=MOMENT, policies=("default",),
    )  # fmt: skip


def test_a_status_is_asked_for_only_when_one_is_due(tmp_path: Path) -> None:
    publisher, asked = Publisher(tmp_path), []

    def ask() -> Status:
        asked.append(1)
        return status(len(asked))

    for tick in range(41):
        publisher.publish(ask, tick * STATUS_EVERY_S / 20)
    assert len(asked) == 3
    found = read_status(tmp_path)
    assert found is not None
    assert found.pid == 3


def test_a_file_that_cannot_be_written_is_a_condition_until_it_can_and_readers_get_every_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk once wrote a line into the log each second, for as long as it was full."""
    publisher, told = Publisher(tmp_path), []
    board = Conditions(lambda: MOMENT)
    board.ask(Code.STATUS_FILE_FAILED, lambda: publisher.problem)
    publisher.readers.append(told.append)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "write_status", full)
        for second in range(5):
            publisher.publish(status, float(second))
            board.refresh()
    publisher.publish(status, 5.0)
    board.refresh()
    publisher.publish(status, 6.0)
    assert len(told) == 7
    lines = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert len(lines) == 2
    assert f"cannot be written in {tmp_path}: No space left on device" in lines[0]
    assert lines[1] == "the status file is written again"
