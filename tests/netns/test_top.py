"""``synguard top`` on a real terminal, beside a real agent and a real flood."""

from __future__ import annotations

import pytest

from synguard.status.model import STATUS_FILE
from tests.support.lab.agent import SYNGUARD
from tests.support.lab.flood_plan import FloodPlan, hosts
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.protection import banned, wait_for_bans
from tests.support.pty_screen import PtyScreen

pytestmark = pytest.mark.kernel

LOUD = "198.18.7.1"
BY_HAND = "198.51.100.7"


def test_a_person_watches_a_flood_bans_and_unbans_and_sees_the_agent_die(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent()
    agent.start("--enforce")
    command = lab.victim.command([SYNGUARD, "--config", str(agent.config_path), "top", "--every", "300ms"])
    with PtyScreen(command, environment={"NO_COLOR": "1"}) as screen:
        screen.wait_for("ENFORCING")
        lab.start_flood(FloodPlan(groups=(hosts(LOUD),), pps=2000, duration_s=60.0))
        wait_for_bans(agent, [LOUD])
        shown = screen.wait_for(lambda text: all(word in text for word in (LOUD, "hitting", "incident")))
        assert "? help" in shown.splitlines()[-1]

        screen.press("B", *BY_HAND, "enter")
        screen.wait_for(f"{BY_HAND} holds no TCP connections now")
        assert BY_HAND not in banned(agent), "nothing is done before a yes"
        screen.press("y")
        screen.wait_for(f"banned {BY_HAND}")
        assert banned(agent)[BY_HAND]["in_kernel"]

        screen.press(" ", "/", *BY_HAND, "enter")
        screen.wait_for("BANS 1 of 2")
        screen.press("u")
        screen.wait_for(f"remove the ban of {BY_HAND}")
        screen.press("y")
        screen.wait_for(f"removed the ban of {BY_HAND}")
        assert banned(agent).keys() == {LOUD}
        screen.press(" ", "escape")

        screen.resize(132, 40)
        wide = screen.wait_for(lambda text: len(text.splitlines()) == 40 and "? help" in text.splitlines()[39])
        assert "REASON" in wide

        status = agent.runtime_dir / STATUS_FILE
        agent.kill()
        screen.wait_for("NO AGENT RUNS")
        status.write_text("{")
        screen.wait_for("cannot be read as a status")
        assert LOUD in screen.text, "the kernel's bans are shown without an agent"
        screen.press("q")
        assert screen.wait_end() == 0


@pytest.mark.parametrize("ending", ["q", "ctrl-c"])
def test_the_terminal_is_given_back_as_it_was(lab: Lab, ending: str) -> None:
    """stty -a before and after, in one shell: echo and line mode are back, however it ended."""
    config = lab.agent().config_path
    top = f"{SYNGUARD} --config {config} top"
    script = f'before=$(stty -a); {top}; echo "ended $?"; [ "$before" = "$(stty -a)" ] && echo as it was'
    with PtyScreen(lab.victim.command(["bash", "-c", script])) as screen:
        screen.wait_for("NO AGENT RUNS")
        screen.press(ending)
        assert "ended 0" in screen.wait_for("as it was")


def test_where_the_cursor_cannot_be_moved_it_prints_one_snapshot(lab: Lab) -> None:
    command = lab.victim.command([SYNGUARD, "--config", str(lab.agent().config_path), "top"])
    with PtyScreen(command, environment={"TERM": "dumb"}) as screen:
        assert screen.wait_end() == 0
        assert "NO AGENT RUNS" in screen.text


def test_a_terminal_that_hangs_up_ends_it(lab: Lab) -> None:
    command = lab.victim.command([SYNGUARD, "--config", str(lab.agent().config_path), "top"])
    screen = PtyScreen(command)
    screen.wait_for("NO AGENT RUNS")
    screen.hang_up()
    wait_for(lambda: screen.process.poll() is not None, "top to end", 10.0)
