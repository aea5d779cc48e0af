"""The budget of automatic bans: a room for forgeable evidence, one for proven evidence, and some for the worst."""

from __future__ import annotations

from synguard.decision.budget import BudgetGate, Request
from synguard.policy.models import Budget

NONE = {True: 0, False: 0}
FORGED, REAL = Request(forgeable=True, excess=2.0), Request(forgeable=False, excess=2.0)


def spend(gate: BudgetGate, request: Request, at: float = 100.0, tries: int = 100) -> int:
    """Return how many of many bans are granted."""
    granted = 0
    for _ in range(tries):
        if gate.refusal(request, at, NONE) is None:
            gate.grant(request, at)
            granted += 1
    return granted


def test_the_budget_of_a_minute_comes_back_with_time() -> None:
    gate = BudgetGate(Budget(bans_per_minute=2))
    assert spend(gate, FORGED) == 2
    assert "bans_per_minute" in (gate.refusal(FORGED, 159.0, NONE) or "")
    assert gate.refusal(FORGED, 160.1, NONE) is None


def test_forged_decoys_do_not_spend_what_stops_real_hosts() -> None:
    gate = BudgetGate(Budget(bans_per_minute=20))
    assert spend(gate, FORGED) == 20
    assert spend(gate, REAL) == 20


def test_a_spent_budget_has_some_room_for_what_is_worse_than_half_of_the_banned() -> None:
    gate = BudgetGate(Budget(bans_per_minute=20))
    spend(gate, FORGED)
    assert spend(gate, Request(forgeable=True, excess=40.0)) == 5


def test_the_budget_guards_the_served() -> None:
    gate = BudgetGate(Budget(proven_share=0.05))
    assert gate.refusal(Request(False, 2.0, touched=5, served=100), 0, NONE) is None
    assert "6 of 100 recently served clients" in (gate.refusal(Request(False, 2.0, 6, 100), 0, NONE) or "")


def test_a_full_table_of_bans_takes_no_more_and_forged_ones_never_fill_it() -> None:
    gate = BudgetGate(Budget(active_bans=100))
    assert "active_bans" in (gate.refusal(REAL, 0, {True: 75, False: 25}) or "")
    assert "active_bans" in (gate.refusal(FORGED, 0, {True: 75, False: 0}) or "")
    assert gate.refusal(REAL, 0, {True: 75, False: 0}) is None
