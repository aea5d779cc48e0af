"""That a person stopped synguard on this host: it stands, also over restarts, until a person ends it.

It lies in the state directory and only verbs write it; the agent reads. Sample::

    {"since": "2026-03-01T12:00:00Z", "by": {"ssh": "192.0.2.7 50022 192.0.2.1 22"}}
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from synguard.errors import LedgerError, NotPermittedError, RefusedError
from synguard.operator.enablement import MOST_BYTES, Login, OrderFile
from synguard.private import open_private, read_private

FILE: Final = "panic.json"
"""Its name in the state directory."""
OVER: Final = "synguard panic --over"
"""What ends it."""


class Panic(BaseModel):
    """One order to stop."""

    model_config = ConfigDict(frozen=True)

    since: datetime | None = None
    """None where the file is there and cannot be read: it stands all the same."""
    by: Login = Login()

    @property
    def story(self) -> str:
        """One line for people."""
        when = f"{self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else "an unknown time"
        who = f" from {self.by.ssh.split()[0]}" if self.by.ssh else ""
        return f"enforcement stopped by synguard panic since {when}{who}, whatever the config says; end it: {OVER}"


class PanicFile(OrderFile):
    """What ``synguard panic`` ordered, in a state directory."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir / FILE)

    def write(self, order: BaseModel) -> None:
        """Keep the order; where the disk has no room for its text, an empty file, which is an order too.

        Raises:
            LedgerDeniedError: This user may not.
            LedgerError: The disk does not take even that.
        """
        try:
            super().write(order)
        except LedgerError as error:
            try:
                os.close(open_private(self.path, os.O_WRONLY | os.O_CREAT))
            except OSError:
                raise error from None

    def read(self) -> Panic | None:
        """Return the order, or None where there is none; what cannot be read is an order of unknown time.

        Raises:
            NotPermittedError: This user may not look into the directory.
        """
        try:
            return Panic.model_validate_json(read_private(self.path, MOST_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            self._ensure_seen()
            return Panic()
        except (OSError, UnicodeDecodeError, ValidationError):
            return Panic()

    def _ensure_seen(self) -> None:
        """Return if the file is there, whoever may read it.

        Raises:
            NotPermittedError: This user may not look into the directory.
        """
        try:
            self.path.lstat()
        except PermissionError as error:
            raise NotPermittedError(f"{self.path.parent} may not be read by this user: run as root") from error


def refuse_in_panic(state_dir: Path) -> None:
    """Return if no order to stop stands.

    Raises:
        RefusedError: One does.
    """
    order = PanicFile(state_dir).read()
    if order is not None:
        raise RefusedError(f"{order.story}; nothing was changed")
