"""The ledger's file: shared, private, and never lost, whatever state it is found in."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synguard.errors import LedgerError, NotPermittedError
from synguard.ledger import Ledger, LedgerReader
from synguard.ledger.schema import MIGRATIONS, VERSION

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from synguard.ledger import Ledger
from synguard.model import Action, Ban, Origin, Scope
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
with Ledger.open(path) as ledger:
    for i in range(count):
        pair = [
            Ban(f"{name}-{i}-{part}", IPv4Network((0x0A000000 + 2 * i + part, 32)), Scope.NEW, Action.DROP, Origin.AUTO,
                name, "", now, now + timedelta(hours=1), ports=(int(sys.argv[4]),))
            for part in (0, 1)
        ]
        ledger.add_bans(pair)
        ledger.record_action(now, name, str(i))
        print(i, flush=True)
"""


def start_writer(path: Path, name: str, count: int, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(count), str(port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


def test_directory_and_files_are_for_their_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with Ledger.open(path) as ledger:
            ledger.record_action(NOW, "x", "y")
            assert path.parent.stat().st_mode & 0o777 == 0o700
            assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
            assert len(list(path.parent.iterdir())) == 3
    finally:
        os.umask(before)


def test_everything_is_there_after_opening_again(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.record_action(NOW, "x", "y")
    with Ledger.open(path) as ledger:
        assert [action.text for action in ledger.actions_since(NOW)] == ["y"]
        ledger.check()


def test_closing_twice_is_fine(path: Path) -> None:
    ledger = Ledger.open(path)
    ledger.close()
    ledger.close()


def test_only_the_commits_of_others_count_as_change(path: Path) -> None:
    with Ledger.open(path) as agent, Ledger.open(path) as verb:
        assert not agent.changed()
        agent.record_action(NOW, "x", "own")
        assert not agent.changed()
        verb.record_action(NOW, "x", "theirs")
        assert agent.changed()
        assert not agent.changed()


def test_what_another_process_changed_shows_in_the_standing_bans(path: Path) -> None:
    with Ledger.open(path) as agent:
        writer = start_writer(path, "verb", 1, 80)
        assert writer.wait(30) == 0
        assert set(agent.active_bans(NOW)) == {"verb-0-0", "verb-0-1"}
        with Ledger.open(path) as verb:
            verb.end_bans(["verb-0-0"], NOW, "unbanned")
            verb.change_expiries({"verb-0-1": NOW.replace(hour=20)}, NOW)
        assert {id_: ban.expires_at for id_, ban in agent.active_bans(NOW).items()} == {
            "verb-0-1": NOW.replace(hour=20)
        }


def test_two_processes_that_create_and_write_at_the_same_time_both_succeed(path: Path) -> None:
    writers = [start_writer(path, name, 100, port) for name, port in (("agent", 80), ("verb", 443))]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with Ledger.open(path) as ledger:
        assert len(ledger.active_bans(NOW)) == 400
        assert len(ledger.actions_since(NOW)) == 200
        ledger.check()


def test_a_writer_killed_at_any_moment_leaves_whole_transactions(path: Path) -> None:
    """What was acknowledged is there, and both bans of a pair are or neither is."""
    acknowledged = set()
    for round_ in range(8):
        name = f"r{round_}"
        writer = start_writer(path, name, 100_000, 80 + round_)
        assert writer.stdout is not None
        for _ in range(3 + 5 * round_):
            acknowledged.add(f"{name}-{writer.stdout.readline().strip()}")
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        with Ledger.open(path) as ledger:
            ledger.check()
            pairs = [id_.rsplit("-", 1)[0] for id_ in ledger.active_bans(NOW)]
            assert all(pairs.count(pair) == 2 for pair in set(pairs))
            assert acknowledged <= set(pairs)


def test_a_locked_ledger_says_who_to_look_for_and_saves_later(path: Path) -> None:
    with Ledger.open(path, patience_s=0.05) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="kept it locked; see which with `fuser -v"):
            ledger.record_action(NOW, "x", "y")
        assert ledger.actions_since(NOW) == []
        other.execute("ROLLBACK")
        other.close()
        ledger.record_action(NOW, "x", "y")
        assert len(ledger.actions_since(NOW)) == 1


def test_a_full_disk_loses_nothing_that_was_saved_and_saves_again_once_there_is_room(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.record_action(NOW, "x", "before")
        connection = ledger._database._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LedgerError, match="the disk is full"):
            ledger.record_action(NOW, "x", "y" * 100_000)
        assert [action.text for action in ledger.actions_since(NOW)] == ["before"]
        connection.execute("PRAGMA max_page_count = 100000")
        ledger.record_action(NOW, "x", "after")
        assert [action.text for action in ledger.actions_since(NOW)] == ["after", "before"]


FULL = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from synguard.errors import LedgerError
from synguard.ledger import Ledger
now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ledger = Ledger.open(Path(sys.argv[1]) / "ledger.db")
saved = 0
try:
    for _ in range(1000):
        ledger.record_action(now, "x", "y" * 2000)
        saved += 1
except LedgerError as error:
    print(error)
ledger.close()
with Ledger.open(Path(sys.argv[1]) / "ledger.db") as again:
    again.check()
    assert len(again.actions_since(now)) == saved > 0, saved
"""


@pytest.mark.kernel
def test_a_file_system_that_fills_up_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=600k,mode=700 none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FULL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(r"the disk is full|look at the disk", done.stdout)


@pytest.mark.parametrize("content", [b"this is no database, it is a letter" * 100, os.urandom(8192)])
def test_a_file_that_is_no_database_is_told_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="is damaged"):
        Ledger.open(path)
    assert path.read_bytes() == content


def damaged_ledger(path: Path) -> None:
    with Ledger.open(path) as ledger:
        for i in range(500):
            ledger.record_action(NOW, "x", f"{i}" * 100)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def test_a_damaged_ledger_is_told_with_the_command_that_moves_it_aside_and_that_works(path: Path) -> None:
    damaged_ledger(path)
    damaged = path.read_bytes()
    with pytest.raises(LedgerError, match="is damaged") as caught, Ledger.open(path) as ledger:
        ledger.active_bans(NOW)
    assert path.read_bytes() == damaged
    command = re.search(r"`(.+?)`", str(caught.value))
    assert command
    subprocess.run(["sh", "-c", command[1]], check=True)
    assert (path.parent / "damaged" / "ledger.db").read_bytes() == damaged
    with Ledger.open(path) as ledger:
        assert ledger.actions_since(NOW) == []


def test_damage_that_no_verb_has_touched_is_found_by_a_check(path: Path) -> None:
    with Ledger.open(path) as ledger:
        for i in range(500):
            ledger.record_action(NOW, "x", f"{i}" * 100)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 4096)
        file.write(b"\xff" * 4096)
    with Ledger.open(path) as ledger, pytest.raises(LedgerError, match="is damaged"):
        ledger.check()


def test_a_log_without_its_database_is_told_and_left_alone(path: Path) -> None:
    """SQLite would delete the log, and with it all that was not yet copied into the database."""
    ledger = Ledger.open(path)
    ledger.record_action(NOW, "x", "y")
    log = path.with_name("ledger.db-wal")
    kept = log.read_bytes()
    elsewhere = path.parent / "kept"
    shutil.copy(log, elsewhere)
    ledger.close()
    path.write_bytes(b"")
    shutil.copy(elsewhere, log)
    with pytest.raises(LedgerError, match=r"its log ledger\.db-wal is not"):
        Ledger.open(path)
    path.unlink()
    with pytest.raises(LedgerError, match="is damaged"):
        Ledger.open(path)
    assert log.read_bytes() == kept


def test_a_ledger_of_a_newer_version_is_told_and_left_alone(path: Path) -> None:
    Ledger.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(LedgerError, match=f"newer synguard \\(ledger version {VERSION + 1}"):
        Ledger.open(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
    connection.close()


def test_a_database_of_another_program_is_told_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(LedgerError, match="another program"):
        Ledger.open(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    connection.close()


def test_a_ledger_of_an_older_version_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from synguard.ledger import database

    with Ledger.open(path) as ledger:
        ledger.record_action(NOW, "x", "kept")
    step = ("ALTER TABLE action ADD COLUMN extra TEXT NOT NULL DEFAULT 'new'",)
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, step))
    monkeypatch.setattr(database, "VERSION", VERSION + 1)
    with Ledger.open(path) as ledger:
        assert [action.text for action in ledger.actions_since(NOW)] == ["kept"]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT extra FROM action").fetchall() == [("new",)]
    connection.close()


def test_a_migration_that_fails_leaves_the_older_version_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from synguard.ledger import database

    Ledger.open(path).close()
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE half (x)", "NO SQL AT ALL")))
    monkeypatch.setattr(database, "VERSION", VERSION + 1)
    with pytest.raises(LedgerError, match="cannot open"):
        Ledger.open(path)
    monkeypatch.undo()
    Ledger.open(path).close()


AS_NOBODY = """
import os, sys
from pathlib import Path
from synguard.ledger import Ledger
os.setgid(65534); os.setuid(65534)
try:
    Ledger.open(Path(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error.exit_code, error)
"""


@pytest.mark.kernel
def test_without_permission_the_exit_code_is_4_and_the_directory_is_named(path: Path) -> None:
    Ledger.open(path).close()
    done = subprocess.run([sys.executable, "-c", AS_NOBODY, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(f"{NotPermittedError.__name__} 4 state_dir {path.parent} may not be written"), (
        done.stderr
    )


@pytest.mark.kernel
def test_a_read_only_file_system_is_told(path: Path) -> None:
    Ledger.open(path).close()
    code = "from synguard.ledger import Ledger; from pathlib import Path; import sys; Ledger.open(Path(sys.argv[1]))"
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "$3" "$1/ledger.db"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(path.parent), sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert f"state_dir {path.parent} cannot be used: Read-only file system; fix that, or set" in done.stderr


def test_a_directory_where_the_file_should_be_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(LedgerError, match=r"cannot open .*ledger\.db"):
        Ledger.open(path)


def test_a_second_connection_in_one_process_keeps_the_locks_of_the_first(path: Path) -> None:
    """Opening the file to look at it gave up the first one's locks: the next verb to end deleted the agent's log.

    From then on agent and verbs had a ledger each: an unban was never seen, and what the agent wrote was lost.
    """
    with Ledger.open(path) as ledger, Ledger.open(path), LedgerReader.open(path):
        assert start_writer(path, "verb", 1, 80).wait() == 0
        ledger.record_action(NOW, "x", "y")
        with LedgerReader.open(path) as other:
            assert "y" in [action.text for action in other.actions_since(NOW)]
