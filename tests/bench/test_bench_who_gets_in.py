"""Who gets in during an attack, and how much of it reaches the listener: with the agent, and on the same host without.

Prints the table; asserts what docs/protection.md promises of it.
"""

from __future__ import annotations

import os

import pytest

from tests.support.side_by_side import ATTACKS, Result, run

pytestmark = [pytest.mark.kernel, pytest.mark.bench]

SHORT = bool(os.environ.get("SHORT"))
NAMES = list(ATTACKS)[:1] if SHORT else list(ATTACKS)
LEAST_SHARE = 0.99
MOST_REACHED = {"completed handshakes": 0.01, "of one /24": 0.01, "heavy sources": 0.02}
"""Words of an attack's name → the share of its SYNs that may reach the listener."""


@pytest.mark.parametrize("name", NAMES)
def test_who_gets_in_beside_the_same_host_without_the_agent(name: str) -> None:
    with_agent, without = run(ATTACKS[name], agent=True), run(ATTACKS[name], agent=False)
    print(f"\n{name}, {ATTACKS[name].pps:,.0f} SYN/s, clients that get in with the agent and without")
    for who, attempts in with_agent.clients.items():
        control = without.clients[who]
        print(f"  {who:24} {attempts.share:7.1%} of {len(attempts):5,}  {control.share:7.1%} of {len(control):5,}")
    print(f"  {'SYNs at the listener':24} {with_agent.reached:7.2%}           {without.reached:7.2%}")
    print(f"  {_done(with_agent)}; {with_agent.sent_pps:,.0f} SYN/s sent, {without.sent_pps:,.0f} without")
    for who, attempts in with_agent.clients.items():
        assert attempts.share >= LEAST_SHARE, f"{who}: {attempts.outcomes()}"
        assert attempts.share >= min(without.clients[who].share, 0.995), who
    assert with_agent.reached <= next((most for words, most in MOST_REACHED.items() if words in name), 1.5)


def _done(result: Result) -> str:
    actions = sorted(set(result.bans.values()))
    wide = [target for target in result.bans if "/" in target]
    return f"bans: {len(result.bans)} ({', '.join(actions) or 'none'}), of prefixes {', '.join(wide) or 'none'}"
