"""Any interleaving of wishes, foreign changes and faults ends in what is wanted; nothing foreign is touched."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from synguard.enforcer.plane import Delta, Desired
from synguard.enforcer.reconcile.delta import delta
from synguard.enforcer.reconcile.reconciler import SLOWEST, Reconciler
from synguard.errors import ChangedUnderneathError, PlaneError
from tests.property.test_reconciler import wishes
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane, PatientFake
from tests.support.manual_clock import ManualClock

FAULTS = (
    PlaneError("filling ipsets", "Cannot allocate memory"),
    ChangedUnderneathError("committing iptables raw", "Resource temporarily unavailable"),
)


class Life(RuleBasedStateMachine):
    """One host: our passes, tools of others between any two of our calls, and a kernel that fails now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._lock = Path(self._directory.name) / "lock"
        self.clock = ManualClock()
        self.plane = self._new_plane()
        self.reconciler = self._new_reconciler()
        self.goal = Desired()
        self.foreign: list[str] = []
        self.ever: dict[str, str] = {}
        """Ban id → its target, of every ban that was ever wanted."""

    def _new_plane(self) -> FakePlane:
        return FakePlane(self.clock.utcnow)

    def _new_reconciler(self) -> Reconciler:
        return Reconciler(self.plane, self._lock)

    @rule(goal=wishes())
    def wish(self, goal: Desired) -> None:
        self.goal = goal
        self.ever |= {one.id + str(one.target): str(one.target) for one in goal.bans.values()}

    @rule()
    def bring(self) -> None:
        with suppress(PlaneError):
            self.reconciler.reconcile(self.goal, self.clock.utcnow())

    @rule(seconds=st.floats(0.05, 400))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(hours=st.sampled_from([-1, 1]))
    def set_the_clock(self, hours: int) -> None:
        self.clock.jump(3600 * hours)

    @rule()
    def restart(self) -> None:
        self.reconciler = self._new_reconciler()

    @rule(step=st.sampled_from(["read", "apply"]), fault=st.sampled_from(FAULTS), times=st.integers(1, 3))
    def fail(self, step: str, fault: PlaneError, times: int) -> None:
        self.plane.fail_next(step, *[fault] * times)

    @rule(calls=st.integers(0, 2), what=st.sampled_from(["wipe", "lose", "damage", "intrude"]))
    def meddle(self, calls: int, what: str) -> None:
        """Let another tool act before one of our next calls."""
        if what == "intrude":
            self.foreign.append(f"rule {len(self.foreign)}")
        name = self.foreign[-1] if self.foreign else ""

        def act(plane: FakePlane) -> None:
            if what == "wipe":
                plane.wipe()
            elif what == "lose":
                plane.lose(*list(plane.actual.bans)[:1])
            elif what == "damage":
                plane.damage("the jump from INPUT")
            else:
                plane.tamper(name)

        self.plane.meanwhile += [*([lambda _: None] * calls), act]

    @precondition(lambda self: self.goal.bans)
    @rule()
    def another_process_bans(self) -> None:
        """A verb has put a ban into ledger and kernel; the agent learns of it from the ledger."""
        target = f"198.51.100.{len(self.ever) % 250}"
        order = ban("verb", target, start=self.clock.utcnow())
        self.ever[order.id + target] = target + "/32"
        self.goal = Desired({**self.goal.bans, order.id: order}, self.goal.allow, self.goal.proven)
        with suppress(PlaneError):
            Reconciler(self.plane, self._lock).reconcile(self.goal, self.clock.utcnow())

    @invariant()
    def nobody_is_stopped_whom_no_wish_named(self) -> None:
        assert {str(held.target) for held in self.plane.actual.bans.values()} <= set(self.ever.values())

    @invariant()
    def what_is_foreign_is_there(self) -> None:
        pending = sum(1 for one in self.plane.meanwhile if one.__name__ == "act")
        assert len(self.foreign) - pending <= len(self.plane.actual.foreign) <= len(self.foreign)

    def teardown(self) -> None:
        """Once nobody meddles and nothing fails, one look comes within the longest patience, and all is well."""
        self.plane.meanwhile.clear()
        self.plane.failures.clear()
        passed = timedelta()
        while passed <= SLOWEST + timedelta(seconds=5 * (PatientFake.PIECES + 1)):
            with suppress(PlaneError):
                self.reconciler.reconcile(self.goal, self.clock.utcnow())
            self.clock.advance(5)
            passed += timedelta(seconds=5)
        with suppress(PlaneError):
            self.reconciler.reconcile(self.goal, self.clock.utcnow())
        foreign = self.plane.actual.foreign
        assert delta(self.goal, self.plane.read(), self.clock.utcnow()) == Delta()
        assert self.plane.actual.foreign == foreign
        self._directory.cleanup()


class PatientLife(Life):
    """The same, looked back at in pieces, whatever happens between them."""

    def _new_plane(self) -> FakePlane:
        return PatientFake(self.clock.utcnow)

    def _new_reconciler(self) -> Reconciler:
        return Reconciler(self.plane, self._lock, patient_from=0)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=25)

TestPatientLife = PatientLife.TestCase
TestPatientLife.settings = settings(max_examples=60, stateful_step_count=25)
