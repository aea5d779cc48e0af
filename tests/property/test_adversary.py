"""Random mixes of clients and attackers through detector and decision: the promises of docs/threat-model.md hold.

``make adversary`` plays many more. A counter-example that was found and mended is a scenario in
tests/scenario/test_attackers.py.
"""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synguard.model import Scope
from tests.support.duel import POLICY, Attacker, Duel, Story

EXAMPLES = int(os.environ.get("ADVERSARY_EXAMPLES", "10"))
SEARCH = settings(
    max_examples=EXAMPLES,
    derandomize="ADVERSARY_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
SLACK_S = 3.0
"""Looks at connections are a second apart, and a score may begin between two."""
LOOKED_AT_S = 1.5
"""From here on the served clients have been seen."""

PREFIXES4 = ["192.0.2.0/24", "198.51.100.0/24", "10.9.16.0/20", "10.9.0.0/16"]
PREFIXES6 = ["2001:db8:5:700::/56", "2001:db8:7::/48", "2001:db8:1:2::/64"]
NEWCOMERS = ("203.0.113.9", "9.9.9.9", "2001:db8:ffff::1", "100.64.0.1")
"""Hosts that no attacker is a neighbour of, and that have no connection yet."""
SERVED = (
    "192.0.2.201",
    "192.0.2.202",
    "198.51.100.77",
    "10.9.17.9",
    "2001:db8:1:2::77",
    "2001:db8:5:7ff::3",
    "8.8.4.4",
)

prefixes = st.sampled_from(PREFIXES4 + PREFIXES6)
begins = st.sampled_from([0.0, 0.0, 2.0, 5.0])
pulses = st.sampled_from([0.0, 0.0, 0.0, 0.5, 2.0])


def attackers(kind: str, networks: st.SearchStrategy[str], sources: tuple[int, int], size: tuple[float, float]):  # type: ignore[no-untyped-def]
    return st.builds(
        Attacker,
        kind=st.just(kind),
        network=networks,
        sources=st.integers(*sources),
        size=st.floats(*size).map(round),
        begins_s=begins,
        pulse_s=pulses,
    )


anyone = st.one_of(
    attackers("forges-one", st.sampled_from(SERVED).map(lambda one: str(ip_network(one))), (1, 1), (20, 5000)),
    attackers("forges-prefix", prefixes, (2, 120), (100, 8000)),
    attackers("forges-everywhere", st.just("0.0.0.0/0"), (1, 1), (500, 8000)),
    attackers("floods", prefixes, (1, 60), (100, 8000)),
    attackers("holds", st.sampled_from([*PREFIXES4[:2], PREFIXES6[0]]), (1, 12), (10, 1500)),
    attackers(
        "primes", st.sampled_from([*PREFIXES4, *PREFIXES6, "2001:db8:5::/48", "192.0.0.0/16"]), (1, 1), (20, 400)
    ),
)
stories = st.builds(
    Story,
    served=st.just(SERVED),
    attackers=st.lists(anyone, min_size=1, max_size=4).map(tuple),
    cookies=st.booleans(),
    challenges=st.booleans(),
)


def is_attacker(story: Story, address: str) -> bool:
    """Return whether an address holds connections or floods by itself: it is no innocent then."""
    return any(one.kind in ("floods", "holds") and address in one.addresses for one in story.attackers)


def holders(story: Story) -> list[str]:
    return [one for each in story.attackers if each.kind == "holds" for one in each.addresses]


def heaviest(story: Story) -> Attacker | None:
    """Return who holds most connections without a pause, at least twice what a source may; None if no one does."""
    limit = POLICY.limits.connections or 0
    steady = [one for one in story.attackers if one.kind == "holds" and not one.pulse_s and one.size >= 2 * limit]
    return max(steady, key=lambda one: one.size, default=None)


def innocent(story: Story) -> list[str]:
    return [one for one in story.served if not is_attacker(story, one)]


def apart(story: Story) -> list[str]:
    """Return the innocent whose /24 or /64 is not in a network that completes handshakes from all over it.

    Whoever owns it may fill the places of what is in it: with 200 places, as here, one /48 has more networks than that.
    """
    priming = [ip_network(one.network) for one in story.attackers if one.kind == "primes"]
    homes = {one: ip_network(f"{one}/{64 if ':' in one else 24}", strict=False) for one in innocent(story)}
    return [one for one, home in homes.items() if not any(home.overlaps(network) for network in priming)]  # type: ignore[arg-type]


@given(story=stories)
@SEARCH
def test_every_promise_holds_whoever_attacks(story: Story) -> None:
    """Played once for all promises, each tick: see the sentences below."""
    duel, stopped_at = Duel(story), float("inf")
    served, worst = apart(story), heaviest(story)
    while duel.at < story.seconds:
        fresh = duel.tick()
        if duel.changed:
            if duel.at > LOOKED_AT_S:
                assert [one for one in served if duel.refused(one)] == [], "a served client is never refused"
            assert [one for one in NEWCOMERS if duel.refused(one)] == [], "with SYN cookies the host alone serves them"
        if duel.at > LOOKED_AT_S:
            assert all(duel.remembered(one) for one in served), "no network fills a bounded table alone"
        for ban in fresh.bans:
            if ban.scope is Scope.ALL:
                assert not ban.forgeable, "all is stopped on handshakes alone"
                assert any(ip_address(one) in ban.target for one in holders(story)), "and of who made them"
            elif story.challenges:
                assert ban.action.challenges, "where challenges work, no one is refused on what can be forged"
        if (
            worst is not None
            and stopped_at == float("inf")
            and any(duel.refused(one, new=False) for one in worst.addresses)
        ):
            stopped_at = duel.at
    if worst is not None:
        within = worst.begins_s + POLICY.hold.connections + SLACK_S
        assert stopped_at <= within, "the heaviest proven offender is stopped within its hold"
