"""What a running agent can still do: what it needs, in every one of its threads, and nothing that would undo it.

That floods, bans, eviction, SYN cookies, containers and repairs work with this is what every other test here shows:
their agents give up the same.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from synguard.capabilities import BITS, needed
from tests.support.lab.agent import Agent
from tests.support.lab.lab import Lab

pytestmark = pytest.mark.kernel


def capabilities(agent: Agent) -> dict[str, set[int]]:
    """Kind of set → what its threads have, as one number each."""
    found: dict[str, set[int]] = {}
    for status in Path(f"/proc/{agent.pid}/task").glob("*/status"):
        for kind, number in re.findall(r"^(Cap\w+|NoNewPrivs):\s*(\w+)$", status.read_text(), re.MULTILINE):
            found.setdefault(kind, set()).add(int(number, 16))
    return found


def mask(names: frozenset[str]) -> int:
    return sum(1 << BITS[name] for name in names)


@pytest.mark.parametrize(
    ("flags", "config", "enforces", "enters"),
    [
        (("--enforce",), "", True, True),
        ((), '[containers]\nwatch = "off"\n', True, False),
        (("--dry-run",), "", False, True),
    ],
    ids=["enforcing", "dry-run, may be told to enforce", "dry-run alone"],
)
def test_an_agent_keeps_what_it_needs_and_no_thread_of_it_more(
    lab: Lab, flags: tuple[str, ...], config: str, enforces: bool, enters: bool
) -> None:
    agent = lab.agent(config)
    agent.start(*flags, *(("--record", str(lab.workdir / "x.rec")) if enforces else ()))
    wanted = mask(needed(enforces=enforces, enters_containers=enters, challenges=True))
    found = capabilities(agent)
    assert found["CapEff"] == found["CapPrm"] == {wanted}
    assert found["CapInh"] == found["CapAmb"] == {0}
    assert found["NoNewPrivs"] == {1}
    recording = 1 << BITS["CAP_DAC_OVERRIDE"] if enforces else 0  # by then the right to narrow the bound is gone too
    assert found["CapBnd"] == {wanted | recording}
