"""Which tools can be imported from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from synguard.operator.importing import csf, ddos_deflate, fail2ban, sets, ufw
from synguard.operator.importing.plan import ImportPlan

READERS: Final[Mapping[str, Callable[[Path, ImportPlan, float], None]]] = {
    "csf": csf.read,
    "fail2ban": fail2ban.read,
    "ddos-deflate": ddos_deflate.read,
    "ufw": ufw.read,
    "ipset": sets.read_ipset,
    "nft": sets.read_nft,
}
"""Tool → what fills a plan from its file; the last argument is Unix time."""
