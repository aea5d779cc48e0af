"""The ledger's disk, and whoever else has a hand on its file, under a running agent: protection goes on and says so."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from synguard.ledger import LEDGER_FILE, Ledger
from synguard.ledger.database import Database
from synguard.status.model import read_status
from tests.scenario.test_floods import ATTACKER, ENFORCE, POLICY, rain
from tests.support.fake_plane import FakePlane
from tests.support.lab.namespaces import REPOSITORY
from tests.support.scene import Scene, Weather

SECOND, THIRD = "203.0.113.5", "203.0.113.77"


def enforcing(directory: Path) -> Scene:
    scene = Scene(directory, POLICY, config=ENFORCE, plane=FakePlane())
    scene.fake.utcnow = scene.clock.utcnow
    return scene


def problems(scene: Scene) -> tuple[str, ...]:
    status = read_status(scene.config.runtime_dir)
    assert status is not None
    return status.problems


def test_a_ledger_that_somebody_keeps_locked_is_waited_for_once_and_stops_no_ban(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each write of each tick used to wait five seconds, so that an agent under attack looked every fifteen."""
    waited = []
    patience = Database._patience

    @contextmanager
    def noted(self: Database, wait: bool):  # type: ignore[no-untyped-def]
        waited.append(wait)
        with patience(self, wait):
            yield

    scene = enforcing(tmp_path)
    scene.ledger.hurry(0.05)
    scene.lasts(1)
    other = sqlite3.connect(tmp_path / LEDGER_FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(Database, "_patience", noted)
    rain(scene, {ATTACKER: 10_000.0}, 3.0)
    assert scene.held() == {ATTACKER}, "the ban reaches the kernel, which ends it by itself"
    assert scene.banned() == set()
    assert sum(waited) == 1
    assert len(waited) > 10, "and it is offered again in every tick"
    assert any("another process kept it locked; see which with `fuser -v" in problem for problem in problems(scene))
    assert sum("kept it locked" in record.message for record in caplog.records) <= 2  # once by each part that met it
    other.execute("ROLLBACK")
    other.close()
    rain(scene, {ATTACKER: 10_000.0}, 3.0)
    assert scene.banned() == {ATTACKER}
    assert problems(scene) == ()


def test_a_ledger_damaged_under_a_running_agent_stops_no_ban_and_names_the_way_out(tmp_path: Path) -> None:
    scene = enforcing(tmp_path)
    rain(scene, {ATTACKER: 10_000.0}, 1.0)
    path = tmp_path / LEDGER_FILE
    with Ledger.open(path) as other:  # whose pages are in the file, and no longer in the log
        other._database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    scene.ledger._database._connection.execute("PRAGMA shrink_memory")  # as under pressure for memory
    rain(scene, {ATTACKER: 10_000.0, SECOND: 10_000.0}, 3.0)
    assert scene.held() == {ATTACKER, SECOND}
    [told] = {problem for problem in problems(scene) if "is damaged" in problem}
    assert "stop synguard, move it aside with" in told
    assert "bans in the kernel stay" in told


FULL = """
import sys
from ipaddress import ip_network
from pathlib import Path
from tests.scenario.test_faults_disk import enforcing, problems
from tests.scenario.test_floods import ATTACKER, rain
from tests.support.protection import scattered
directory = Path(sys.argv[1])
scene = enforcing(directory)
scene.lasts(1)
with open(directory / "somebody's", "wb", buffering=0) as hog:
    try:
        while True:
            hog.write(b"x" * 4096)
    except OSError:
        pass
rain(scene, {ATTACKER: 10_000.0, **dict.fromkeys(scattered(400), 2_000.0)}, 4.0)
held = scene.held()
assert ATTACKER in held and len(held) > 300, held
scene.agent.tick()
told = [one.text for one in scene.agent.conditions.all]
assert any("disk is full" in one or "look at the disk" in one for one in told), told
(directory / "somebody's").unlink()
rain(scene, {ATTACKER: 10_000.0}, 12.0)
assert scene.banned() == scene.held() >= {ATTACKER}, (scene.banned() ^ scene.held())
assert problems(scene) == (), problems(scene)
assert not list(directory.glob("*.new")), "no draft is left"
scene.ledger.check()
print("went on")
"""


@pytest.mark.kernel
@pytest.mark.parametrize("replaced", [False, True])
def test_a_ledger_file_that_is_removed_under_a_running_agent_is_a_problem_and_stops_no_ban(
    tmp_path: Path, replaced: bool
) -> None:
    """It stayed healthy, and wrote into a file without a name: bans and history of the flood were gone with it."""
    scene = enforcing(tmp_path)
    scene.lasts(1)
    for file in tmp_path.glob(f"{LEDGER_FILE}*"):
        file.unlink()
    if replaced:
        Ledger.open(tmp_path / LEDGER_FILE).close()
    rain(scene, {ATTACKER: 10_000.0}, 3.0)
    assert scene.held() == {ATTACKER}
    assert any("was removed or replaced while in use" in problem for problem in problems(scene))


def test_a_disk_that_fills_up_under_a_running_agent_stops_no_ban_and_is_made_good_once_there_is_room(
    tmp_path: Path,
) -> None:
    """Ledger and status file live on a file system of their own, a megabyte, that somebody else fills to the brim."""
    script = 'mount -t tmpfs -o size=1m,mode=700 none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FULL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "went on\n"
    assert 1 <= done.stderr.count("status file cannot be written") <= 3


def without_a_ledger_file(directory: Path) -> Scene:
    scene = enforcing(directory)
    scene.lasts(1)
    (directory / LEDGER_FILE).unlink()
    rain(scene, {ATTACKER: 10_000.0}, 1.0)
    assert [ban.target for ban in scene.agent._parts.enforcement.writer.unwritten] == [ip_network(ATTACKER)]
    scene.sensors.weather = Weather()
    scene.lasts(4_000, every=20)
    assert not scene.held()
    return scene


def test_a_clock_set_back_while_the_ledger_lacks_bans_that_are_over_ends_no_tick(tmp_path: Path) -> None:
    scene = without_a_ledger_file(tmp_path)
    rain(scene, {SECOND: 10_000.0}, 1.0)
    scene.clock.jump(-7_200)
    rain(scene, {SECOND: 10_000.0}, 1.0)
    assert scene.held() == {SECOND}


def test_bans_that_are_over_do_not_pile_up_while_the_ledger_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synguard.agent.enforcement.MOST_UNWRITTEN", 0)
    scene = without_a_ledger_file(tmp_path)
    rain(scene, {SECOND: 10_000.0}, 1.0)
    assert [ban.target for ban in scene.agent._parts.enforcement.writer.unwritten] == [ip_network(SECOND)]
