"""Two processes with an order each: whoever waits for the other's lock must not undo what the other did meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from synguard.enforcer.reconcile import reconciler as module
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.operator.apply import BanApplier
from synguard.operator.rollback import Rollback
from synguard.readings import Protected
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane
from tests.support.manual_clock import START, ManualClock

Meanwhile = Callable[[Callable[[], None]], None]


@pytest.fixture
def plane() -> FakePlane:
    return FakePlane(ManualClock().utcnow)


@pytest.fixture
def before_the_lock(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Lets something happen once, just before a process gets the lock that it waits for."""
    rivals: list[Callable[[], None]] = []
    exclusive = module.exclusive

    @contextmanager
    def contended(path: Path, wait_s: float, holder: str) -> Iterator[None]:
        if rivals:
            rivals.pop()()
        with exclusive(path, wait_s, holder):
            yield

    monkeypatch.setattr(module, "exclusive", contended)
    return rivals.append


def order(plane: FakePlane, home: Path, ban_id: str, target: str) -> None:
    """Ban by hand as a process of its own does."""
    with Ledger.open(home / LEDGER_FILE) as ledger:
        applier = BanApplier(ledger, plane, Reconciler(plane, home / "apply.lock"), Protected({}), plane.utcnow)
        applier.ban([ban(ban_id, target, start=START)])


def test_a_ban_that_another_process_made_while_we_waited_for_its_lock_stays(
    plane: FakePlane, tmp_path: Path, before_the_lock: Meanwhile
) -> None:
    """It used to be taken for an orphan, since it was not in the ledger when we had looked."""
    before_the_lock(lambda: order(plane, tmp_path, "theirs", "192.0.2.2"))
    order(plane, tmp_path, "ours", "192.0.2.1")
    assert set(plane.actual.bans) == {"ours", "theirs"}
    with Ledger.open(tmp_path / LEDGER_FILE) as ledger:
        assert set(ledger.active_bans(START)) == {"ours", "theirs"}


@pytest.mark.parametrize("others", [0, 1])
def test_a_ban_that_a_person_makes_while_a_trial_is_taken_back_stays(
    plane: FakePlane, tmp_path: Path, before_the_lock: Meanwhile, others: int
) -> None:
    with Ledger.open(tmp_path / LEDGER_FILE) as ledger:
        ledger.add_bans([ban("of-the-trial", "192.0.2.1", start=START)])
        ledger.add_bans([ban("earlier", "192.0.2.3", start=START)] * others)
        reconciler = Reconciler(plane, tmp_path / "apply.lock")
        withdrawal = Rollback(
            ledger, lambda: reconciler, lambda one: one.id == "of-the-trial", "the trial ended", thorough=True
        )
        before_the_lock(lambda: order(plane, tmp_path, "by-hand", "192.0.2.2"))
        withdrawal.carry_out((), START)
    assert set(plane.actual.bans) == {"by-hand"} | ({"earlier"} if others else set())


def test_a_ban_that_another_process_replaced_before_it_was_renewed_is_made_anew(
    plane: FakePlane, tmp_path: Path
) -> None:
    """The same order given six times at once failed now and then, for its ban's id was taken; or was lost."""
    order(plane, tmp_path, "first", "192.0.2.1")
    order(plane, tmp_path, "theirs", "192.0.2.1")
    ours = ban("first", "192.0.2.1", start=START, seconds=7200)
    with Ledger.open(tmp_path / LEDGER_FILE) as ledger:
        applier = BanApplier(ledger, plane, Reconciler(plane, tmp_path / "apply.lock"), Protected({}), plane.utcnow)
        (made,) = applier.ban([ours], renewed={"first"})
        assert made.id not in ("first", "theirs")
        assert (made.target, made.expires_at) == (ours.target, ours.expires_at)
        assert set(ledger.active_bans(START)) == {made.id}
    assert set(plane.actual.bans) == {made.id}
