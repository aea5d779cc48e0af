"""Screenshots of ``synguard top`` and ``synguard review`` under a real flood, in namespaces of their own.

``make screenshots PICTURES=terminal`` makes these alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support.lab.agent import SYNGUARD, Agent
from tests.support.lab.client_plan import steady
from tests.support.lab.flood_plan import FloodPlan, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.topology import Victim
from tests.support.protection import scattered, wait_for_bans
from tests.support.pty_screen import PtyScreen
from tests.support.terminal_picture import picture

SMALL: Final = (80, 24)
WIDE: Final = (132, 34)
_FLOOD: Final = FloodPlan(
    groups=(prefix("198.18.7.0/24"), hosts(*scattered(5))),
    pps=9000,
    duration_s=110.0,
)
"""One network, and some loud sources."""


def take_all(to: Path) -> None:
    """Write every picture of ``top`` and ``review``."""
    to.mkdir(parents=True, exist_ok=True)
    with Lab(Victim(syncookies=0, backlog=128)) as lab:
        lab.serve()
        agent = lab.agent()
        agent.start()
        for target in ("198.51.100.0/24", "2001:db8:bad:1::/64"):
            assert agent.verb("ban", target, "--for", "2h", "--reason", "ticket 4711").returncode == 0
        lab.start_clients(steady(clients=40, rate=40, duration_s=110, timeout_s=2))
        lab.start_flood(_FLOOD)
        wait_for_bans(agent, ["198.18.7.0/24"])
        _top(lab, agent, SMALL, to / "top-dry-run-no-colour.png", environment={"NO_COLOR": "1"})
        assert agent.verb("enable", "--confirm-within", "10m", "--yes").returncode == 0
        wait_for_bans(agent, ["198.18.7.0/24"])
        _top(lab, agent, SMALL, to / "top.png")
        _top(lab, agent, WIDE, to / "top-wide.png", keys=("s", "down", "enter"))
        _top(lab, agent, SMALL, to / "top-ban.png", keys=("B", *"203.0.113.0/24", "enter"), until="y yes")
        _review(lab, agent, to / "review.png")


def _top(
    lab: Lab,
    agent: Agent,
    size: tuple[int, int],
    to: Path,
    *,
    keys: tuple[str, ...] = (),
    until: str = "BANS",
    environment: dict[str, str] | None = None,
) -> None:
    with PtyScreen(_command(lab, agent, "top"), *size, environment or {}) as screen:
        screen.wait_for("198.18.7.0/24")
        screen.read_for(3.0)  # two looks, so that rates are known
        screen.press(*keys)
        screen.wait_for(until)
        screen.read_for(1.5)
        picture(screen, "synguard top", to)


def _review(lab: Lab, agent: Agent, to: Path) -> None:
    with PtyScreen(_command(lab, agent, "review", "--within", "any"), 100, 30) as screen:
        for number in range(1, 5):
            screen.wait_for(f"{number}/")
            screen.press("enter" if number < 4 else "a")
        screen.wait_for("change")
        screen.read_for(0.5)
        picture(screen, "synguard review --within any", to)
        screen.press("n", "enter")


def _command(lab: Lab, agent: Agent, *words: str) -> list[str]:
    return lab.victim.command([SYNGUARD, "--config", str(agent.config_path), *words])
