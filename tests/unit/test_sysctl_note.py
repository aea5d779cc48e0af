"""The note of the operator's value, which outlives the agent but not the boot."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synguard.enforcer.sysctl import SYN_COOKIES
from synguard.enforcer.sysctl_note import NOTE_FILES, SysctlNoteFile, kernel_here
from synguard.errors import LedgerError

SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)


def notes(*directories: Path, kernel: str = "boot 1") -> SysctlNoteFile:
    return SysctlNoteFile(directories, kernel=lambda: kernel)


def test_another_process_reads_what_was_noted_until_it_is_removed(tmp_path: Path) -> None:
    notes(tmp_path).write(0, SINCE)
    found = notes(tmp_path).read()
    assert found is not None
    assert (found.before, found.since) == (0, SINCE)
    notes(tmp_path).remove()
    notes(tmp_path).remove()
    assert notes(tmp_path).read() is None
    assert list(tmp_path.iterdir()) == []


def test_after_a_reboot_or_in_another_namespace_it_is_void_and_left_for_whom_it_concerns(tmp_path: Path) -> None:
    notes(tmp_path).write(0, SINCE)
    assert notes(tmp_path, kernel="boot 2").read() is None
    assert notes(tmp_path).read() is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kernel": "boot 1", "before": "0", "since": "2026-03-01"}', "\xff"])
def test_a_note_that_cannot_be_read_puts_nothing_back(tmp_path: Path, text: str) -> None:
    (tmp_path / NOTE_FILES[SYN_COOKIES]).write_bytes(text.encode("latin-1"))
    assert notes(tmp_path).read() is None


def refusing(monkeypatch: pytest.MonkeyPatch, *full: Path) -> None:
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if self.parent in full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)


def test_a_full_disk_has_it_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, memory = tmp_path / "state", tmp_path / "run"
    disk.mkdir()
    memory.mkdir()
    refusing(monkeypatch, disk)
    notes(disk, memory).write(0, SINCE)
    assert notes(disk, memory).read() is not None
    assert list(disk.iterdir()) == []
    notes(disk, memory).remove()
    assert list(memory.iterdir()) == []


def test_where_nothing_takes_it_the_error_names_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, tmp_path)
    with pytest.raises(LedgerError, match=r"the old value cannot be noted: .*syn-cookies\.json: No space left"):
        notes(tmp_path).write(0, SINCE)
    assert list(tmp_path.iterdir()) == []


def test_it_names_this_boot_and_this_network_namespace() -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert kernel_here() == f"{boot} {Path('/proc/self/ns/net').stat().st_ino}"
