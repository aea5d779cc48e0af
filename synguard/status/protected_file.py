"""Who may never be banned, as the agent last knew it: kept in the state directory, read by verbs and the next agent.

A sample::

    {"parts": {"/etc/allow.txt": {"203.0.113.20/32": "allow-list /etc/allow.txt"}}, "problems": [], "gaps": []}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from synguard.addresses import Network, parse_network
from synguard.private import read_private, replace_private
from synguard.readings import Protected

PROTECTED_FILE: Final = "protected.json"
"""Its name in the state directory."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""A longer file is not written and not read: some 500,000 networks, more than any kernel set takes."""


class _Known(BaseModel):
    model_config = ConfigDict(frozen=True)

    parts: dict[str, dict[str, str]]
    problems: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    never_cut_off: dict[str, str] = {}


class ProtectedFile:
    """Writes the file; a part that has not changed is not made into text again, as a list may be long."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / PROTECTED_FILE
        self._texts: dict[str, tuple[Mapping[Network, str], str]] = {}

    def write(self, protected: Protected) -> None:
        """Replace the file at once.

        Raises:
            OSError: The disk or the directory does not take it; the file is as it was.
        """
        self._texts = {name: (part, self._text(name, part)) for name, part in protected.parts.items()}
        parts = ",".join(f"{json.dumps(name)}:{text}" for name, (_, text) in self._texts.items())
        rest = f'"problems":{json.dumps(protected.problems)},"gaps":{json.dumps(protected.gaps)}'
        containers = json.dumps({str(network): why for network, why in protected.never_cut_off.items()})
        text = f'{{"parts":{{{parts}}},{rest},"never_cut_off":{containers}}}'
        if len(text) > MOST_BYTES:
            raise OSError(0, f"the lists are larger than {MOST_BYTES >> 20} MiB together")
        replace_private(self._path, text, alone=True, shared=True)

    def _text(self, name: str, part: Mapping[Network, str]) -> str:
        before = self._texts.get(name)
        if before is not None and before[0] is part:
            return before[1]
        return json.dumps({str(network): why for network, why in part.items()})


def read_protected_file(state_dir: Path) -> Protected | None:
    """Return what the agent last wrote; None where there is no such file, or where this user may not read it."""
    try:
        known = _Known.model_validate_json(read_private(state_dir / PROTECTED_FILE, MOST_BYTES, shared=True))
        parts = {name: _networks(part) for name, part in known.parts.items()}
        never_cut_off = _networks(known.never_cut_off)
    except (OSError, ValueError, ValidationError):
        return None
    networks: dict[Network, str] = {}
    for part in parts.values():
        networks.update(part)
    return Protected(networks, known.problems, known.gaps, never_cut_off, parts)


def _networks(texts: Mapping[str, str]) -> dict[Network, str]:
    return {parse_network(network): why for network, why in texts.items()}
