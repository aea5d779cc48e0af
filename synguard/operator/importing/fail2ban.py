"""fail2ban: ``jail.local`` or ``jail.conf`` (whom it ignores, how long it bans), and its database (who is banned).

Samples: ``ignoreip = 127.0.0.1/8 ::1 203.0.113.0/24``; table ``bips(ip, jail, timeofban, bantime, …)``.
"""

from __future__ import annotations

import configparser
import sqlite3
from pathlib import Path
from typing import Final

from synguard.errors import UsageError
from synguard.operator.importing.plan import ImportPlan
from synguard.operator.lists import text_of

_SQLITE: Final = b"SQLite format 3\0"
MOST_BANS: Final = 200_000


def read(path: Path, plan: ImportPlan, now: float) -> None:
    """Fill the plan from a jail file or the database; ``now`` is Unix time.

    Raises:
        UsageError: It is neither, or cannot be read.
        NotPermittedError: This user may not read it.
    """
    try:
        with path.open("rb") as file:
            database = file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        database = False  # text_of says why
    if database:
        _bans(path, plan, now)
    else:
        _jails(path, plan)


def _jails(path: Path, plan: ImportPlan) -> None:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, inline_comment_prefixes=(" #", " ;"))
    try:
        parser.read_string(text_of(path), str(path))
    except configparser.Error as error:
        raise UsageError(f"{path} is no jail file: {str(error).splitlines()[0]}") from error
    for section in ("DEFAULT", *parser.sections()):
        own = parser.defaults() if section == "DEFAULT" else dict(parser.items(section))
        inherited = {} if section == "DEFAULT" else parser.defaults()
        for key, value in own.items():
            where = f"{path}: [{section}] {key}"
            if key in inherited and inherited[key] == value:
                continue
            if key == "ignoreip":
                for word in (value or "").replace(",", " ").split():
                    plan.allow_word(where, word, f"fail2ban {section}")
            elif key == "ignorecommand" and value:
                plan.leave(where, value, "a command cannot be asked: name the addresses with synguard allow add")
        if section != "DEFAULT" and parser.get(section, "enabled", fallback="").lower() in ("true", "yes", "1", "on"):
            plan.leave(f"{path}: [{section}]", "jail", "it reads logs: keep fail2ban for it, both may run side by side")


def _bans(path: Path, plan: ImportPlan, now: float) -> None:
    try:
        with sqlite3.connect(f"file:{path.absolute().as_posix()}?mode=ro", uri=True) as database:
            query = "SELECT ip, jail, timeofban, bantime FROM bips ORDER BY timeofban DESC LIMIT ?"
            rows = database.execute(query, (MOST_BANS,)).fetchall()
    except sqlite3.Error as error:
        raise UsageError(f"{path} is no database of fail2ban that can be read: {error}") from error
    for ip, jail, began, lasts in rows:
        where = f"{path}: {jail}"
        try:
            left = None if float(lasts) < 0 else float(began) + float(lasts) - now
        except (TypeError, ValueError):
            plan.leave(where, str(ip), "its times are no numbers")
            continue
        if left is not None and left < 1:
            plan.leave(where, str(ip), "it has ended")
        else:
            plan.ban_word(where, str(ip), f"fail2ban {jail}", left)
