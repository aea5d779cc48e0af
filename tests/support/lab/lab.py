"""The lab: a victim under attack and its clients, built on entry and gone on exit, whatever happens in between."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tests.support.lab.attempts import Attempts
from tests.support.lab.client_plan import ClientPlan
from tests.support.lab.flood_plan import FloodPlan
from tests.support.lab.namespaces import Namespace, python_module, sweep_stale
from tests.support.lab.programs import Program
from tests.support.lab.topology import Topology, Victim
from tests.support.lab.webserver import start_nginx, start_stdlib

P = TypeVar("P", bound=Program)


class Clients(Program):
    """Running legitimate clients."""

    def attempts(self) -> Attempts:
        """Return the attempts that have ended so far."""
        return Attempts.from_lines(self.lines())


class SynFlood(Program):
    """A running SYN generator."""

    @property
    def first_at(self) -> float:
        """``CLOCK_MONOTONIC`` of the first packet."""
        return float(self.wait_line("started")["first_at"])

    def report(self, timeout: float = 130.0) -> dict[str, Any]:
        """Wait for the end and return the report: ``sent``, ``forgiven``, ``first_at``, ``last_at``, ``cpu_s``."""
        return self.wait_line("finished", timeout)


class Lab:
    """Four namespaces, a web server, and the programs that a test starts in them.

    A context manager. Everything it made is removed on exit, also after a failure or Ctrl-C; what a killed test
    run left behind is swept by the next lab.
    """

    def __init__(self, victim: Victim | None = None, client_firewall: bool = False) -> None:
        self.tuning = victim or Victim()
        self._client_firewall = client_firewall
        self.topology = Topology()
        self.workdir = Path()
        self._programs: list[Program] = []

    def __enter__(self) -> Lab:
        sweep_stale()
        self.workdir = Path(tempfile.mkdtemp(prefix="synguard-lab-"))
        try:
            self.topology.build(self.tuning, self._client_firewall)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the programs, remove the namespaces and the working directory."""
        try:
            for program in reversed(self._programs):
                program.kill()
        finally:
            try:
                self.topology.remove()
            finally:
                shutil.rmtree(self.workdir, ignore_errors=True)

    @property
    def victim(self) -> Namespace:
        """Where the web server and the agent run."""
        return self.topology.victim

    @property
    def router(self) -> Namespace:
        """What forwards between all others and swallows answers to addresses that do not exist."""
        return self.topology.router

    @property
    def clients(self) -> Namespace:
        """The site of legitimate clients."""
        return self.topology.clients

    @property
    def attackers(self) -> Namespace:
        """The site of attackers, real and forging."""
        return self.topology.attackers

    def start(self, namespace: Namespace, command: Sequence[str], label: str) -> Program:
        """Start any command in a namespace; it is killed on exit if it still runs."""
        return self._keep(Program(namespace, command, self.workdir, label))

    def serve(self, *ports: int) -> Program:
        """Start nginx in the victim on these ports (80 where none is named), IPv4 and IPv6; return once it listens."""
        return self._keep(start_nginx(self.victim, self.workdir, ports or (80,), self.tuning.backlog))

    def serve_with_stdlib(self, port: int = 80) -> Program:
        """Start Python's own web server instead of nginx, IPv4 only."""
        return self._keep(start_stdlib(self.victim, self.workdir, port, self.tuning.backlog))

    def start_clients(self, plan: ClientPlan, label: str = "clients") -> Clients:
        """Start legitimate clients; return once they begin."""
        command = python_module("tests.support.lab.clients", plan.model_dump_json())
        clients = self._keep(Clients(self.clients, command, self.workdir, label))
        clients.wait_line("started")
        return clients

    def start_flood(self, plan: FloodPlan, label: str = "flood") -> SynFlood:
        """Start a SYN flood; return once the first packet goes out."""
        command = python_module("tests.support.lab.syn_flood", plan.model_dump_json())
        flood = self._keep(SynFlood(self.attackers, command, self.workdir, label))
        flood.wait_line("started")
        return flood

    def _keep(self, program: P) -> P:
        self._programs.append(program)
        return program
