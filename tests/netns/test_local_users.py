"""Another user of the host beside a running agent: he sees nothing, changes nothing, and stops nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lab.agent import Agent
from tests.support.lab.lab import Lab
from tests.support.lab.namespaces import REPOSITORY
from tests.support.lab.programs import wait_for

pytestmark = pytest.mark.kernel

NOBODY = 65534
DROP = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--bounding-set=-all")
SECRET = "s3cr3t-t0ken"
BY_HAND = "203.0.113.7"
FILES = ("state/ledger.db", "state/ledger.db-wal", "run/status.json", "run/agent.lock", "run/apply.lock")


def as_nobody_in_reach_of_python(workdir: Path) -> tuple[str, ...]:
    """Return what goes before a command to run it as nobody; interpreter and checkout may lie in root's closed home."""
    closed = {place: _closed(place) for place in (Path(sys.base_prefix), REPOSITORY)}
    hidden = {place: workdir / f"reach{number}" for number, place in enumerate(closed) if closed[place]}
    if not hidden:
        return DROP
    lines = [f"mkdir -p {stage}; mount --bind {place} {stage}" for place, stage in hidden.items()]
    lines += [f"mount -t tmpfs -o mode=755 tmpfs {home}" for home in {closed[place] for place in hidden}]
    lines += [f"mkdir -p {place}; mount --bind {stage} {place}" for place, stage in hidden.items()]
    return ("unshare", "--mount", "sh", "-ec", "; ".join([*lines, 'exec "$@"']), "sh", *DROP)


def _closed(place: Path) -> Path | None:
    """Return the outermost directory around a place that nobody may look into."""
    return next((around for around in reversed(place.parents) if not around.stat().st_mode & 1), None)


@pytest.fixture
def agent(lab: Lab) -> Agent:
    """An agent that has made its directories itself, in one that everybody may look into, and that holds a ban."""
    lab.serve()
    agent = lab.agent()
    agent.state_dir.rmdir()
    agent.runtime_dir.rmdir()
    for directory in (lab.workdir, agent.state_dir.parent):
        directory.chmod(0o755)
    before = os.umask(0)  # what the agent makes must not hang on it
    try:
        agent.start("--enforce")
    finally:
        os.umask(before)
    assert agent.verb("ban", BY_HAND, "--for", "1h").returncode == 0
    return agent


def as_nobody(agent: Agent, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script as nobody, in the directory that holds the agent's two."""
    return subprocess.run(
        [*DROP, "sh", "-c", script], cwd=agent.state_dir.parent, capture_output=True, text=True, check=False
    )


def test_another_user_can_neither_order_nor_look(agent: Agent, lab: Lab) -> None:
    nobody = as_nobody_in_reach_of_python(lab.workdir)
    before = agent.ask("bans")
    for verb in (
        ("ban", "198.51.100.1", "--force"), ("unban", BY_HAND), ("unban", "--all", "--yes"), ("bans",), ("status",),
        ("why", BY_HAND), ("report",), ("review",), ("enable", "--off"), ("flush", "--yes"), ("run", "--for", "1s"),
    ):  # fmt: skip
        done = agent.verb(*verb, wrapper=nobody)
        assert done.returncode == 4, f"{verb}: {done.returncode} {done.stderr}"
        assert done.stderr.startswith("synguard: ")
        assert "unexpected" not in done.stderr
        assert BY_HAND not in done.stdout
    assert [(ban["id"], ban["in_kernel"]) for ban in agent.ask("bans")] == [(before[0]["id"], True)]
    for file in FILES:
        done = as_nobody(agent, f"cat {file}")
        assert "Permission denied" in done.stderr, file
    for directory in ("state", "run"):
        assert "Permission denied" in as_nobody(agent, f"ls {directory}").stderr
        assert "Permission denied" in as_nobody(agent, f"ln -s /etc/passwd {directory}/planted").stderr


def test_a_member_of_the_group_reads_and_does_nothing_else(agent: Agent, lab: Lab) -> None:
    agent.stop()
    agent.write_config(f'read_group = "games"\n[notify]\nurls = ["http://ops:{SECRET}@127.0.0.1:1/{SECRET}"]\n')
    for place in (agent.config_path, *agent.config_path.parents[:1]):
        place.chmod(0o755)
    agent.start("--enforce")
    member = [
        ("--groups=games" if word == "--clear-groups" else word) for word in as_nobody_in_reach_of_python(lab.workdir)
    ]
    for verb in (("bans",), ("status",), ("why", BY_HAND), ("report",), ("top", "--count", "1")):
        done = agent.verb(*verb, wrapper=member)
        assert done.returncode == 0, f"{verb}: {done.stderr}"
        assert verb == ("status",) or BY_HAND in done.stdout, verb
        assert SECRET not in done.stdout + done.stderr
    for verb in (("ban", "198.51.100.1"), ("unban", BY_HAND), ("panic", "--yes")):
        assert agent.verb(*verb, wrapper=member).returncode in (1, 4), verb
    assert agent.ask("bans")[0]["in_kernel"]
    found = [path for top in (agent.state_dir, agent.runtime_dir) for path in top.rglob("*")]
    opened = {path.name for path in found if path.lstat().st_mode & 0o077}
    assert opened <= {"ledger.db", "ledger.db-wal", "ledger.db-shm", "status.json", "protected.json"}
    assert [path.name for path in found if path.name in opened and SECRET.encode() in path.read_bytes()] == []
    agent.stop()
    assert agent.verb("bans", wrapper=member).returncode == 0


def test_another_user_can_hold_no_lock_and_send_no_signal(agent: Agent) -> None:
    for lock in ("run/apply.lock", "run/agent.lock", "/run/xtables.lock"):
        done = as_nobody(agent, f"flock -n {lock} true")
        assert "Permission denied" in done.stderr, f"{lock} can be held: {done}"
    for signal in ("HUP", "TERM", "STOP"):
        assert as_nobody(agent, f"kill -{signal} {agent.pid}").returncode != 0
    assert agent.program.running
    read_at = agent.status().last_reading_at
    wait_for(lambda: agent.status().last_reading_at != read_at, "the agent to read on")


def test_all_that_the_agent_made_is_roots_alone(agent: Agent) -> None:
    home = agent.state_dir.parent
    found = {path: path.lstat() for top in (agent.state_dir, agent.runtime_dir) for path in (top, *top.rglob("*"))}
    assert {home / name for name in FILES} <= found.keys()
    assert {str(path): oct(one.st_mode & 0o7777) for path, one in found.items() if one.st_mode & 0o077} == {}
    assert {one.st_uid for one in found.values()} == {0}


def test_programs_in_the_path_of_whoever_calls_are_not_run_as_root(agent: Agent, tmp_path: Path) -> None:
    """``sudo`` without ``secure_path`` hands on the caller's PATH."""
    ran = tmp_path / "ran"
    for tool in ("ipset", "nft", "iptables", "iptables-legacy", "modprobe", "ldconfig", "gcc", "cc", "ld", "objdump"):
        (tmp_path / tool).write_text(f"#!/bin/sh\necho {tool} >>{ran}\nexit 1\n")
        (tmp_path / tool).chmod(0o755)
    env = ("env", f"PATH={tmp_path}:{os.environ['PATH']}")
    for verb in (("ban", "198.51.100.9", "--for", "1m"), ("doctor",), ("bans",), ("flush", "--yes")):
        assert agent.verb(*verb, wrapper=env).returncode in (0, 1)
    agent.stop()
    agent.start("--enforce", wrapper=env)
    assert not ran.exists(), f"run from the caller's PATH: {ran.read_text()}"


def test_an_agent_is_not_started_on_directories_that_another_user_could_have_filled(agent: Agent) -> None:
    agent.stop()
    agent.runtime_dir.chmod(0o777)
    (agent.runtime_dir / "apply.lock").unlink()
    assert as_nobody(agent, "ln -s /etc/passwd run/apply.lock").returncode == 0
    for verb in (("run", "--for", "1s"), ("ban", "198.51.100.1")):
        done = agent.verb(*verb)
        assert done.returncode == 3
        assert f"runtime_dir {agent.runtime_dir} is not safe: others may write to" in done.stderr
    agent.runtime_dir.chmod(0o700)
    done = agent.verb("ban", "198.51.100.1")
    assert done.returncode == 1
    assert "apply.lock: it is a symbolic link" in done.stderr
    (agent.runtime_dir / "apply.lock").unlink()
    assert agent.verb("ban", "198.51.100.1").returncode == 0
