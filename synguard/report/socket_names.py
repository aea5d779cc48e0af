"""Grouped sockets in the words of the command line: states as people spell them, groups as JSON has them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Final

from synguard.jsonable import fields_of
from synguard.report.group_by import By
from synguard.report.sockets import NO_PROCESS, Group, Groups
from synguard.socket_table import TcpState

_SPELLINGS: Final = {
    "ESTAB": TcpState.ESTABLISHED,
    "SYNRECEIVED": TcpState.SYN_RECV,
    "HALFOPEN": TcpState.SYN_RECV,
    "NEWSYNRECV": TcpState.SYN_RECV,
    "CLOSED": TcpState.CLOSE,
    "UNCONN": TcpState.CLOSE,
    "LISTENING": TcpState.LISTEN,
} | {state.name.replace("_", ""): state for state in TcpState}
"""States as ``netstat``, ``ss``, ``/proc`` and people spell them, in capitals and without ``-`` and ``_``."""


def state_named(word: str) -> TcpState:
    """Return the TCP state of any usual spelling: ``SYN_RECV``, ``syn-recv``, ``ESTAB``.

    Raises:
        ValueError: There is none; the text names the nearest.
    """
    plain = word.strip().upper().replace("-", "").replace("_", "").replace(" ", "")
    if plain in _SPELLINGS:
        return _SPELLINGS[plain]
    near = get_close_matches(plain, list(_SPELLINGS), n=1, cutoff=0.5)
    hint = f"did you mean {_SPELLINGS[near[0]].name}?" if near else f"write one of {', '.join(TcpState.__members__)}"
    raise ValueError(f'"{word[:40]}" is not a TCP state; {hint}')


def group_shape(group: Group, by: By | None = None) -> dict[str, Any]:
    """Return a group as JSON has it; its key stands under the name of the grouping: a port as a number, an unknown
    process as an empty text.
    """
    counts = fields_of(group, "sockets half_open established time_wait other udp sources")
    if by is None:
        return counts
    text = "" if group.key == NO_PROCESS else group.key
    key: dict[str, Any] = {by.value: int(text) if by is By.PORT else text}
    return key | counts | ({"process": group.process} if by is By.PORT else {})


def groups_shape(groups: Groups) -> dict[str, Any]:
    """Return a grouping as JSON has it."""
    return {
        "by": groups.by.value,
        "rows": [group_shape(row, groups.by) for row in groups.rows],
        "left_out": {"groups": groups.left_out, "sockets": groups.sockets_left_out},
        "totals": {"groups": groups.groups} | group_shape(groups.total),
    }
