"""One SQLite file: opening it safely, one transaction at a time, and its errors in an operator's words."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from synguard.errors import LedgerError, NotPermittedError
from synguard.ledger.schema import APPLICATION_ID, MIGRATIONS, VERSION
from synguard.private import NotOursError, check_private, ensure_shared, private_directory

_CHECKPOINT_PAGES: Final = 1_000
"""Pages in the log from which SQLite moves them into the file, as it does by itself."""
_KEPT_KB: Final = 512
"""Of the file, in an agent, which reads few pages a tick; SQLite would keep 2 MB."""
_WAL_LIMIT: Final = 16 * 1024 * 1024
"""Bytes the write-ahead log is cut back to after a burst."""


class LedgerDeniedError(LedgerError, NotPermittedError):
    """The file or its directory may not be read or written by this user."""


class Database:
    """A connection in WAL mode whose every write is one ``BEGIN IMMEDIATE`` transaction.

    ``synchronous=NORMAL``: a power cut may lose the last moments, never the file's consistency.
    """

    def __init__(self, path: Path, patience_s: float, *, read_only: bool = False) -> None:
        self.path = path
        self._patience_s = patience_s
        self._in_vain = False
        if not read_only:
            private_directory(path.parent, "state_dir")
        with self._translated("open"):
            _refuse_orphaned_log(path)
            if not read_only:
                _make_private(path)
            self._connection = _connected(path, patience_s, read_only)
            try:
                if read_only:
                    self._refuse_outdated()
                else:
                    _configure(self._connection, patience_s)
                    self._migrate()
            except BaseException:
                self._connection.close()
                raise
            self._file = _identity(path)
        self._data_version = self._read_data_version()

    def hurry(self, patience_s: float) -> None:
        """Wait no longer than this for the writes of others from now on, and keep little of the file in memory."""
        self._patience_s = patience_s
        with self._translated("open"):
            self._connection.execute(f"PRAGMA busy_timeout = {round(patience_s * 1000)}")
            self._connection.execute(f"PRAGMA cache_size = -{_KEPT_KB}")

    def close(self) -> None:
        """Close the connection; closing twice is fine."""
        with self._translated("close"):
            self._connection.close()

    @contextmanager
    def write(self, *, wait: bool = True) -> Iterator[sqlite3.Connection]:
        """Give the connection inside one write transaction: all of it happens, or none.

        Whoever has waited in vain does not wait again until a write succeeds: a ledger that somebody keeps locked
        would else cost its patience again and again, in every tick.

        Raises:
            LedgerError: The file is locked for longer than patience lasts, or at all where it shall not ``wait``;
                or full, read-only or damaged; or its name is another file's by now, or no one's.
        """
        if _identity(self.path) != self._file:
            raise LedgerError(
                f"{self.path} was removed or replaced while in use, nothing is kept there: restart synguard"
            )
        try:
            with self._translated("save to"), self._patience(wait and not self._in_vain), self._transaction():
                yield self._connection
        except LedgerError as error:
            busy = error.__cause__ is not None and _is_busy(error.__cause__)
            self._in_vain = busy and (wait or self._in_vain)  # who did not wait has not waited in vain
            raise
        self._in_vain = False

    @contextmanager
    def without_checkpoint(self) -> Iterator[None]:
        """Leave what is written meanwhile in the log: moving it into the file waits for the disk, and can wait."""
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        try:
            yield
        finally:
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for reading.

        Raises:
            LedgerError: The file cannot be read.
        """
        with self._translated("read"):
            yield self._connection

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for several reads that see one state of the file.

        Raises:
            LedgerError: The file cannot be read.
        """
        with self._translated("read"), self._transaction("BEGIN"):
            yield self._connection

    def changed(self) -> bool:
        """Return whether another connection committed since this was last asked, or since opening."""
        before, self._data_version = self._data_version, self._read_data_version()
        return self._data_version != before

    def check(self) -> None:
        """Read every page once; seconds for a large file.

        Raises:
            LedgerError: A page is damaged.
        """
        with self._translated("read"):
            findings = [str(row[0]) for row in self._connection.execute("PRAGMA quick_check(1)")]
        if findings != ["ok"]:
            raise LedgerError(_damaged(self.path, findings[0] if findings else "no answer"))

    def _read_data_version(self) -> int:
        with self._translated("read"):
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def _patience(self, wait: bool) -> Iterator[None]:
        if wait:
            yield
            return
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {round(self._patience_s * 1000)}")

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        self._connection.execute(begin)
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk may have rolled back by itself; the first error tells
                self._connection.execute("ROLLBACK")
            raise

    def _migrate(self) -> None:
        if self._version() == VERSION:
            return
        with self._transaction():  # another process may have done it while we waited for the lock
            for step in MIGRATIONS[self._version() :]:
                for statement in step:
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def _refuse_outdated(self) -> None:
        if self._version() < VERSION:
            raise LedgerError(
                f"{self.path} was written by an older synguard: start the agent, which brings it up to date"
            )

    def _version(self) -> int:
        """Return the file's schema version, 0 for an empty file; refuse what this program cannot read."""
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        application = int(self._connection.execute("PRAGMA application_id").fetchone()[0])
        tables = int(self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        if tables and application != APPLICATION_ID:
            raise LedgerError(
                f"{self.path} is a database of another program: set state_dir to a directory of synguard's own"
            )
        if version > VERSION:
            raise LedgerError(
                f"{self.path} was written by a newer synguard (ledger version {version}, this one knows {VERSION}): "
                f"install the newer synguard again, or {_move_aside(self.path, 'newer')}"
            )
        return version

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _translate(error, self.path, doing) from error
        except PermissionError as error:
            raise LedgerDeniedError(_denied(self.path, doing)) from error
        except OSError as error:
            raise LedgerError(f"cannot {doing} {self.path}: {error.strerror or error}") from error


def _connected(path: Path, patience_s: float, read_only: bool) -> sqlite3.Connection:
    if not read_only:
        return sqlite3.connect(path, timeout=patience_s, isolation_level=None)
    ensure_shared(path, make=False)  # SQLite has one word for every reason why not
    how = "mode=ro"
    if path.stat().st_uid != os.geteuid() and not path.with_name(f"{path.name}-wal").exists():
        how += "&immutable=1"  # no one has it open, and a reader cannot make the log that SQLite wants beside it
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=patience_s, isolation_level=None)


def _make_private(path: Path) -> None:
    """Make the file where it is missing; what SQLite keeps beside it takes its mode and must be ours as well."""
    ensure_shared(path, make=True)
    for suffix in ("-wal", "-shm", "-journal"):
        beside = path.with_name(path.name + suffix)
        with suppress(FileNotFoundError):
            try:
                check_private(beside.lstat())
            except NotOursError as error:
                raise NotOursError(f"{beside.name} beside it cannot be used: {error.strerror}") from error


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from any other of its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _refuse_orphaned_log(path: Path) -> None:
    """SQLite deletes a log that has no database; what somebody lost must not be lost for good."""
    log = path.with_name(path.name + "-wal")
    empty = not path.exists() or path.stat().st_size == 0
    if empty and log.exists() and log.stat().st_size > 0:
        raise LedgerError(_damaged(path, f"it is empty, but its log {log.name} is not"))


def _configure(connection: sqlite3.Connection, patience_s: float) -> None:
    # Only the very first process switches to WAL. SQLite does not wait by itself for the exclusive lock that
    # the switch takes, so two processes that both create the file would otherwise fail one.
    for attempt in Retrying(
        retry=retry_if_exception(_is_busy), stop=stop_after_delay(patience_s), wait=wait_fixed(0.02), reraise=True
    ):
        with attempt:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and _code(error) == sqlite3.SQLITE_BUSY


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 where Python's module raised by itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _translate(error: sqlite3.Error, path: Path, doing: str) -> LedgerError:
    code = _code(error)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LedgerError(_damaged(path, str(error)))
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return LedgerDeniedError(_denied(path, doing))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LedgerError(
            f"cannot {doing} {path}: another process kept it locked; see which with `fuser -v {shlex.quote(str(path))}`"
        )
    if code == sqlite3.SQLITE_FULL:
        return LedgerError(f"cannot {doing} {path}: the disk is full; free some space, nothing saved so far is lost")
    if code == sqlite3.SQLITE_IOERR:
        return LedgerError(f"cannot {doing} {path}: {error}; look at the disk's space and health (`df`, `dmesg`)")
    return LedgerError(f"cannot {doing} {path}: {error}")


def _denied(path: Path, doing: str) -> str:
    return f"cannot {doing} {path}: not permitted; run as root, or see that the file system is not read-only"


def _damaged(path: Path, finding: str) -> str:
    return f"{path} is damaged ({finding}): stop synguard, {_move_aside(path, 'damaged')}; bans in the kernel stay"


def _move_aside(path: Path, name: str) -> str:
    away = shlex.quote(str(path.parent / name))
    return f"move it aside with `mkdir -p {away} && mv {shlex.quote(str(path))}* {away}/`, and start afresh"
