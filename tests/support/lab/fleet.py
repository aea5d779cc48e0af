"""Several hosts with real agents, a real CrowdSec local API, and attackers, on one bridge; all gone on exit."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final

from synguard.addresses import format_network
from synguard.ledger import LEDGER_FILE, LedgerReader
from tests.support.lab.agent import Agent
from tests.support.lab.crowdsec import LocalApi
from tests.support.lab.flood_plan import FloodPlan
from tests.support.lab.namespaces import Namespace, new_prefix, new_workdir, python_module
from tests.support.lab.programs import Program, wait_for
from tests.support.lab.topology import ATTACK_GATEWAY_MAC, VICTIM4, Victim
from tests.support.lab.webserver import start_nginx
from tests.support.network_thread import NetworkThread

API: Final = "10.8.0.1"
ATTACKERS: Final = ("10.8.0.66", "2001:db8:8::66")
SITES: Final = ("203.0.113.0/24", "2001:db8:a::/48")
"""Networks whose every address the attackers own."""
FORGED: Final = "198.51.100.0/24"
"""A network that they only write into packets: nothing answers there."""
EACH: Final = 120
"""Connections of one attacker: three times what the policy of these hosts allows."""
POLICY: Final = """\
[[policy]]
name = "fleet"
about = "any service; limits that a test reaches in a second"
ports = "any"
[policy.limits]
connections = 40
connection_rate = 20000
syn_rate = 100
half_open = 40
[policy.hold]
connections = "0.5s"
[policy.bans]
first = "10m"
"""
CONFIG: Final = """\
policies = ["{policy}"]
[crowdsec]
url = "{url}"
api_key_file = "{home}/key"
machine_id = "{name}"
password_file = "{home}/password"
poll = "{poll_s}s"
{more}
"""


class FleetHost:
    """One host of the fleet: its namespace, its web server, its agent."""

    def __init__(self, namespace: Namespace, home: Path, name: str, addresses: tuple[str, str]) -> None:
        self.namespace, self.home, self.name, self.addresses = namespace, home, name, addresses
        home.mkdir()
        self.agent = Agent(namespace, home / "agent")

    def config(self, api: LocalApi, poll_s: float, more: str = "") -> None:
        """Register it with the local API and write its config."""
        for file, secret in (("key", api.key(self.name)), ("password", f"password-of-{self.name}")):
            (self.home / file).write_text(secret + "\n")
            (self.home / file).chmod(0o600)
        api.machine(self.name, f"password-of-{self.name}")
        policy = self.home / "fleet.toml"
        policy.write_text(POLICY)
        text = CONFIG.format(policy=policy, url=api.url, home=self.home, name=self.name, poll_s=poll_s, more=more)
        self.agent.write_config(text)

    def bans(self) -> dict[str, str]:
        """Return target → origin of the bans that stand, as the ledger has them."""
        with LedgerReader.open(self.agent.state_dir / LEDGER_FILE) as ledger:
            active = ledger.active_bans(datetime.now(UTC)).values()
            return {format_network(ban.target): str(ban.origin) for ban in active}

    def counts(self, peer: str) -> dict[str, int]:
        """Return what the agent says of one of its peers."""
        return next((one.counts for one in self.agent.status().peers if one.name == peer), {})


class FleetNetwork:
    """The bridge and what is on it; the agents are not started."""

    def __init__(self, hosts: int, poll_s: float, more: str = "") -> None:
        prefix = new_prefix()
        self._held = ExitStack()
        self._switch, self._api, self._attackers = (Namespace(f"{prefix}-{one}") for one in ("switch", "lapi", "bad"))
        self._namespaces = [Namespace(f"{prefix}-host{number}") for number in range(hosts)]
        self._poll_s, self._more = poll_s, more
        self.hosts: list[FleetHost] = []

    def __enter__(self) -> FleetNetwork:
        try:
            self._build()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def connects(self, source: str, host: FleetHost) -> bool:
        """Return whether an attacker's address gets a connection to a host."""
        return self._at_attackers.call(_connects, source, host.addresses[":" in source])

    def hold(self, source: str, host: FleetHost) -> None:
        """Open and hold more connections than a source may have."""
        self._at_attackers.call(_hold, self._sockets, source, host.addresses[":" in source])

    def let_go(self, *at: FleetHost) -> None:
        """Close every connection that is held, and what is left of them at hosts that a ban keeps from hearing it."""
        for one in self._sockets:
            one.close()
        self._sockets.clear()
        for host in at:
            host.namespace.run(["ss", "-K", "sport", "=", ":80"])

    def flood(self, plan: FloodPlan) -> Program:
        """Send SYNs to the first host, from any source address at all."""
        command = python_module("tests.support.lab.syn_flood", plan.model_dump_json())
        program = Program(self._attackers, command, self.workdir, "flood")
        self._held.callback(program.kill_if_running)
        program.wait_line("started")
        return program

    def unplug(self, host: FleetHost, *, plugged: bool = False) -> None:
        """Take a host off the network, or put it back."""
        self._switch.ip([f"link set port-{host.name} {'up' if plugged else 'down'}"])

    def _build(self) -> None:
        self.workdir = new_workdir()
        self._held.callback(shutil.rmtree, self.workdir, ignore_errors=True)
        for namespace in (self._switch, self._api, self._attackers, *self._namespaces):
            namespace.add()
            self._held.callback(namespace.remove_if_present)
        self._switch.ip(["link add br0 type bridge", "link set br0 up"])
        self._join(self._api, "lapi", (API, "2001:db8:8::1"))
        self._join(self._attackers, "bad", ATTACKERS)
        self._attackers.ip([f"route add local {site} dev lo" for site in SITES])
        self._attackers.sysctl({"net.ipv6.ip_nonlocal_bind": 1, "net.ipv4.ip_local_port_range": "1024 65000"})
        self.api = LocalApi(self._api, self.workdir / "lapi", API)
        self._held.callback(self.api.kill)
        self.api.start()
        for number, namespace in enumerate(self._namespaces):
            self.hosts.append(self._host(namespace, number))
        self._sockets: list[socket.socket] = []
        self._held.callback(self.let_go)
        self._at_attackers = NetworkThread(self._attackers)
        self._held.callback(self._at_attackers.close)

    def _host(self, namespace: Namespace, number: int) -> FleetHost:
        name, addresses = f"host{number}", (f"10.8.0.{number + 11}", f"2001:db8:8::{number + 11}")
        self._join(namespace, name, addresses)
        namespace.ip([f"route add {site} via {ATTACKERS[':' in site]}" for site in (*SITES, FORGED)])
        if number == 0:  # what the flood's raw frames are addressed to
            namespace.ip([f"link set eth0 address {ATTACK_GATEWAY_MAC}", f"addr add {VICTIM4}/32 dev lo"])
        host = FleetHost(namespace, self.workdir / name, name, addresses)
        self._held.callback(host.agent.kill_if_running)
        self._held.callback(start_nginx(namespace, host.home, (80,), Victim()).kill_if_running)
        host.config(self.api, self._poll_s, self._more)
        return host

    def _join(self, namespace: Namespace, name: str, addresses: Sequence[str]) -> None:
        self._switch.ip(
            [
                f"link add port-{name} type veth peer name eth0 netns {namespace.name}",
                f"link set port-{name} master br0 up",
            ]
        )
        namespace.ip(
            [f"addr add {addresses[0]}/24 dev eth0", f"addr add {addresses[1]}/64 dev eth0 nodad", "link set eth0 up"]
        )


def wait_until_banned(host: FleetHost, *targets: str, origin: str) -> None:
    """Wait until these targets are banned on a host, by this origin."""
    wanted = dict.fromkeys(targets, origin)
    wait_for(lambda: wanted.items() <= host.bans().items(), f"{host.name} to ban {', '.join(targets)}", 60, every=0.1)


def _socket(source: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
    made.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND: the whole network is local
    made.bind((source, 0))
    return made


def _connects(source: str, target: str) -> bool:
    with _socket(source) as made:
        made.settimeout(0.5)
        try:
            made.connect((target, 80))
        except OSError:
            return False
    return True


def _hold(kept: list[socket.socket], source: str, target: str) -> None:
    for _ in range(EACH):
        made = _socket(source)
        made.setblocking(False)
        made.connect_ex((target, 80))
        kept.append(made)
