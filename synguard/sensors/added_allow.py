"""Who was added to the allow-list by ``synguard allow``: an allow-list file of ours, in which an entry may end.

Samples: ``203.0.113.0/24  # until 2026-11-29T20:00:00Z; office``, ``192.0.2.7  # name vpn.example.net; my own``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from synguard.addresses import Network, format_network
from synguard.errors import ConfigError
from synguard.sensors.allow_list import read_allow_file

PART: Final = "added by synguard allow"
"""What the part of the protected list is called."""
HEAD: Final = "# Written by `synguard allow`; one address or prefix a line, # begins a comment.\n"

_SAID: Final = re.compile(r"(?:until (\S+?)(?:; |$))?(?:name (\S+?)(?:; |$))?(.*)")
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class AddedEntry:
    """One address or prefix that was added."""

    network: Network
    comment: str = ""
    until: datetime | None = None
    """Its end, aware; None where it stays."""
    name: str = ""
    """The host name that it was an address of when that was last looked up."""

    def stands(self, now: datetime) -> bool:
        """Return whether it protects its network at ``now``."""
        return self.until is None or self.until > now

    @property
    def line(self) -> str:
        """How it stands in the file."""
        end = f"until {self.until.astimezone(UTC):{_TIME}}" if self.until else ""
        comment = f"says {self.comment}" if self.comment.startswith(("until ", "name ")) else self.comment
        said = "; ".join(filter(None, (end, self.name and f"name {self.name}", comment)))
        return f"{format_network(self.network)}  # {said}\n" if said else f"{format_network(self.network)}\n"


def read_added(path: Path) -> tuple[AddedEntry, ...]:
    """Return every entry of the file, those past their end too; none where there is no file.

    Raises:
        ConfigError: It cannot be read, or has lines that cannot be used.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); fix that, or put an empty file in its place"
        ) from error
    return _entries(path, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


def added_networks(path: Path, now: datetime, known: Mapping[Network, str]) -> dict[Network, str]:
    """Return network → reason of the entries that stand at ``now``.

    Raises:
        ConfigError: As for ``read_added``; or the file is gone although it named networks (``known``): what removes the
            last entry leaves an empty file.
    """
    if known and not path.exists():
        raise ConfigError(f"{path}: is gone; restore it, or make an empty file of that name if no one is allowed now")
    return {
        one.network: ": ".join(filter(None, ("synguard allow", one.name, one.comment)))
        for one in read_added(path)
        if one.stands(now)
    }


@lru_cache(maxsize=4)
def _entries(path: Path, _signature: tuple[int, ...]) -> tuple[AddedEntry, ...]:
    entries: list[AddedEntry] = []
    faults: list[str] = []
    for one in read_allow_file(path):
        said = _SAID.match(one.reason)
        end, name, comment = said.groups() if said else (None, None, one.reason)
        try:
            until = datetime.strptime(end, _TIME).replace(tzinfo=UTC) if end else None
        except ValueError:
            faults.append(f"{path}:{one.line}: the end of the entry is no time like 2026-11-29T20:00:00Z")
            continue
        entries.append(AddedEntry(one.network, comment, until, name or ""))
    if faults:
        raise ConfigError(*faults)
    return tuple(entries)
