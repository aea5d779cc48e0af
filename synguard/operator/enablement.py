"""What ``synguard enable`` ordered: enforcement beyond what the config says, for good or on trial.

It lies in the state directory and only verbs write it; the agent reads. Sample::

    {"boot": "0f2c…", "since": "2026-03-01T12:00:00Z", "since_s": 81.5, "by": {"ssh": "192.0.2.7 50022 …"},
     "until": "2026-03-01T12:05:00Z", "until_s": 380.2, "confirmed_at": null}
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from synguard.errors import LedgerError
from synguard.ledger.database import LedgerDeniedError
from synguard.private import read_private, replace_private

FILE: Final = "enforcing.json"
"""Its name in the state directory."""
MOST_BYTES: Final = 64 * 1024
"""Far more than an order takes; a longer file is none."""


class Login(BaseModel):
    """Where an order was typed."""

    model_config = ConfigDict(frozen=True)

    ssh: str = ""
    """``SSH_CONNECTION`` of its session; empty at the console."""
    started_s: float = 0.0
    """When that session began, seconds since boot."""


class Enablement(BaseModel):
    """One order to enforce."""

    model_config = ConfigDict(frozen=True)

    boot: str
    since: datetime
    since_s: float
    """The same, in seconds since boot."""
    by: Login = Login()
    until: datetime | None = None
    """When a trial ends, for people; None without one."""
    until_s: float | None = None
    """The same on ``CLOCK_MONOTONIC`` of that boot, which no one can set: this is what counts."""
    confirmed_at: datetime | None = None

    @property
    def on_trial(self) -> bool:
        """Whether it ends by itself unless it is confirmed."""
        return self.until_s is not None and self.confirmed_at is None

    def stands(self, boot: str, monotonic: float) -> bool:
        """Return whether it is in force; an unconfirmed trial outlives neither its end nor the boot."""
        if self.until_s is None or self.confirmed_at is not None:
            return True
        return boot == self.boot and monotonic < self.until_s

    def left(self, monotonic: float) -> float:
        """Return the seconds until the trial ends, never negative; infinite without one."""
        return max(self.until_s - monotonic, 0.0) if self.on_trial and self.until_s is not None else float("inf")


class OrderFile:
    """An order on disk: there is one, or none."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    def write(self, order: BaseModel) -> None:
        """Keep the order; it is on disk, whole, when this returns.

        Raises:
            LedgerDeniedError: This user may not.
            LedgerError: The disk does not take it; what was ordered before stands.
        """
        try:
            replace_private(self.path, order.model_dump_json(), sync=True)
        except PermissionError as error:
            raise LedgerDeniedError(f"{self.path} may not be written: run as root") from error
        except OSError as error:
            raise LedgerError(f"{self.path} cannot be written: {error.strerror}") from error

    def remove(self) -> bool:
        """Take the order back; return whether there was one.

        Raises:
            LedgerDeniedError: This user may not.
            LedgerError: The file cannot be removed.
        """
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except PermissionError as error:
            raise LedgerDeniedError(f"{self.path} may not be removed: run as root") from error
        except OSError as error:
            raise LedgerError(f"{self.path} cannot be removed: {error.strerror}; remove it by hand") from error
        return True


class EnablementFile(OrderFile):
    """What ``synguard enable`` ordered, in a state directory."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir / FILE)

    def stamp(self) -> tuple[int, int] | None:
        """Return what changes whenever the file does; None where there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def read(self) -> Enablement | None:
        """Return the order, or None where nothing was ordered.

        Raises:
            LedgerError: There is one that cannot be read.
        """
        try:
            return Enablement.model_validate_json(read_private(self.path, MOST_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            detail = error.strerror if isinstance(error, OSError) else "it is damaged"
            raise LedgerError(
                f"what synguard enable ordered cannot be read from {self.path} ({detail}): the config's mode holds; "
                "say synguard enable again, or synguard enable --off"
            ) from error
