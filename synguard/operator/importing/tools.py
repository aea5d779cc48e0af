"""Which tools can be imported from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from synguard.operator.importing import csf, ddos_deflate, fail2ban, sets, ufw
from synguard.operator.importing.plan import ImportPlan, files_of

_FILES: Final[Mapping[str, tuple[str, ...]]] = {"csf": csf.FILES, "ddos-deflate": ddos_deflate.FILES, "ufw": ufw.FILES}
"""Tool → its files in a directory; of the others a file must be named."""
READERS: Final[Mapping[str, Callable[[Path, ImportPlan, float], None]]] = {
    "csf": csf.read,
    "fail2ban": fail2ban.read,
    "ddos-deflate": ddos_deflate.read,
    "ufw": ufw.read,
    "ipset": sets.read_ipset,
    "nft": sets.read_nft,
}
"""Tool → what fills a plan from its file; the last argument is Unix time."""


def read_tool(tool: str, path: Path, now: float) -> ImportPlan:
    """Return what a tool's file, or the directory that holds its files, says.

    Raises:
        UsageError: It is none of the tool's, or cannot be read.
        NotPermittedError: This user may not read it.
    """
    plan = ImportPlan()
    for one in files_of(path, _FILES[tool]) if tool in _FILES else [path]:
        READERS[tool](one, plan, now)
    return plan
