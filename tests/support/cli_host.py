"""A host for the command line without a kernel: its own directories, a plane in memory, sockets as the test says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from synguard.addresses import Network, parse_network
from synguard.cli.main import app
from synguard.doctor import coverage
from synguard.enforcer.plane import Plane
from synguard.ledger import LEDGER_FILE, BanRecord, Ledger
from synguard.operator.enablement import Login
from synguard.policy.models import Allow, Config
from synguard.readings import Listener, Protected
from synguard.sensors.added_allow import added_networks
from synguard.socket_table import SocketTable, TcpState
from tests.support.fake_plane import FakePlane

OWN = "192.0.2.1"
GATEWAY = "192.0.2.254"


class Ran:
    """What one call of the command line did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        """Its stdout as JSON."""
        return json.loads(self.out)


class CliHost:
    """Calls verbs as an operator does; what the verbs reach outside of the process is here instead."""

    def __init__(self, base: Path, patch: pytest.MonkeyPatch) -> None:
        self.base = base
        self.state, self.runtime = base / "state", base / "run"
        self.plane = FakePlane()
        self.protected: dict[Network, str] = {parse_network(GATEWAY): "default gateway via eth0"}
        self.problems: tuple[str, ...] = ()
        self.sockets: SocketTable = SocketTable.none()
        self.udp_sockets: SocketTable = SocketTable.none()
        self.listening: tuple[Listener, ...] = ()
        self.config = base / "synguard.toml"
        self.configure()
        patch.setenv("SYNGUARD_CONFIG", str(self.config))
        for name in ("SSH_CONNECTION", "SSH_CLIENT", "SYNGUARD_DEBUG"):
            patch.delenv(name, raising=False)
        self.login = Login()
        patch.setattr("synguard.operator.login.login_here", lambda: self.login)
        patch.setattr("synguard.enforcer.choose.choose_plane", self._choose)
        patch.setattr("synguard.sensors.protected.read_protected", self._read_protected)
        patch.setattr("synguard.sensors.protected.own_addresses", lambda: {parse_network(OWN): "own address of eth0"})
        patch.setattr("synguard.sensors.sockets.SocketTables", lambda **_: self)
        patch.setattr("synguard.sensors.few_sockets.FEW", 0)  # nobody asks this kernel
        patch.setattr("synguard.sensors.veth_links.read_veth_peers", list)
        patch.setattr("synguard.capabilities.missing_capabilities", tuple)
        patch.setattr(coverage, "read_coverage", lambda config, own, now: coverage.Coverage())

    def configure(self, text: str = "") -> None:
        """Write the config file: the two directories, and more lines."""
        self.config.write_text(f'state_dir = "{self.state}"\nruntime_dir = "{self.runtime}"\n{text}', encoding="utf-8")

    def run(self, *words: str, stdin: str = "") -> Ran:
        """Call ``synguard`` with these words."""
        result = CliRunner().invoke(app, list(words), input=stdin, catch_exceptions=False)
        return Ran(result.exit_code, result.stdout, result.stderr)

    def ledger(self) -> Ledger:
        """Open the ledger that the verbs use."""
        return Ledger.open(self.state / LEDGER_FILE)

    def records(self) -> list[BanRecord]:
        """Return every ban the ledger ever held; none where no verb made a ledger."""
        if not (self.state / LEDGER_FILE).exists():
            return []
        with self.ledger() as ledger:
            return ledger.bans_since(datetime.fromtimestamp(0, UTC))

    def active_bans(self) -> set[str]:
        """Return the targets of bans that stand in the ledger."""
        return {str(record.ban.target) for record in self.records() if record.stands(datetime.now(UTC))}

    def held(self) -> set[str]:
        """Return the targets that the plane holds."""
        return {str(one.target) for one in self.plane.actual.bans.values()}

    def connect(self, *peers: tuple[str, TcpState]) -> None:
        """Let these remote addresses hold a socket in these states."""
        self.sockets = self._table(*peers)

    def connect_udp(self, *peers: str) -> None:
        """Let UDP sockets be connected to these addresses."""
        self.udp_sockets = self._table(*((peer, TcpState.ESTABLISHED) for peer in peers))

    def _table(self, *peers: tuple[str, TcpState]) -> SocketTable:
        remote = [int(ip_address(address)) | (0xFFFF << 32 if "." in address else 0) for address, _ in peers]
        rows = len(peers)
        return SocketTable(
            state=np.array([state for _, state in peers], np.uint8),
            local_high=np.zeros(rows, np.uint64),
            local_low=np.full(rows, 1, np.uint64),
            local_port=np.full(rows, 80, np.uint16),
            remote_high=np.array([one >> 64 for one in remote], np.uint64),
            remote_low=np.array([one & (1 << 64) - 1 for one in remote], np.uint64),
            remote_port=np.arange(rows, dtype=np.uint16),
            recv_queue=np.zeros(rows, np.uint32),
            send_queue=np.zeros(rows, np.uint32),
            cookie=np.zeros(rows, np.uint64),
        )

    source = "sock_diag"
    refusal = ""

    def tcp(self, states: Iterable[TcpState]) -> SocketTable:
        """Return the sockets in these states, as the sensor does."""
        return self.sockets.where(np.isin(self.sockets.state, [int(state) for state in states]))

    def udp(self) -> SocketTable:
        """Return the connected UDP sockets, as the sensor does."""
        return self.udp_sockets

    def count_half_open(self) -> int:
        """Return how many sockets are in ``SYN_RECV``."""
        return int((self.sockets.state == TcpState.SYN_RECV).sum())

    def listeners(self, now: float) -> tuple[Listener, ...]:
        """Return who listens, as the sensor does."""
        return self.listening

    def served_ports(self, now: float) -> frozenset[int]:
        """Return the ports that listen."""
        return frozenset(one.port for one in self.listeners(now))

    def close(self) -> None:
        """Hold nothing open."""

    def _choose(self, config: Config) -> Plane:
        self.plane.check()
        return self.plane

    def _read_protected(self, allow: Allow, *_: object, **__: object) -> Protected:
        listed = dict.fromkeys(allow.addresses, "allow-list of the configuration")
        added = added_networks(allow.added, datetime.now(UTC), {}) if allow.added else {}
        return Protected({**self.protected, **listed, **added}, self.problems)
