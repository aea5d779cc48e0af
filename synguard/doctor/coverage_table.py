"""The coverage map: listener, namespace, chains, protected or not; for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from synguard.doctor.findings import print_listeners
from synguard.jsonable import fields_of
from synguard.output.tables import Column
from synguard.units import format_ports

OWN: Final = "raw/PREROUTING, filter/INPUT"
FORWARDED: Final = "raw/PREROUTING, filter/FORWARD"
PAST: Final = "none"


class Guard(StrEnum):
    """How far one listener is protected."""

    YES = "yes"
    SYNS = "SYN floods only"
    """Its sockets are not read; sampled SYNs show floods of them."""
    NO = "no"


@dataclass(frozen=True, slots=True)
class ListenerCoverage:
    """One listener, or a namespace whose listeners are not known."""

    address: str
    """Empty where the listeners are not known."""
    port: int
    """In its own namespace; 0 where not known."""
    published: tuple[int, ...]
    """Ports of this host that lead to it, as far as connections have shown them."""
    namespace: str
    """Empty for ours."""
    process: str
    chains: str
    guard: Guard


_COLUMNS: Final = (
    Column("LISTENER"),
    Column("PUBLISHED"),
    Column("NAMESPACE"),
    Column("CHAINS", spare=1),
    Column("PROTECTED"),
    Column("PROCESS", fold=True),
)


def coverage_shape(rows: Sequence[ListenerCoverage]) -> list[dict[str, Any]]:
    """Return the map as JSON; ``namespace`` is empty for the host's own."""
    return [
        fields_of(row, "address port published namespace process chains") | {"protected": row.guard.value}
        for row in rows
    ]


def print_coverage(rows: Sequence[ListenerCoverage]) -> None:
    """Print the map where there is anything on it."""
    print_listeners(_COLUMNS, rows, _cells)


def _cells(row: ListenerCoverage) -> list[str]:
    host = f"[{row.address}]" if ":" in row.address else row.address
    listener = f"{host}:{row.port}" if row.address else "not known"
    published = format_ports(row.published) if row.published else "-"
    return [listener, published, row.namespace or "this host", row.chains, row.guard.value, row.process or "-"]
