"""A note of the operator's value of a sysctl, written before it is changed; it outlives the agent, not the boot.

It reads ``{"kernel": "0f2c…-… 4026531840", "before": 0, "since": "2026-03-01T12:00:00Z"}``. See
docs/decisions/0012-syn-cookies.md for why it is a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from synguard.clock import boot_id
from synguard.enforcer.sysctl import SYN_COOKIES, TCP_TIMESTAMPS
from synguard.errors import LedgerError
from synguard.policy.models import Config
from synguard.private import read_private, replace_private

NOTE_FILES: Final = {SYN_COOKIES: "syn-cookies.json", TCP_TIMESTAMPS: "tcp-timestamps.json"}
"""Sysctl → the file with its note: all that are ever changed."""
MOST_BYTES: Final = 64 * 1024
"""Far more than a note takes; a longer file is none."""

_NET_NAMESPACE: Final = Path("/proc/thread-self/ns/net")


class SysctlNote(BaseModel):
    """What a sysctl was before we changed it."""

    model_config = ConfigDict(frozen=True)

    kernel: str
    """Which boot and network namespace it speaks of; in any other it is void."""
    before: Annotated[int, Strict(), Field(ge=0, le=255)]
    made: Annotated[int, Strict(), Field(ge=1, le=2)] = 1
    """What we made of it."""
    since: datetime


def kernel_here() -> str:
    """Return what names this boot and this network namespace: a setting lives no longer than both."""
    try:
        return f"{boot_id()} {_NET_NAMESPACE.stat().st_ino}"
    except OSError:
        return "unknown"


def note_directories(config: Config) -> tuple[Path, ...]:
    """Return where the note may lie: beside the ledger or, where that disk is full, in memory with the locks."""
    return config.state_dir, config.runtime_dir


class SysctlNoteFile:
    """The note of one sysctl on disk, in the first of some directories that takes it; without any, nothing is kept."""

    def __init__(
        self, directories: Sequence[Path], setting: str = SYN_COOKIES, kernel: Callable[[], str] = kernel_here
    ) -> None:
        self.setting: Final = setting
        self._paths = tuple(directory / NOTE_FILES[setting] for directory in directories)
        self._kernel = kernel

    def read(self) -> SysctlNote | None:
        """Return the note of this boot and namespace; None where there is none, or none that can be read."""
        kernel = self._kernel()
        for path in self._paths:
            try:
                note = SysctlNote.model_validate_json(read_private(path, MOST_BYTES))
            except (OSError, UnicodeDecodeError, ValidationError):
                continue
            if note.kernel == kernel:
                return note
        return None

    def write(self, before: int, since: datetime, made: int = 1) -> SysctlNote:
        """Keep what the value was and will be; a killed process leaves it on disk once this has returned.

        Not ``fsync``: what would lose the page cache loses the kernel's setting too, and voids the note.

        Raises:
            LedgerError: No directory takes it.
        """
        note = SysctlNote(kernel=self._kernel(), before=before, since=since, made=made)
        refusals = []
        for path in self._paths:
            try:
                replace_private(path, note.model_dump_json())
            except OSError as error:
                refusals.append(f"{path}: {error.strerror}")
            else:
                return note
        if refusals:
            raise LedgerError(f"the old value cannot be noted: {'; '.join(refusals)}")
        return note

    def remove(self) -> None:
        """Forget it.

        Raises:
            LedgerError: It could not be removed.
        """
        for path in self._paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise LedgerError(f"{path} cannot be removed: {error.strerror}; remove it by hand") from error
