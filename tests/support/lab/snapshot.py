"""What the machine's own firewall and sysctls hold, so that tests can prove they touched neither."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_COMMANDS: Final = (
    ("nft", "-s", "list", "ruleset"),
    ("iptables-legacy-save",),
    ("ip6tables-legacy-save",),
    ("ipset", "save"),
)
"""Without ``-t`` the legacy tools list only the tables that exist already, so that asking creates none."""

_LIVE: Final = re.compile(r"^#.*\n|\[\d+:\d+\]| (timeout|packets|bytes) \d+", re.MULTILINE)
"""Dates, counters and remaining timeouts: they move by themselves."""

_SYSCTLS: Final = Path("/proc/sys/net")
_OF_A_MODULE: Final = re.compile(r"net/(?!.*/(conf|neigh)/(?!ifb[01]/))")
_MOVING: Final = frozenset({"nf_conntrack_count"})


def machine_snapshot() -> dict[str, str]:
    """Return what each tool prints and what each sysctl under ``net.`` is: name → text, in this process's namespace."""
    return {**firewall_snapshot(()), **_sysctls()}


def firewall_snapshot(inside: tuple[str, ...]) -> dict[str, str]:
    """Return tool → its full listing without counters; ``inside`` is put before each command (``ip netns exec …``)."""
    listings = {}
    for command in _COMMANDS:
        if shutil.which(command[0]) is None:
            continue
        done = subprocess.run((*inside, *command), capture_output=True, text=True, timeout=30, check=True)
        listings[" ".join(command)] = _LIVE.sub("", done.stdout)
    return listings


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return one text per name that was added, removed or changed, but for sysctls that came with a kernel module.

    The first test that needs a module has the kernel load it, ``ifb`` with two interfaces.
    """
    return [
        f"{name}: {before.get(name, '(absent)')!r} became {after.get(name, '(absent)')!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and (name in before or not _OF_A_MODULE.match(name))
    ]


def _sysctls() -> dict[str, str]:
    values = {}
    for path in _SYSCTLS.rglob("*"):
        if path.name in _MOVING or not path.is_file():
            continue
        try:
            values[str(path.relative_to("/proc/sys"))] = path.read_text()
        except (OSError, UnicodeDecodeError):
            continue  # write-only ones, like ipv4/route/flush
    return values
