"""What stands before the rows of a frame: small JSON, checked when it is read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import (
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyAddress,
    IPvAnyNetwork,
    NonNegativeInt,
)

VERSION: Final = 1
MOST_ROWS: Final = 131_072
"""Rows recorded of one table or sample; what is beyond is counted, not recorded."""

Seconds = Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]
Rows = Annotated[int, Field(ge=0, le=MOST_ROWS)]
Count = Annotated[int, Field(ge=0, lt=2**64)]
Kind = Literal["u1", "u2", "u4", "u8"]
Port = Annotated[int, Field(ge=0, le=65535)]


class _Head(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FileHead(_Head):
    """The first frame: what the file is."""

    version: Literal[1] = 1
    synguard: str
    """Release that wrote it."""
    mode: str
    """``dry-run`` or ``enforce``: under the latter, what bans stopped is missing from the readings."""
    utc: AwareDatetime
    at: Seconds
    """Monotonic seconds at ``utc``."""
    tables: dict[str, dict[str, Kind]]
    """``sockets``, ``addresses``, ``syns`` → their columns in order."""


class TableHead(_Head):
    """One table: ``new`` rows after those kept of the last one of its kind."""

    new: Rows
    lost: NonNegativeInt = 0
    """Rows beyond ``MOST_ROWS``, which are not here."""
    at: Seconds | None = None
    """None where it is the tick's."""
    source: str = ""


class SynsHead(_Head):
    """One SYN sample."""

    rows: Rows
    lost: NonNegativeInt = 0
    plain: dict[str, Count | Seconds]
    """Fields that are no columns."""


class CountersHead(_Head):
    """Counters that changed since the last reading; None where one is gone."""

    values: dict[str, Count | None]
    at: Seconds | None = None


class ListenerHead(_Head):
    """One listener."""

    address: IPvAnyAddress
    port: Port
    backlog: Count
    accept_queue: Count
    process: str
    namespace: str = ""
    inner_port: Port = 0


class ProtectedHead(_Head):
    """Who may never be banned, from this tick on."""

    networks: dict[IPvAnyNetwork, str]
    problems: tuple[str, ...]
    never_cut_off: dict[IPvAnyNetwork, str] = {}


class TickHead(_Head):
    """One tick; what is None was not read, and listeners and protected parties not changed."""

    at: Seconds
    half_open: TableHead | None = None
    connections: TableHead | None = None
    ended: TableHead | None = None
    proven: TableHead | None = None
    syns: SynsHead | None = None
    counters: CountersHead | None = None
    namespaces: tuple[str, ...] = ()
    """Network namespaces first met in this tick; they are numbered from 1 on, in order of appearance. 0 is ours."""
    listeners: tuple[ListenerHead, ...] | None = None
    port_mapping: dict[Port, tuple[Port, ...]] | None = Field(
        None, validation_alias=AliasChoices("port_mapping", "doors")
    )
    """Called ``doors`` before November 2026."""
    protected: ProtectedHead | None = None
    failures: dict[str, str] = {}


def file_head(synguard: str, mode: str, utc: datetime, at: float, tables: dict[str, dict[str, str]]) -> FileHead:
    """Return the first frame's head."""
    return FileHead.model_validate({"synguard": synguard, "mode": mode, "utc": utc, "at": at, "tables": tables})
