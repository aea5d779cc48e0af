"""Any sequence of wishes, failures and foreign doings ends in what is wanted, and never stops the protected."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.addresses import Network, covers, parse_network
from synguard.enforcer.iptables.set_members import member_lines
from synguard.enforcer.names import SET_NAMES
from synguard.enforcer.plane import Actual, Delta, Desired
from synguard.enforcer.reconcile.delta import after, delta, desired_members
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.errors import PlaneError
from synguard.model import FIREWALL_ACTIONS, Ban, Scope
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane
from tests.support.manual_clock import START, ManualClock

TARGETS = ["192.0.2.1", "192.0.2.2", "192.0.2.0/24", "192.0.2.0/25", "2001:db8::/64", "2001:db8::1"]
PORTS = st.lists(st.sampled_from([22, 80, 443, 8080]), max_size=3, unique=True).map(tuple)


@st.composite
def one_ban(draw: st.DrawFn) -> Ban:
    scope = draw(st.sampled_from(Scope))
    return ban(
        draw(st.sampled_from(["a", "b", "c", "d", "e"])),
        draw(st.sampled_from(TARGETS)),
        scope,
        draw(st.sampled_from(sorted(FIREWALL_ACTIONS))),
        draw(PORTS) if scope is Scope.NEW else (),
        draw(st.sampled_from([1, 5, 60, 600, None])),
        START,
    )


NETWORKS = st.frozensets(st.sampled_from(TARGETS).map(parse_network), max_size=3)


@st.composite
def wishes(draw: st.DrawFn) -> Desired:
    bans = {one.id: one for one in draw(st.lists(one_ban(), max_size=5))}
    return Desired(bans, draw(NETWORKS), draw(NETWORKS))


@given(wishes(), wishes(), st.floats(0, 700))
def test_what_a_difference_leads_to_has_no_difference(first: Desired, second: Desired, elapsed: float) -> None:
    now = START + timedelta(seconds=elapsed)
    held = after(Actual(), delta(first, Actual(), START))
    change = delta(second, held, now)
    result = after(held, change)
    assert delta(second, result, now) == Delta()
    assert after(result, change) == result


@given(wishes())
def test_no_two_claims_share_a_member(goal: Desired) -> None:
    held = desired_members(goal.bans, START)
    members = [(one.target, one.scope, one.action, port) for one in held.bans.values() for port in one.ports or (0,)]
    asked = {(one.target, one.scope, one.action, port) for one in goal.bans.values() for port in one.ports or (0,)}
    assert len(members) == len(set(members))
    assert set(members) == asked
    assert set(held.bans) | set(held.covered) == set(goal.bans)


@given(wishes(), wishes())
def test_a_member_in_both_sides_of_a_change_is_never_taken_out(first: Desired, second: Desired) -> None:
    held = after(Actual(), delta(first, Actual(), START))
    lines = [line.split(" ")[:3] for line in member_lines(delta(second, held, START), START)]
    added = {tuple(words[1:]) for words in lines if words[0] == "add"}
    removed = {tuple(words[1:]) for words in lines if words[0] == "del"}
    assert not added & removed
    assert {words[1] for words in lines} <= set(SET_NAMES)


@given(st.lists(one_ban(), max_size=8), NETWORKS)
def test_a_protected_party_is_let_through_before_every_drop(bans: list[Ban], protected: frozenset[Network]) -> None:
    goal = Desired.of(bans, protected, (), START)
    change = delta(goal, Actual(), START)
    for party in protected:
        stopped = any(covers(one.target, party) for one in change.add)
        assert not stopped or any(covers(let_through, party) for let_through in change.allow_add)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(wishes(), st.sampled_from(["calm", "fail", "wipe", "lose", "restart", "verb"]), st.floats(0, 30)),
        max_size=8,
    ),
    wishes(),
)
def test_whatever_happens_the_plane_converges(steps: list[tuple[Desired, str, float]], last: Desired) -> None:
    clock = ManualClock()
    plane = FakePlane(clock.utcnow)
    with tempfile.TemporaryDirectory() as directory:
        lock = Path(directory) / "lock"
        reconciler = Reconciler(plane, lock)
        for goal, event, seconds in steps:
            clock.advance(seconds)
            if event == "fail":
                plane.fail_next("apply", *[PlaneError("filling sets", "no luck")] * 2)
            elif event == "wipe":
                plane.wipe()
            elif event == "lose":
                plane.lose(*list(plane.actual.bans)[:1])
            elif event == "restart":
                reconciler = Reconciler(plane, lock)
            elif event == "verb":
                Reconciler(plane, lock).reconcile(goal, clock.utcnow())
            try:
                reconciler.reconcile(goal, clock.utcnow())
            except PlaneError:
                assert event == "fail"
            plane.failures.clear()
        reconciler.reconcile(last, clock.utcnow(), full=True)
        assert delta(last, plane.read(), clock.utcnow()) == Delta()
        plane.calls.clear()
        assert not reconciler.reconcile(last, clock.utcnow()).change
        assert plane.calls == []
