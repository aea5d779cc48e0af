"""What the doctor finds: each with its weight, its reason and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from synguard.jsonable import fields_of, jsonable
from synguard.output.tables import Column, print_table
from synguard.plain import listed, printable
from synguard.readings import Listener

T = TypeVar("T")


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    """synguard cannot do its work as it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    level: Level
    reason: str
    fix: str = ""
    """A command, or what to change where; empty where nothing is to be done."""


_GRAVITY: Final = {Level.BAD: 0, Level.WARN: 1, Level.OK: 2}
_LISTENERS: Final = (
    Column("ADDRESS"),
    Column("PORT", "right"),
    Column("EXPOSED"),
    Column("BACKLOG", "right"),
    Column("WAITING", "right", spare=1),
    Column("PROCESS", fold=True),
)


def is_exposed(listener: Listener) -> bool:
    """Return whether others than this host itself can reach the listener, firewalls left aside."""
    return not listener.address.is_loopback


def findings_shape(findings: Sequence[Finding], listeners: Sequence[Listener]) -> dict[str, Any]:
    """Return findings and listeners as JSON."""
    return {
        "healthy": all(one.level is not Level.BAD for one in findings),
        "findings": jsonable(findings),
        "listeners": [
            fields_of(one, "address port process backlog accept_queue") | {"exposed": is_exposed(one)}
            for one in listeners
        ],
    }


MOST: Final = 50
"""Lines of one kind that are printed, listeners or what is said of each; the rest is a number, and JSON has all."""
PORTS_NAMED: Final = 20


def ports_text(ports: Iterable[int]) -> str:
    """Return ports in ascending order, of many the first and how many more."""
    return listed([*map(str, sorted(set(ports)))], PORTS_NAMED)


def print_findings(findings: Sequence[Finding], listeners: Sequence[Listener]) -> None:
    """Print the worst first, each with its fix, then who listens."""
    for one in sorted(findings, key=lambda one: _GRAVITY[one.level]):
        print(f"{one.level:<4}  {printable(one.name)}: {printable(one.reason)}")
        if one.fix:
            print(f"      fix: {printable(one.fix)}")
    print_listeners(_LISTENERS, listeners, _row)


def print_listeners(columns: Sequence[Column], listeners: Sequence[T], cells: Callable[[T], list[str]]) -> None:
    """Print one listener a row, of many the first and how many more; nothing where there is none."""
    if listeners:
        print()
        print_table(columns, [cells(one) for one in listeners[:MOST]])
    if len(listeners) > MOST:
        print(f"… and {len(listeners) - MOST:,} more listeners: synguard doctor --json")


def _row(one: Listener) -> list[str]:
    exposed = "yes" if is_exposed(one) else "no"
    return [str(one.address), str(one.port), exposed, str(one.backlog), str(one.accept_queue), one.process or "-"]
