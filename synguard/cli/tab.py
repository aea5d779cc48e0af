"""What Tab asks for after ``synguard unban``: the targets of active bans, without waiting for anything heavy.

Neither the parser nor config models nor the ledger are imported: they cost ten times what the question does.
"""

from __future__ import annotations

import os
import sqlite3
import time
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Final

MOST_TARGETS: Final = 200
"""More than that no one looks through; the newest are given."""

_TARGETS: Final = (
    "SELECT DISTINCT target FROM ban WHERE dry_run IN (0, 1) AND ended_at IS NULL "
    "AND (expires_at IS NULL OR expires_at > ?) ORDER BY seq DESC LIMIT ?"
)


def print_targets() -> None:
    """Print them, one a line."""
    print("".join(f"{one}\n" for one in standing_targets()), end="")


def standing_targets() -> list[str]:
    """Return the targets of bans that stand, newest first; none where they cannot be read: Tab tells no errors."""
    path = _state_directory() / "ledger.db"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.2)) as ledger:
            rows = ledger.execute(_TARGETS, (int(time.time() * 1e6), MOST_TARGETS)).fetchall()
    except (sqlite3.Error, ValueError):
        return []
    return [str(target) for (target,) in rows]


def _state_directory() -> Path:
    """Return the state directory that the config names, read without judging the rest of the file."""
    path = Path(os.environ.get("SYNGUARD_CONFIG") or "/etc/synguard/synguard.toml")
    try:
        named = tomllib.loads(path.read_text(encoding="utf-8")).get("state_dir")
    except (OSError, ValueError):
        named = None
    return path.parent / named if isinstance(named, str) else Path("/var/lib/synguard")
