"""ddos-deflate: ``ddos.conf``, ``ignore.ip.list``, ``ignore.host.list``; or their directory.

Samples: ``NO_OF_CONNECTIONS=150``, ``BAN_PERIOD=600``, ``PORT_CONNECTIONS="80:150:600 443:150:600"``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from synguard.errors import UsageError
from synguard.operator.importing.plan import ImportPlan, Limit, lines_of, settings_of

FILES: Final = ("ddos.conf", "ignore.ip.list", "ignore.host.list")


def read(path: Path, plan: ImportPlan, _now: float) -> None:
    """Fill the plan from one of the files.

    Raises:
        UsageError: It is none of them, or cannot be read.
        NotPermittedError: This user may not read it.
    """
    if path.name.endswith("host.list"):
        for where, line in lines_of(path):
            plan.leave(where, line, "a host name: name its addresses with synguard allow add")
    elif path.name.endswith("list"):
        for where, line in lines_of(path):
            word, _, comment = line.partition("#")
            plan.allow_word(where, word.strip(), comment)
    else:
        _settings(path, plan)


def _settings(path: Path, plan: ImportPlan) -> None:
    found = settings_of(lines_of(path))
    if "NO_OF_CONNECTIONS" not in found:
        raise UsageError(f"{path} is no ddos.conf: it has no NO_OF_CONNECTIONS")
    where, most = found["NO_OF_CONNECTIONS"]
    period = found.get("BAN_PERIOD", ("", "0"))[1]
    for triple in found.get("PORT_CONNECTIONS", ("", ""))[1].split():
        port, _, rest = triple.partition(":")
        limit, _, seconds = rest.partition(":")
        if limit.isdecimal() and int(limit):
            first_s = float(seconds) if seconds.isdecimal() else None
            there = found["PORT_CONNECTIONS"][0]
            plan.limit(Limit(port, int(limit), f"{there}: {triple}", first_s or None))
        else:
            plan.leave(found["PORT_CONNECTIONS"][0], triple, "it is no PORT:LIMIT:SECONDS")
    if most.isdecimal() and int(most):
        first_s = float(period) if period.isdecimal() else None
        plan.limit(Limit("any", int(most), f"{where}: NO_OF_CONNECTIONS = {most}", first_s or None))
    else:
        plan.leave(where, most, "it is no number of connections")
