"""A real CrowdSec local API from Debian's package, alone: no parsers, no central API, nothing outside its namespace."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.support.lab.namespaces import LabError, Namespace
from tests.support.lab.programs import Program, wait_for

UNPACKED: Final = Path(__file__).resolve().parents[3] / ".venv" / "unpacked"
"""Where ``.ci/unpacked-packages`` unpacks it; installing it would register this machine with the central API."""
PORT: Final = 8080

_CONFIG: Final = """\
common: {{daemonize: false, log_media: stdout, log_level: info, working_dir: .}}
config_paths:
  config_dir: {home}/config/
  data_dir: {home}/data/
  simulation_path: {home}/config/simulation.yaml
  hub_dir: {home}/hub/
  index_path: {home}/hub/.index.json
  notification_dir: {home}/config/notifications/
  plugin_dir: {home}/plugins/
cscli: {{output: json}}
db_config: {{log_level: info, type: sqlite, use_wal: true, db_path: {home}/data/crowdsec.db}}
api:
  client: {{insecure_skip_verify: false, credentials_path: {home}/config/local.yaml}}
  server:
    log_level: info
    listen_uri: {address}:{port}
    profiles_path: {home}/config/profiles.yaml
    trusted_ips: [127.0.0.1, {address}]
prometheus: {{enabled: false}}
"""


@cache
def program(name: str) -> str:
    """Return the path of ``crowdsec`` or ``cscli``.

    Raises:
        LabError: The package has not been unpacked.
    """
    found = UNPACKED / "usr/bin" / name
    if not found.exists():
        raise LabError(f"{found} is missing: run .ci/unpacked-packages")
    return str(found)


class LocalApi:
    """One local API; it can be killed and started again, its database stays."""

    def __init__(self, namespace: Namespace, home: Path, address: str = "127.0.0.1") -> None:
        self.namespace, self._home, self._address = namespace, home, address
        self._program: Program | None = None
        for name in ("config/notifications", "data", "hub", "plugins"):
            (home / name).mkdir(parents=True, exist_ok=True)
        (home / "hub/.index.json").write_text("{}")
        (home / "config/simulation.yaml").write_text("simulation: false\n")
        (home / "config/profiles.yaml").write_text(
            "name: default\nfilters: ['Alert.Remediation == true']\ndecisions: [{type: ban, duration: 4h}]\n"
        )
        (home / "config/local.yaml").write_text(f"url: http://{address}:{PORT}\n")
        (home / "config.yaml").write_text(_CONFIG.format(home=home, address=address, port=PORT))
        self.machine("admin", "admin-password", credentials=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self._address}:{PORT}"

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self._home / "data/crowdsec.db"

    @property
    def pid(self) -> int:
        """Its process."""
        if self._program is None:
            raise LabError("the local API was never started")
        return self._program.process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [program("crowdsec"), "-c", str(self._home / "config.yaml"), "-no-cs"]
        started = self._program = Program(self.namespace, command, self._home, "crowdsec")

        def answers() -> bool:
            if not started.running:
                raise LabError(f"crowdsec ended: {started.stderr[-1000:]}")
            listening = self.namespace.run(["ss", "-Htln", f"sport = :{PORT}"])
            return f"{self._address}:{PORT}" in listening

        wait_for(answers, "the local API to listen", 30)

    def kill(self) -> None:
        """End it at once."""
        if self._program is not None:
            self._program.kill_if_running()

    def cscli(self, *arguments: str) -> str:
        """Run ``cscli`` beside it and return what it printed."""
        return self.namespace.run([program("cscli"), "-c", str(self._home / "config.yaml"), *arguments])

    def key(self, name: str) -> str:
        """Register a bouncer and return its key."""
        self.cscli("bouncers", "add", name, "--key", f"key-of-{name}")
        return f"key-of-{name}"

    def machine(self, name: str, password: str, *, credentials: bool = False) -> None:
        """Register a machine; ``credentials`` makes it the one that ``cscli`` speaks as."""
        file = self._home / ("config/local.yaml" if credentials else f"config/{name}.yaml")
        self.cscli("machines", "add", name, "--password", password, "--file", str(file), "--force")

    def decide(self, value: str, duration: str = "4h", *, kind: str = "ban") -> None:
        """Add a decision by hand."""
        scope = "--range" if "/" in value else "--ip"
        self.cscli("decisions", "add", scope, value, "--duration", duration, "--type", kind)

    def undo(self, value: str) -> None:
        """Delete the decisions about a value."""
        self.cscli("decisions", "delete", "--range" if "/" in value else "--ip", value)

    def decisions(self) -> list[dict[str, Any]]:
        """Return the decisions that stand, as alerts list them."""
        alerts = json.loads(self.cscli("decisions", "list") or "null") or []
        return [decision for alert in alerts for decision in alert["decisions"] or []]

    def alerts(self) -> list[dict[str, Any]]:
        """Return all alerts, newest first."""
        return list(json.loads(self.cscli("alerts", "list", "--all") or "null") or [])
