"""The shipped unit, started by systemd itself: what it may do, what it says, and that its end costs nobody a ban."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.lab.service_host import INSIDE, ServiceHost, why_no_service_manager
from tests.support.protection import SMALL_PPS, flood_of, hosts, wait_for_relief

pytestmark = pytest.mark.kernel

UNIT = Path(__file__).parents[2] / "synguard/share/systemd/synguard.service"
LOUD = "198.18.7.1"
CAPABILITIES = {"net_admin": 12, "net_raw": 13, "dac_read_search": 2, "sys_ptrace": 19, "sys_admin": 21}
FOR_CHALLENGES = {"perfmon": 38, "bpf": 39}
"""What the unit allows beyond that; given up where challenges are switched off, and not regained: NoNewPrivs."""
DROP_IN = f"""\
[Service]
Environment=SYNGUARD_CONFIG={INSIDE}/synguard.toml
StandardOutput=append:{INSIDE}/agent.log
StandardError=append:{INSIDE}/agent.log
WatchdogSec=3s
RestartSec=100ms
"""


def service(lab: Lab, config: str = 'mode = "enforce"\n') -> ServiceHost:
    if trouble := why_no_service_manager():
        pytest.skip(trouble)
    home = lab.workdir / "host"
    home.mkdir()
    (home / "synguard.toml").write_text(config)
    return ServiceHost(lab.victim, home, UNIT, DROP_IN)


def log_of(host: ServiceHost) -> str:
    return (host.home / "agent.log").read_text(errors="replace")


def bans(host: ServiceHost) -> dict[str, Any]:
    config = f"SYNGUARD_CONFIG={INSIDE}/synguard.toml"
    found = json.loads(host.run("env", config, "synguard", "bans", "--json"))
    return {ban["target"]: ban for ban in found}


def capabilities(host: ServiceHost, kind: str) -> int:
    return int(re.findall(rf"^{kind}:\s*(\w+)", host.proc("status"), re.MULTILINE)[0], 16)


def test_the_unit_protects_within_its_bounds_and_a_hung_agent_is_replaced_by_one_that_adopts_its_bans(
    lab: Lab,
) -> None:
    lab.serve()
    with service(lab) as host:
        host.wait_active()
        it_may_do_what_it_needs_and_no_more(host)
        it_can_challenge(host)
        meter, flood = lab.start_meter(), lab.start_flood(flood_of(hosts(LOUD), pps=SMALL_PPS))
        wait_for_relief(meter, flood)
        wait_for(lambda: LOUD in bans(host), "the ban in the ledger")
        wait_for(lambda: "1 ban" in host.properties()["StatusText"], "systemd to know of the ban", every=0.1)
        flood.stop()
        stood = bans(host)[LOUD]
        assert stood["in_kernel"]
        it_reloads_when_told(host)
        it_is_replaced_when_it_hangs(host)
        after = bans(host)[LOUD]
        assert (after["id"], after["in_kernel"]) == (stood["id"], True)
        host.run("systemctl", "stop", host.name)
        assert host.properties()["Result"] == "success"
        after = bans(host)[LOUD]
        assert (after["active"], after["in_kernel"]) == (True, False), "a stop ends challenges"


def it_may_do_what_it_needs_and_no_more(host: ServiceHost) -> None:
    wanted = sum(1 << bit for bit in (CAPABILITIES | FOR_CHALLENGES).values())
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert capabilities(host, kind) == wanted, kind
    assert capabilities(host, "CapInh") == capabilities(host, "CapAmb") == 0
    assert re.search(r"^NoNewPrivs:\s*1$", host.proc("status"), re.MULTILINE)
    assert re.search(r"^Seccomp:\s*2$", host.proc("status"), re.MULTILINE)
    for name in ("tcp_syncookies", "tcp_timestamps"):
        path = f"/proc/sys/net/ipv4/{name}"
        assert host.in_service("sh", "-c", f"cat {path} >{path}").returncode == 0
    for path in ("/etc/x", "/usr/x", "/run/x", "/var/lib/x", "/root/x", "/proc/sys/net/ipv4/tcp_retries2"):
        done = host.in_service("sh", "-c", f"echo 1 >{path}")
        assert "ead-only file system" in done.stderr, f"{path} can be written"
    modes = host.in_service("stat", "-c", "%a %U", "/var/lib/synguard", "/run/synguard", "/run/xtables.lock")
    assert modes.stdout.splitlines() == ["700 root", "700 root", "600 root"]


def it_can_challenge(host: ServiceHost) -> None:
    """The unit forbade the system call: challenges worked wherever no test of them started the agent as a service."""
    status = ("env", f"SYNGUARD_CONFIG={INSIDE}/synguard.toml", "synguard", "status", "--json")
    found = wait_for(lambda: (one := json.loads(host.run(*status))["challenges"])["works"] and one, log_of(host), 10)
    assert found["why_not"] == ""


def it_reloads_when_told(host: ServiceHost) -> None:
    pid = host.main_pid()
    (host.home / "synguard.toml").write_text('mode = "enforce"\npolicies = ["web", "default"]\n')
    host.run("systemctl", "reload", host.name)
    wait_for(lambda: "reloaded: policies" in log_of(host), "the policies to be reloaded", every=0.1)
    wait_for(lambda: host.properties()["ActiveState"] == "active", "the reload to be over", every=0.1)
    assert host.main_pid() == pid


def it_is_replaced_when_it_hangs(host: ServiceHost) -> None:
    pid = host.main_pid()
    host.run("kill", "-STOP", str(pid))
    wait_for(lambda: host.properties()["NRestarts"] == "1", "the watchdog to replace the agent", 30, every=0.2)
    host.wait_active()
    assert host.main_pid() != pid


def test_an_agent_that_cannot_use_its_config_is_not_started_again_and_again(lab: Lab) -> None:
    with service(lab, "mode = 7\n") as host:
        wait_for(lambda: host.properties()["ActiveState"] == "failed", "the service to fail", every=0.1)
        known = host.properties()
        assert (known["ExecMainStatus"], known["NRestarts"]) == ("2", "0")
        assert "synguard: /run/work/synguard.toml: mode:" in log_of(host)
