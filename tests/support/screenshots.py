"""Pictures for the documentation, made under a real flood (``make screenshots``); name some to make only those.

A picture is a function in ``PICTURES`` that is given the directory of the documents' images and writes into it. Floods
happen in network namespaces of their own: the machine's own network and firewall are not touched.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.support.browser import Shown, chromium
from tests.support.lab.agent import Agent
from tests.support.lab.client_plan import steady
from tests.support.lab.flood_plan import FloodPlan, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.namespaces import LabError, why_unavailable
from tests.support.lab.topology import Victim
from tests.support.screenshots_terminal import take_all

IMAGES: Final = Path(__file__).parents[2] / "docs/images"
MOST_BYTES: Final = 200_000
"""A picture larger than this does not belong into a repository."""

_WEB1: Final = ("unshare", "--uts", "sh", "-c", 'hostname web1 && exec "$@"', "sh")
"""Runs a command on a host called web1, whatever this machine is called."""


def report(images: Path) -> None:
    """Dry-run through two floods and a restart; picture the report on a phone, a desktop, in the dark, printed."""
    with Lab(Victim(syncookies=0, backlog=128)) as lab:
        lab.serve()
        agent = lab.agent()
        page = lab.workdir / "report.html"
        _live_through(lab, agent)
        done = agent.verb("report", "--since", "3m", "-o", str(page), wrapper=_WEB1)
        if done.returncode:
            raise LabError(f"synguard report: {done.stderr.strip()}")
        _picture(page, images)


def _live_through(lab: Lab, agent: Agent) -> None:
    """Serve clients for two minutes: a flood from one network, a restart, a flood of forged sources with a loud one."""
    lab.start_clients(steady(clients=40, rate=40, duration_s=200, timeout_s=2.0))
    agent.start("--dry-run")
    time.sleep(40)
    _flood(lab, FloodPlan(groups=(prefix("198.18.7.0/24", distinct=128),), pps=10_000, duration_s=25))
    time.sleep(30)
    agent.stop()
    time.sleep(12)
    agent.start("--dry-run")
    time.sleep(12)
    loud = hosts("203.0.113.5", weight=0.15)
    _flood(lab, FloodPlan(groups=(anywhere(4), loud), pps=6_000, duration_s=20))
    time.sleep(25)


def _flood(lab: Lab, plan: FloodPlan) -> None:
    lab.start_flood(plan)
    time.sleep(plan.duration_s)


def _picture(page: Path, images: Path) -> None:
    with chromium() as browser:
        phone = Shown(browser, page, (390, 1450))
        phone.page.screenshot(path=images / "report-phone.png")
        desktop = Shown(browser, page, (1000, 1330))
        desktop.page.screenshot(path=images / "report.png")
        dark = Shown(browser, page, (1000, 900), "dark")
        dark.ask("document.getElementById('timeline').scrollIntoView()")
        dark.page.screenshot(path=images / "report-dark.png")
        printed = Shown(browser, page, (860, 1216))
        printed.page.emulate_media(media="print")
        printed.ask("document.body.style.padding = '14mm'")
        printed.page.screenshot(path=images / "report-print.png")


PICTURES: Final[dict[str, Callable[[Path], None]]] = {"report": report, "terminal": take_all}
"""Name → what makes the pictures of it."""


def main(names: Sequence[str]) -> int:
    """Make the pictures of these names, or all; return the exit code."""
    unknown = set(names) - set(PICTURES)
    if unknown:
        print(f"there is no picture {', '.join(sorted(unknown))}; there are: {', '.join(PICTURES)}", file=sys.stderr)
        return 2
    if trouble := why_unavailable():
        print(f"Pictures cannot be made here: {trouble}.", file=sys.stderr)
        return 4
    IMAGES.mkdir(exist_ok=True)
    for name in names or PICTURES:
        PICTURES[name](IMAGES)
    large = [one for one in IMAGES.iterdir() if one.stat().st_size > MOST_BYTES]
    for path in sorted(IMAGES.glob("*.png")):
        print(f"{path.relative_to(IMAGES.parents[1])}  {path.stat().st_size / 1000:.0f} kB")
    if large:
        print(f"too large for a repository: {', '.join(one.name for one in large)}", file=sys.stderr)
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
