"""The ledger's tables, and the steps that bring an older file up to date.

Times are UTC microseconds since 1970 as integers. Targets stand twice: as text for people with ``sqlite3``, and
as first and last address (4 or 16 bytes, big-endian, so that bytes sort as addresses do) for overlap questions.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x53594E47
"""``SYNG`` in the file header: how a fresh process knows the file is ours."""

_ACTIONS: Final = " CHECK (action IN ('drop', 'reject'))"
_ORIGINS: Final = " CHECK (origin IN ('auto', 'manual'))"
_LAST: Final = "\n    )\n    "
_BAN: Final = """
    CREATE TABLE ban (
        seq           INTEGER PRIMARY KEY,
        id            TEXT NOT NULL UNIQUE,
        target        TEXT NOT NULL,
        version       INTEGER NOT NULL CHECK (version IN (4, 6)),
        prefixlen     INTEGER NOT NULL,
        first_address BLOB NOT NULL,
        last_address  BLOB NOT NULL,
        scope         TEXT NOT NULL CHECK (scope IN ('new', 'all')),
        action        TEXT NOT NULL CHECK (action IN ('drop', 'reject')),
        origin        TEXT NOT NULL CHECK (origin IN ('auto', 'manual')),
        policy        TEXT NOT NULL,
        reason        TEXT NOT NULL,
        created_at    INTEGER NOT NULL,
        expires_at    INTEGER CHECK (expires_at IS NOT NULL OR origin = 'manual'),
        ports         TEXT NOT NULL CHECK (ports = '' OR scope = 'new'),
        score         REAL NOT NULL,
        times         INTEGER NOT NULL,
        evidence      TEXT NOT NULL,
        dry_run       INTEGER NOT NULL CHECK (dry_run IN (0, 1)),
        forced        INTEGER NOT NULL CHECK (forced IN (0, 1)),
        ended_at      INTEGER,
        ended_why     TEXT NOT NULL DEFAULT '',
        packets       INTEGER NOT NULL DEFAULT 0,
        bytes         INTEGER NOT NULL DEFAULT 0,
        last_hit_at   INTEGER,
        kernel_packets INTEGER NOT NULL DEFAULT 0,
        kernel_bytes   INTEGER NOT NULL DEFAULT 0
    )
    """

_V1: Final = (
    _BAN,
    # Expired bans are not marked as ended: a clock that jumps ahead and back must not end them for good.
    "CREATE UNIQUE INDEX ban_open ON ban (target, scope, ports, dry_run) WHERE ended_at IS NULL",
    "CREATE INDEX ban_standing ON ban (dry_run, expires_at) WHERE ended_at IS NULL",
    "CREATE INDEX ban_created ON ban (created_at)",
    "CREATE INDEX ban_first ON ban (version, first_address)",
    """
    CREATE TABLE verdict (
        seq           INTEGER PRIMARY KEY,
        incident      TEXT,
        period        TEXT NOT NULL,
        kind          TEXT NOT NULL,
        target        TEXT NOT NULL,
        policy        TEXT NOT NULL,
        others        INTEGER NOT NULL CHECK (others IN (0, 1)),
        version       INTEGER,
        prefixlen     INTEGER,
        first_address BLOB,
        last_address  BLOB,
        first_at      INTEGER NOT NULL,
        last_at       INTEGER NOT NULL,
        times         INTEGER NOT NULL,
        peak          REAL NOT NULL,
        reason        TEXT NOT NULL,
        evidence      TEXT NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX verdict_subject ON verdict (period, kind, others, target, policy)",
    "CREATE INDEX verdict_last ON verdict (last_at)",
    "CREATE INDEX verdict_first ON verdict (version, first_address)",
    """
    CREATE TABLE incident (
        seq              INTEGER PRIMARY KEY,
        id               TEXT NOT NULL UNIQUE,
        phase            TEXT NOT NULL,
        kind             TEXT NOT NULL,
        started_at       INTEGER NOT NULL,
        ended_at         INTEGER,
        peak_half_open   INTEGER NOT NULL,
        peak_syn_pps     REAL NOT NULL,
        peak_connections INTEGER NOT NULL,
        sources          INTEGER NOT NULL,
        bans             INTEGER NOT NULL,
        spared           INTEGER NOT NULL,
        note             TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE action (
        seq  INTEGER PRIMARY KEY,
        at   INTEGER NOT NULL,
        kind TEXT NOT NULL,
        text TEXT NOT NULL
    )
    """,
    "CREATE INDEX action_at ON action (at)",
)

_FIGURES: Final = (
    "half_open", "connections", "syns", "completed", "cookies_sent", "cookies_back", "dropped", "refused",
)  # fmt: skip
"""As they were named when the step was released."""

_V2: Final = (
    # Sums and seconds, not means: rows can be added up into longer ones, by SQL alone. Whole numbers take little room.
    """
    CREATE TABLE history (
        seq      INTEGER PRIMARY KEY,
        grain    INTEGER NOT NULL,
        at       INTEGER NOT NULL,
        until    INTEGER NOT NULL,
        watched  REAL NOT NULL,
        censored REAL NOT NULL,
        fill     REAL NOT NULL,
    """
    + ",".join(f"{name}_s REAL, {name}_total REAL, {name}_least REAL, {name}_most REAL" for name in _FIGURES)
    + ")",
    "CREATE INDEX history_at ON history (at)",
    "CREATE INDEX history_grain ON history (grain, at)",
)

_V3: Final = (
    """
    CREATE TABLE touched (
        seq      INTEGER PRIMARY KEY,
        ban      TEXT NOT NULL UNIQUE,
        clients  INTEGER NOT NULL,
        examples TEXT NOT NULL,
        last_at  INTEGER NOT NULL
    )
    """,
    "CREATE INDEX touched_last ON touched (last_at)",
)

_V1_COLUMNS: Final = (
    "seq, id, target, version, prefixlen, first_address, last_address, scope, action, origin, policy, reason, "
    "created_at, expires_at, ports, score, times, evidence, dry_run, forced, ended_at, ended_why, packets, bytes, "
    "last_hit_at, kernel_packets, kernel_bytes"
)

_V4: Final = (
    # SQLite changes no constraint of a table that is there. Which actions and origins there are is the model's to know.
    "ALTER TABLE ban RENAME TO ban_before",
    *(f"DROP INDEX {name}" for name in ("ban_open", "ban_standing", "ban_created", "ban_first")),
    _BAN.removesuffix(_LAST).replace(_ACTIONS, "").replace(_ORIGINS, "")
    + """,
        header         TEXT NOT NULL DEFAULT '' CHECK (header = '' OR scope = 'new'),
        answered       INTEGER NOT NULL DEFAULT 0,
        passed         INTEGER NOT NULL DEFAULT 0,
        kernel_answered INTEGER NOT NULL DEFAULT 0,
        kernel_passed   INTEGER NOT NULL DEFAULT 0
    )
    """,
    f"INSERT INTO ban ({_V1_COLUMNS}) SELECT {_V1_COLUMNS} FROM ban_before",  # noqa: S608  # constants only
    "DROP TABLE ban_before",
    "CREATE UNIQUE INDEX ban_open ON ban (target, scope, ports, dry_run, header) WHERE ended_at IS NULL",
    "CREATE INDEX ban_standing ON ban (dry_run, expires_at) WHERE ended_at IS NULL",
    "CREATE INDEX ban_created ON ban (created_at)",
    "CREATE INDEX ban_first ON ban (version, first_address)",
)

_V5: Final = ("ALTER TABLE verdict ADD COLUMN cause TEXT NOT NULL DEFAULT ''",)

_V6: Final = (
    """
    CREATE TABLE arriving (
        seq        INTEGER PRIMARY KEY,
        origin     TEXT NOT NULL,
        policy     TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        dry_run    INTEGER NOT NULL,
        bans       TEXT NOT NULL
    )
    """,
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_V1, _V2, _V3, _V4, _V5, _V6)
"""Step *n* brings a file from version *n* to *n* + 1; a step, once released, never changes."""

VERSION: Final = len(MIGRATIONS)
