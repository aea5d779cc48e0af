"""The lab: a victim under attack and its clients, built on entry and gone on exit, whatever happens in between."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tests.support.lab.agent import Agent
from tests.support.lab.attempts import Attempts
from tests.support.lab.client_plan import ClientPlan
from tests.support.lab.connection_plan import ConnectionPlan
from tests.support.lab.flood_plan import FloodPlan
from tests.support.lab.namespaces import Namespace, new_workdir, sweep_stale
from tests.support.lab.programs import Program, wait_for
from tests.support.lab.reach import Reach
from tests.support.lab.topology import Topology, Victim
from tests.support.lab.warm import Job, lab_program
from tests.support.lab.webserver import start_nginx

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
        """Wait for the end and return the report: times, ``sent``, ``forgiven``, ``cpu_s``, ``packet_ns``."""
        return self.wait_line("finished", timeout)


class ConnectionFlood(Program):
    """A running flood of real connections."""

    @property
    def first_at(self) -> float:
        """``CLOCK_MONOTONIC`` when the first one was tried."""
        return float(self.wait_line("started")["first_at"])

    def held(self) -> int:
        """Return how many connections stood at the last report, as the attackers see it."""
        return next((int(line["held"]) for line in reversed(self.lines()) if line["event"] == "held"), 0)

    def answered(self) -> dict[str, bool]:
        """Return source → whether its existing connection was last answered; sources not asked yet are absent."""
        return {line["source"]: line["answered"] for line in self.lines() if line["event"] == "probe"}


class Meter(Program):
    """A running meter."""

    def reach(self) -> Reach:
        """Return what was sampled so far."""
        return Reach.from_lines(self.lines())


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
        self._agents: list[Agent] = []

    def __enter__(self) -> Lab:
        sweep_stale()
        self.workdir = new_workdir()
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
            for agent in self._agents:
                agent.kill_if_running()
            for program in self._programs:
                program.kill_if_running()
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

    def start(self, namespace: Namespace, command: Sequence[str] | Job, label: str) -> Program:
        """Start any command in a namespace; it is killed on exit if it still runs."""
        return self.keep(Program(namespace, command, self.workdir, label))

    def serve(self, *ports: int) -> Program:
        """Start nginx in the victim on these ports (80 where none is named), IPv4 and IPv6; return once it listens."""
        return self.keep(start_nginx(self.victim, self.workdir, ports or (80,), self.tuning))

    def start_clients(self, plan: ClientPlan, label: str = "clients", site: Namespace | None = None) -> Clients:
        """Start legitimate clients, at their own site where no other is named; return once they begin."""
        command = lab_program("clients", plan.model_dump_json())
        clients = self.keep(Clients(site or self.clients, command, self.workdir, label))
        clients.wait_line("started")
        return clients

    def start_flood(self, plan: FloodPlan, label: str = "flood") -> SynFlood:
        """Start a SYN flood; return once the first packet goes out."""
        command = lab_program("syn_flood", plan.model_dump_json())
        flood = self.keep(SynFlood(self.attackers, command, self.workdir, label))
        flood.wait_line("started")
        return flood

    def start_connections(self, plan: ConnectionPlan, label: str = "connections") -> ConnectionFlood:
        """Start a flood of real connections; return once the first is tried."""
        command = lab_program("connection_flood", plan.model_dump_json())
        flood = self.keep(ConnectionFlood(self.attackers, command, self.workdir, label))
        flood.wait_line("started")
        return flood

    def start_meter(self) -> Meter:
        """Start counting what the attackers offer and what reaches TCP; return once the first sample is there."""
        command = lab_program("meter", str(self.router.path))
        meter = self.keep(Meter(self.victim, command, self.workdir, "meter"))
        wait_for(meter.lines, "the meter's first sample")
        return meter

    def agent(self, config: str = "", name: str = "agent") -> Agent:
        """Return an installation of the agent in the victim, not started; one per ``name``."""
        agent = Agent(self.victim, self.workdir / name, config)
        self._agents.append(agent)
        return agent

    def keep(self, program: P) -> P:
        """Have a program killed on exit if it still runs."""
        self._programs.append(program)
        return program
