"""What the kernel lets this process do."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from synguard.errors import NotPermittedError

_BITS: Final = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
"""Source: linux/capability.h. Legacy xtables needs a raw socket as well as the right to change tables."""


def missing_capabilities() -> tuple[str, ...]:
    """Return the capabilities that changing firewall rules needs and this process lacks."""
    for line in Path("/proc/thread-self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            return tuple(name for name, bit in _BITS.items() if not effective >> bit & 1)
    return tuple(_BITS)


def require_capabilities(*needed: str) -> None:
    """Return if firewall rules can be changed; all capabilities are needed unless some are named.

    Raises:
        NotPermittedError: A capability is missing; it is named.
    """
    missing = [name for name in missing_capabilities() if not needed or name in needed]
    if missing:
        raise NotPermittedError(f"Changing firewall rules needs {' and '.join(missing)}: run as root, or grant it.")
