"""A ledger that an older synguard wrote is brought up to date, and keeps all it holds."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synguard.addresses import parse_network
from synguard.ledger import FalsePositives, Ledger, Stretch
from synguard.ledger.schema import VERSION
from synguard.model import Action
from synguard.syn_header import SynHeader
from tests.support.bans import ban

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

V1 = """
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
);
CREATE UNIQUE INDEX ban_open ON ban (target, scope, ports, dry_run) WHERE ended_at IS NULL;
CREATE INDEX ban_standing ON ban (dry_run, expires_at) WHERE ended_at IS NULL;
CREATE INDEX ban_created ON ban (created_at);
CREATE INDEX ban_first ON ban (version, first_address);
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
);
CREATE UNIQUE INDEX verdict_subject ON verdict (period, kind, others, target, policy);
CREATE INDEX verdict_last ON verdict (last_at);
CREATE INDEX verdict_first ON verdict (version, first_address);
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
);
CREATE TABLE action (
    seq  INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX action_at ON action (at);
INSERT INTO ban VALUES (
    1, 'a1-7', '203.0.113.7', 4, 32, x'cb007107', x'cb007107', 'new', 'drop', 'auto', 'web', 'half_open 312 / 64',
    1772366400000000, 1772370000000000, '80', 140.0, 2,
    '[{"signal":"half_open","value":312,"limit":64,"ports":[80],"sources":1,"error":0.0}]', 0, 0, NULL, '', 12, 720,
    1772366405000000, 12, 720);
INSERT INTO verdict VALUES (
    1, 'i1', 'i1', 'spare', '198.51.100.1', 'web', 0, 4, 32, x'c6336401', x'c6336401', 1772366400000000,
    1772366460000000, 7, 120.0, 'proven', '[]');
INSERT INTO incident VALUES (
    1, 'i1', 'calm', 'syn-flood', 1772366400000000, 1772366460000000, 129, 10023.5, 3, 128, 1, 1, 'port 80');
INSERT INTO action VALUES (1, 1772366400000000, 'ban', 'kept');
PRAGMA application_id = 1398361671;
PRAGMA user_version = 1;
"""
"""Version 1, written by hand as 0.1.0 made it; not taken from the code, which must not change it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    connection.executescript(V1)
    connection.close()
    return path


def test_a_ledger_of_version_1_keeps_all_it_holds_and_takes_history(path: Path) -> None:
    with Ledger.open(path) as ledger:
        (record,) = ledger.bans_of(parse_network("203.0.113.7"))
        assert (record.packets, record.ban.times, record.ban.ports, record.ban.evidence[0].value) == (12, 2, (80,), 312)
        assert set(ledger.active_bans(NOW)) == {"a1-7"}
        (verdict,) = ledger.verdicts_since(NOW)
        assert (verdict.times, verdict.verdict.reason) == (7, "proven")
        assert [one.peak_syn_pps for one in ledger.incidents_since(NOW)] == [10023.5]
        assert [one.text for one in ledger.actions_since(NOW)] == ["kept"]
        assert ledger.history(NOW - timedelta(days=1), NOW, 10) == []
        ledger.add_history([Stretch(NOW, 10.0, 10.0)])
        ledger.record_false_positives([FalsePositives("a1-7", 3, ("203.0.113.7",), NOW)])
        everybody = ban("b", "0.0.0.0/0", action=Action.CHALLENGE, ports=(80,))
        one_header = replace(ban("c", "0.0.0.0/0", ports=(80,)), header=SynHeader((40, 64), 512, 0, 0, 40))
        ledger.add_bans([everybody, one_header])
        assert (record.answered, record.passed) == (0, 0)
        ledger.check()
    with Ledger.open(path) as again:
        assert len(again.history(NOW, NOW + timedelta(seconds=1), 10)) == 1
        assert again.false_positives_since(NOW)["a1-7"].clients == 3


def test_a_migrated_ledger_has_the_tables_of_a_new_one(path: Path, tmp_path: Path) -> None:
    Ledger.open(path).close()
    Ledger.open(tmp_path / "new.db").close()
    schemas = []
    for file in (path, tmp_path / "new.db"):
        connection = sqlite3.connect(file)
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
        schemas.append([(name, " ".join(sql.split())) for name, sql in rows])
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        connection.close()
    assert schemas[0] == schemas[1]
