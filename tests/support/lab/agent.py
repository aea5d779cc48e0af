"""The agent under test, running in the victim, and the verbs called beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from synguard.status.model import Status, read_status
from tests.support.lab.namespaces import LabError, Namespace
from tests.support.lab.programs import Program, wait_for
from tests.support.lab.warm import run_verb, verb_job

SYNGUARD: Final = str(Path(sys.executable).with_name("synguard"))
"""The console script of the environment that runs the tests."""

FORKED = True
"""Whether agents are forked from a process that has imported everything: not where their cost is measured."""
_VERB_PATIENCE_S: Final = 60.0


class Agent:
    """One installation in the victim: a config file, a state directory and a runtime directory, all of its own.

    ``start`` and ``kill`` may be called again and again: the directories stay, as on a host.
    """

    def __init__(self, victim: Namespace, home: Path, config: str = "") -> None:
        self._victim, self._home = victim, home
        self.state_dir, self.runtime_dir = home / "state", home / "run"
        self.config_path = home / "synguard.toml"
        for directory in (self.state_dir, self.runtime_dir):
            directory.mkdir(parents=True, exist_ok=True)
        self.write_config(config)
        self._program: Program | None = None

    def write_config(self, config: str) -> None:
        """Replace the config by this TOML; the two directories are put in front of it."""
        head = f'state_dir = "{self.state_dir}"\nruntime_dir = "{self.runtime_dir}"\n'
        self.config_path.write_text(head + config)

    @property
    def program(self) -> Program:
        """The running or last agent process."""
        if self._program is None:
            raise LabError("the agent was never started")
        return self._program

    @property
    def pid(self) -> int:
        """The agent's process id; ``ip netns exec`` hands its own on."""
        return self.program.process.pid

    def start(self, *flags: str, timeout: float = 30.0, wrapper: Sequence[str] = ()) -> None:
        """Start ``synguard run FLAGS`` and wait until its status says that it has read the sensors.

        ``wrapper`` goes before the command: ``("setpriv", "--bounding-set", "-sys_admin")``.

        Raises:
            LabError: It ended or was not reading in time; carries what it wrote to stderr.
        """
        words = ("--config", str(self.config_path), "run", *flags)
        forked = FORKED and not wrapper
        command = verb_job(*words) if forked else [*wrapper, SYNGUARD, *words]
        self._program = Program(self._victim, command, self._home, "agent")
        wait_for(self._reading, "the agent to read its sensors", timeout)

    def _reading(self) -> bool:
        if not self.program.running:
            raise LabError(f"the agent ended by itself: {self.program.stderr.strip()[-2000:]}")
        status = read_status(self.runtime_dir)
        return status is not None and status.pid == self.pid and status.last_reading_at is not None

    def status(self) -> Status:
        """Return what the agent last wrote about itself.

        Raises:
            LabError: It has written nothing yet.
        """
        status = read_status(self.runtime_dir)
        if status is None:
            raise LabError("the agent has written no status")
        return status

    def stop(self) -> int:
        """End it as systemd does; return its exit code."""
        self.program.stop()
        return self.program.process.wait()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.program.kill()

    def kill_if_running(self) -> None:
        """End it at once unless it has ended or was never started."""
        if self._program is not None:
            self._program.kill_if_running()

    def verb(self, *arguments: str, stdin: str = "", wrapper: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run another verb in the victim with the same config, whatever its exit code: ``verb("bans")``."""
        words = ["--config", str(self.config_path), *arguments]
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
        if not wrapper:
            return run_verb(*words, stdin=stdin, namespace=self._victim.path, environment=environment)
        return subprocess.run(
            self._victim.command([*wrapper, SYNGUARD, *words]),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_VERB_PATIENCE_S,
            check=False,
            env=environment,
        )

    def ask(self, *arguments: str) -> Any:
        """Run a verb with ``--json`` and return what it printed, parsed.

        Raises:
            LabError: It failed, or printed no JSON.
        """
        done = self.verb(*arguments, "--json")
        if done.returncode:
            raise LabError(f"synguard {' '.join(arguments)}: exit {done.returncode}: {done.stderr.strip()}")
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError as error:
            raise LabError(f"synguard {' '.join(arguments)} --json printed {done.stdout[:200]!r}") from error


def targets(bans: Sequence[dict[str, Any]]) -> set[str]:
    """Return the targets in the output of ``bans --json``."""
    return {ban["target"] for ban in bans}
