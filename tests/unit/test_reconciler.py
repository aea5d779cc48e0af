"""The reconciler against the fake: what it calls, what it tells, and what survives a failure."""

from __future__ import annotations

import re
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from synguard.agent import bootstrap
from synguard.enforcer import locks
from synguard.enforcer.dry_run import DryRunPlane
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.plane import Actual, Delta, Desired
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.enforcer.reconcile.outcome import Outcome
from synguard.enforcer.reconcile.reconciler import PATIENCE, READ_EVERY, READ_UNUSED_EVERY, Reconciler
from synguard.errors import PlaneError
from synguard.ledger import Ledger
from synguard.model import Hits, Mode, Scope
from synguard.packed_bans import PackedBans
from synguard.policy.models import Config
from tests.support.bans import ban, wanted
from tests.support.fake_plane import FakePlane
from tests.support.manual_clock import START, ManualClock

ONE = ban("one", "192.0.2.1", start=START)
TWO = ban("two", "192.0.2.0/24", ports=(80, 443), start=START)
GOAL = wanted(ONE, TWO, allow=("127.0.0.1",), proven=("192.0.2.9",))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def plane(clock: ManualClock) -> FakePlane:
    return FakePlane(clock.utcnow)


@pytest.fixture
def reconciler(plane: FakePlane, tmp_path: Path) -> Reconciler:
    return Reconciler(plane, tmp_path / "apply.lock")


def test_the_first_pass_reads_everything_and_builds_the_frame(reconciler: Reconciler, plane: FakePlane) -> None:
    outcome = reconciler.reconcile(GOAL, START)
    assert plane.calls == ["read", "apply"]
    assert outcome.change.frame
    assert set(outcome.held) == {"one", "two"}
    assert plane.actual.intact


def test_no_difference_is_no_call(reconciler: Reconciler, plane: FakePlane) -> None:
    reconciler.reconcile(GOAL, START)
    plane.calls.clear()
    for tick in range(20):
        outcome = reconciler.reconcile(
            Desired(dict(GOAL.bans), GOAL.allow, GOAL.proven), START + timedelta(0, tick / 10)
        )
        assert not outcome.change
        assert set(outcome.held) == {"one", "two"}
    assert plane.calls == []


def test_a_difference_is_applied_without_reading_again(reconciler: Reconciler, plane: FakePlane) -> None:
    reconciler.reconcile(GOAL, START)
    plane.calls.clear()
    outcome = reconciler.reconcile(wanted(ONE), START)
    assert plane.calls == ["apply"]
    assert [held.ban_id for held in outcome.change.remove] == ["two"]
    assert not outcome.change.frame
    assert set(plane.actual.bans) == {"one"}


def test_a_restart_adopts_what_is_held(reconciler: Reconciler, plane: FakePlane, tmp_path: Path) -> None:
    reconciler.reconcile(GOAL, START)
    plane.calls.clear()
    outcome = Reconciler(plane, tmp_path / "apply.lock").reconcile(GOAL, START)
    assert plane.calls == ["read"]
    assert not outcome.change
    assert outcome.drift == ()


def test_bans_that_expire_need_no_call(reconciler: Reconciler, plane: FakePlane, clock: ManualClock) -> None:
    short = ban("short", "192.0.2.5", start=START, seconds=2)
    reconciler.reconcile(wanted(ONE, short), START)
    plane.calls.clear()
    clock.advance(3)
    outcome = reconciler.reconcile(wanted(ONE), clock.utcnow())
    assert plane.calls == []
    assert set(outcome.held) == {"one"}


def test_a_ban_still_wanted_after_its_expiry_is_not_held_any_more(
    reconciler: Reconciler, plane: FakePlane, clock: ManualClock
) -> None:
    goal = wanted(ONE, ban("short", "192.0.2.5", start=START, seconds=2))
    reconciler.reconcile(goal, START)
    clock.advance(2)
    assert set(reconciler.reconcile(goal, clock.utcnow()).held) == {"one"}
    assert reconciler.reconcile(goal, clock.utcnow(), full=True).change == Delta()


def test_everything_is_read_again_after_a_while(reconciler: Reconciler, plane: FakePlane) -> None:
    reconciler.reconcile(GOAL, START)
    plane.lose("one")
    plane.calls.clear()
    assert reconciler.reconcile(GOAL, START + READ_EVERY / 2).drift == ()
    outcome = reconciler.reconcile(GOAL, START + READ_EVERY)
    assert outcome.drift == ("1 ban gone from the kernel, put back: one (192.0.2.1)",)
    assert plane.calls == ["read", "apply"]
    assert set(plane.actual.bans) == {"one", "two"}


def test_a_clock_set_back_does_not_put_off_the_next_read(reconciler: Reconciler, plane: FakePlane) -> None:
    reconciler.reconcile(GOAL, START)
    plane.calls.clear()
    reconciler.reconcile(GOAL, START - timedelta(days=1))
    assert "read" in plane.calls


def test_parts_that_are_gone_together_are_one_sentence(reconciler: Reconciler, plane: FakePlane) -> None:
    """After one `synguard flush` the log had 33 lines, and the report as many."""
    reconciler.reconcile(GOAL, START)
    for number in range(9):
        plane.damage(f"set {number}")
    outcome = reconciler.reconcile(GOAL, START, full=True)
    assert outcome.drift == ("set 0, set 1, set 2, set 3, set 4 and 4 more: missing or changed, put back",)


def test_a_wiped_plane_is_one_sentence_for_all_bans(reconciler: Reconciler, plane: FakePlane) -> None:
    many = wanted(*(ban(f"b{number}", f"192.0.2.{number}", start=START) for number in range(100)))
    reconciler.reconcile(many, START)
    plane.wipe()
    outcome = reconciler.reconcile(many, START, full=True)
    assert outcome.drift[0] == "everything: missing or changed, put back"
    assert outcome.drift[1].startswith("100 bans gone from the kernel, put back: b0 (192.0.2.0), b1 (192.0.2.1), ")
    assert outcome.drift[1].endswith(" and 95 more")
    assert len(outcome.drift) == 2


def test_what_the_ledger_does_not_have_is_removed_and_told(
    reconciler: Reconciler, plane: FakePlane, tmp_path: Path
) -> None:
    reconciler.reconcile(GOAL, START)
    outcome = Reconciler(plane, tmp_path / "apply.lock").reconcile(wanted(ONE), START)
    assert outcome.drift == ("1 ban in the kernel but not in the ledger, removed: two (192.0.2.0/24)",)
    assert set(plane.actual.bans) == {"one"}


def test_another_synguard_process_at_work_is_no_drift(reconciler: Reconciler, plane: FakePlane, tmp_path: Path) -> None:
    """A verb bans and releases by the ledger and applies by itself; the agent learns of both from the ledger."""
    reconciler.reconcile(wanted(ONE), START)
    verb = Reconciler(plane, tmp_path / "apply.lock")
    verb.reconcile(wanted(TWO), START)
    outcome = reconciler.reconcile(wanted(TWO), START, full=True)
    assert outcome.drift == ()
    assert not outcome.change


def test_a_failed_apply_keeps_its_work(reconciler: Reconciler, plane: FakePlane) -> None:
    plane.fail_next("apply", PlaneError("filling sets", "no luck"))
    with pytest.raises(PlaneError):
        reconciler.reconcile(GOAL, START)
    plane.calls.clear()
    outcome = reconciler.reconcile(GOAL, START)
    assert plane.calls == ["read", "apply"]
    assert set(outcome.held) == {"one", "two"}
    assert outcome.drift == ()


def test_a_failed_removal_is_made_up_for_and_is_no_drift(reconciler: Reconciler, plane: FakePlane) -> None:
    reconciler.reconcile(GOAL, START)
    plane.fail_next("apply", *[PlaneError("filling sets", "no luck")] * 2)
    with pytest.raises(PlaneError):
        reconciler.reconcile(wanted(ONE), START)
    assert reconciler.reconcile(wanted(ONE), START).drift == ()
    assert set(plane.actual.bans) == {"one"}


def test_a_ban_that_meets_a_wiped_plane_is_in_force_all_the_same(reconciler: Reconciler, plane: FakePlane) -> None:
    """Found by the property test: between two reads a wipe went unseen, and the next ban failed for want of its set."""
    reconciler.reconcile(wanted(ONE), START)
    plane.wipe()
    outcome = reconciler.reconcile(GOAL, START)
    assert set(plane.actual.bans) == {"one", "two"}
    assert "1 ban gone from the kernel, put back: one (192.0.2.1)" in outcome.drift


def test_a_failed_read_is_told_and_tried_again(reconciler: Reconciler, plane: FakePlane) -> None:
    reconciler.reconcile(GOAL, START)
    plane.fail_next("read", PlaneError("reading our ipsets", "no luck"))
    with pytest.raises(PlaneError):
        reconciler.reconcile(GOAL, START, full=True)
    plane.lose("one")
    outcome = reconciler.reconcile(GOAL, START)  # reads, though no read was due: the last one told nothing
    assert outcome.drift == ("1 ban gone from the kernel, put back: one (192.0.2.1)",)
    assert set(plane.actual.bans) == {"one", "two"}


def test_what_others_do_between_read_and_apply_is_mended_by_a_later_pass(
    reconciler: Reconciler, plane: FakePlane
) -> None:
    plane.meanwhile = [lambda _: None, lambda held: held.wipe()]
    reconciler.reconcile(GOAL, START)
    reconciler.reconcile(GOAL, START, full=True)
    plane.meanwhile = [lambda held: held.lose("one")]
    reconciler.reconcile(GOAL, START, full=True)
    assert set(plane.actual.bans) == {"one", "two"}


def test_repairing_is_not_fighting(reconciler: Reconciler, plane: FakePlane, clock: ManualClock) -> None:
    """Against a program that wipes us again and again, repairs come ever later, but come."""
    repairs = []
    reconciler.reconcile(GOAL, clock.utcnow())
    for _ in range(3600):
        plane.wipe()
        if reconciler.reconcile(GOAL, clock.utcnow()).drift:
            repairs.append(clock.monotonic())
        clock.advance(1)
    waits = [later - earlier for earlier, later in pairwise(repairs)]
    assert waits[: PATIENCE - 1] == [READ_EVERY.total_seconds()] * (PATIENCE - 1)
    assert waits == sorted(waits)
    assert waits[-1] >= 280


def test_a_program_that_wipes_us_at_once_is_not_fought_by_new_bans_either(
    reconciler: Reconciler, plane: FakePlane, clock: ManualClock
) -> None:
    """Each new ban used to mend the frame that it met wiped: ten times a second, against a tool in a loop."""
    bans, mended = [], 0
    for number in range(1200):
        clock.advance(0.05)
        if number % 2 == 0:
            bans.append(ban(f"b{number}", f"10.0.{number // 250}.{number % 250}", start=clock.utcnow()))
        with suppress(PlaneError):
            mended += reconciler.reconcile(wanted(*bans), clock.utcnow()).change.frame
        plane.wipe()
    assert PATIENCE < mended < 4 * PATIENCE
    assert len(plane.changes) < 4 * PATIENCE


def test_a_fight_is_told_with_when_it_goes_on_and_is_over_with_the_first_quiet_look(
    reconciler: Reconciler, plane: FakePlane, clock: ManualClock
) -> None:
    told = []
    for _ in range(PATIENCE + 2):
        plane.wipe()
        told.append(reconciler.reconcile(GOAL, clock.utcnow(), full=True).disputed)
        clock.advance(1)
    assert told[: PATIENCE + 1] == [""] * (PATIENCE + 1)
    assert re.match(r"another program has undone our rules 4 times in a row, .* next at 12:00:14 UTC", told[-1])
    clock.advance(60)
    assert reconciler.reconcile(GOAL, clock.utcnow()).disputed == ""


def test_hits_are_summed_over_what_an_interrupted_change_left(reconciler: Reconciler, plane: FakePlane) -> None:
    reconciler.reconcile(GOAL, START)
    plane.count("one", 3, 180)
    plane.count("two", 4, 240)
    assert reconciler.hits() == {"one": Hits(3, 180), "two": Hits(4, 240)}


def test_a_ban_whose_remains_were_removed_is_still_known_and_can_be_unbanned(
    reconciler: Reconciler, plane: FakePlane
) -> None:
    """The ban itself was forgotten with them: until the next look an unban did not reach the kernel."""
    reconciler.reconcile(GOAL, START)
    left = replace(plane.actual.bans["one"], scope=Scope.ALL, remains=2)
    plane.actual = replace(plane.actual, bans={**plane.actual.bans, left.key: left})
    outcome = reconciler.reconcile(GOAL, START, full=True)
    assert outcome.change.remove == (left,)
    assert set(outcome.held) == set(plane.actual.bans) == {"one", "two"}
    reconciler.reconcile(wanted(TWO), START)
    assert set(plane.actual.bans) == {"two"}


def test_a_flush_is_followed_by_a_pass_that_puts_everything_back(reconciler: Reconciler, plane: FakePlane) -> None:
    reconciler.reconcile(GOAL, START)
    reconciler.flush()
    assert not plane.actual.bans
    assert reconciler.reconcile(GOAL, START).drift == ()
    assert set(plane.actual.bans) == {"one", "two"}


def test_what_was_left_for_later_passes_is_none_of_theirs_once_everything_is_flushed(reconciler: Reconciler) -> None:
    reconciler.reconcile(wanted(), START)
    reconciler.reconcile(GOAL, START, at_most=1)
    assert reconciler.left == 1
    reconciler.flush()
    assert reconciler.left == 0


def test_a_process_that_holds_the_apply_lock_is_named(
    reconciler: Reconciler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synguard.enforcer.reconcile.reconciler.APPLY_WAIT_S", 0.02)
    with (
        locks.exclusive(tmp_path / "apply.lock", 1, "nobody"),
        pytest.raises(PlaneError, match="another synguard process has held it"),
    ):
        reconciler.reconcile(GOAL, START)
    assert set(reconciler.reconcile(GOAL, START).held) == {"one", "two"}


def test_a_lock_file_that_cannot_be_made_says_where(plane: FakePlane, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlaneError, match=r"opening the lock file .*/file/apply\.lock"):
        Reconciler(plane, tmp_path / "file" / "apply.lock").reconcile(GOAL, START)


def test_bans_of_a_dry_run_never_reach_the_plane(reconciler: Reconciler, plane: FakePlane) -> None:
    reconciler.reconcile(wanted(ban("dry-run", "192.0.2.1", start=START, dry_run=True)), START)
    assert not plane.actual.bans


def test_what_another_process_banned_while_we_waited_for_its_lock_is_no_orphan(
    plane: FakePlane, tmp_path: Path
) -> None:
    """A verb writes the ledger, then takes the lock and applies; an agent that had read the ledger before that and
    then waited for the lock took the new ban out again, and put it back a tick later."""
    agent, verb = (Reconciler(plane, tmp_path / "apply.lock") for _ in range(2))
    agent.reconcile(wanted(ONE), START)
    verb.reconcile(wanted(ONE, TWO), START)
    plane.changes.clear()
    outcome = agent.reconcile(wanted(ONE), START, full=True, latest=lambda _: wanted(ONE, TWO))
    assert set(outcome.held) == {"one", "two"}
    assert plane.changes == []


def test_a_look_is_put_off_while_what_is_wanted_is_not_known_but_not_one_that_must_be(
    reconciler: Reconciler, plane: FakePlane, clock: ManualClock
) -> None:
    reconciler.reconcile(wanted(ONE), START)
    plane.calls.clear()
    clock.advance(READ_EVERY.total_seconds())
    asked = list[bool]()

    def latest(whole: bool) -> Desired | None:
        asked.append(whole)
        return wanted(ONE, TWO) if whole else None

    outcome = reconciler.reconcile(wanted(ONE), clock.utcnow(), latest=latest)
    assert (asked, plane.calls, set(outcome.held)) == ([False], [], {"one"})
    outcome = reconciler.reconcile(wanted(ONE), clock.utcnow(), latest=latest, full=True)
    assert (asked, plane.calls, set(outcome.held)) == ([False, True], ["read", "apply"], {"one", "two"})


def test_what_a_dry_run_holds_is_read_back_without_an_object_of_each_ban(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 50,000 dry-run bans each look took half a second."""
    plane, state = DryRunPlane(clock.utcnow), DesiredState()
    for n in range(50):
        state.put(PackedBans([ban(f"b{n}", f"192.0.2.{n}", start=START)]))
    reconciler = Reconciler(plane, tmp_path / "apply.lock")
    reconciler.reconcile(state.desired((), ()), START)
    for name in ("__setitem__", "begin"):
        monkeypatch.setattr(HeldBans, name, lambda *_: pytest.fail("a ban was put in anew"))
    assert len(reconciler.reconcile(state.desired((), ()), START, full=True).held) == 50
    seen = plane.read()
    del seen.bans["b7"]  # type: ignore[attr-defined]  # columns of our own
    assert "b7" in plane.read().bans


def test_what_others_wiped_comes_back_in_pieces_and_is_told_once(
    clock: ManualClock, plane: FakePlane, tmp_path: Path
) -> None:
    """A hundred thousand bans took ten seconds without a tick, and whoever wiped them may have meant to attack."""
    state, reconciler = DesiredState(), Reconciler(plane, tmp_path / "apply.lock")
    state.put(PackedBans(ban(f"b{n}", f"192.0.2.{n}", start=START) for n in range(10)))

    def passes() -> Outcome:
        return reconciler.reconcile(state.desired((), ()), clock.utcnow(), at_most=4)

    while len(plane.actual.bans) < 10:
        assert not passes().drift
    plane.wipe()
    clock.advance(READ_EVERY.total_seconds())
    found = passes()
    assert [text[:45] for text in found.drift if "ban" in text] == ["10 bans gone from the kernel, put back: b0 (1"]
    assert plane.actual.intact
    assert (len(plane.actual.bans), reconciler.left) == (4, 6)
    state.put(PackedBans([ban("now", "198.51.100.7", start=START)]))
    assert not passes().drift
    assert len(plane.actual.bans) == 8
    assert "now" in plane.actual.bans, "an attack's ban does not wait for those of yesterday"
    assert not passes().drift
    assert (len(plane.actual.bans), reconciler.left) == (11, 0)


def test_sets_that_others_destroy_while_bans_come_in_pieces_are_filled_in_pieces(
    clock: ManualClock, plane: FakePlane, tmp_path: Path
) -> None:
    state, reconciler = DesiredState(), Reconciler(plane, tmp_path / "apply.lock")
    state.put(PackedBans(ban(f"b{n}", f"192.0.2.{n}", start=START) for n in range(10)))
    wanted_now = state.desired((), ())
    reconciler.reconcile(wanted_now, START, at_most=4)
    plane.wipe()
    plane.fail_next("apply", PlaneError("filling ipsets", "The set with the given name does not exist"))
    for held in (4, 8, 10):
        reconciler.reconcile(wanted_now, START, at_most=4)
        assert len(plane.actual.bans) == held


def test_sets_of_an_older_release_are_exchanged_for_full_ones(
    clock: ManualClock, plane: FakePlane, tmp_path: Path
) -> None:
    """What they hold stops packets until then; a new set with a part of the bans would let the others in."""
    state, reconciler = DesiredState(), Reconciler(plane, tmp_path / "apply.lock")
    state.put(PackedBans(ban(f"b{n}", f"192.0.2.{n}", start=START) for n in range(10)))
    plane.actual = replace(plane.actual, outdated=True)
    reconciler.reconcile(state.desired((), ()), START, at_most=4)
    assert (len(plane.actual.bans), plane.actual.outdated) == (10, False)


def test_a_change_by_others_is_noticed_before_the_regular_look(plane: FakePlane, tmp_path: Path) -> None:
    """firewalld reloads where `iptables` is the legacy one, and flushes ours: bans stopped nothing for five seconds."""
    rules = {"count": 7}
    reconciler = Reconciler(plane, tmp_path / "apply.lock", glance=lambda _: rules["count"])
    reconciler.reconcile(GOAL, START)
    plane.calls.clear()
    reconciler.reconcile(GOAL, START + timedelta(seconds=0.6))
    assert plane.calls == []
    plane.damage("raw: the jump to SYNGUARD")
    rules["count"] = 3
    outcome = reconciler.reconcile(GOAL, START + timedelta(seconds=1.2))
    assert plane.actual.intact
    assert outcome.drift
    plane.calls.clear()
    reconciler.reconcile(GOAL, START + timedelta(seconds=1.8))
    assert plane.calls == [], "what it left itself is no change by others"


def test_a_change_right_after_a_regular_look_is_noticed_as_soon_and_many_changes_are_looked_at_within_their_share(
    plane: FakePlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With iptables a look takes 40 ms: a reload in the two seconds after one was not noticed before they were over."""
    rules = {"count": 7}
    monkeypatch.setattr(time, "perf_counter", count(0.0, 0.04).__next__)
    reconciler = Reconciler(plane, tmp_path / "apply.lock", glance=lambda _: rules["count"])
    reconciler.reconcile(GOAL, START)
    plane.damage("raw: the jump to SYNGUARD")
    rules["count"] = 3
    reconciler.reconcile(GOAL, START + timedelta(seconds=0.6))
    assert plane.actual.intact
    plane.calls.clear()
    for tenth in range(7, 107):
        rules["count"] += 1
        reconciler.reconcile(GOAL, START + timedelta(seconds=tenth / 10))
    assert plane.calls.count("read") <= 2 * 0.02 * 10 / 0.04 + 1


class SetsStay(FakePlane):
    """As iptables is: sets are filled although no rule asks them any more."""

    def apply(self, change: Delta) -> None:
        gone = () if change.frame else self.actual.missing
        if gone:
            self.actual = replace(self.actual, intact=True, missing=())
        super().apply(change)
        if gone:
            self.damage(*gone)


def test_a_flush_is_noticed_although_new_bans_come_all_the_time_and_one_while_the_rules_are_read_too(
    clock: ManualClock, tmp_path: Path
) -> None:
    """Each ban that was added took the rules as they were then for ours: in a flood a flush went unnoticed for 5 s."""
    plane, rules = SetsStay(clock.utcnow), {"count": 7}
    reconciler = Reconciler(plane, tmp_path / "apply.lock", glance=lambda _: rules["count"])
    reconciler.reconcile(wanted(ONE), START)
    plane.damage("raw: the jump to SYNGUARD")
    rules["count"] = 3
    for tenth in range(1, 7):
        bans = [ban(f"b{number}", f"198.51.100.{number}", start=START) for number in range(tenth)]
        reconciler.reconcile(wanted(ONE, *bans), START + timedelta(seconds=tenth / 10))
    assert plane.actual.intact
    read = plane.read

    def flushed_meanwhile() -> Actual:
        rules["count"] = 9
        return read()

    plane.read = flushed_meanwhile  # type: ignore[method-assign]
    reconciler.reconcile(wanted(ONE, *bans), START + timedelta(seconds=8))
    plane.calls.clear()
    reconciler.reconcile(wanted(ONE, *bans), START + timedelta(seconds=8.6))
    assert "read" in plane.calls


def test_an_enforcing_agent_asks_whether_others_changed_the_rules(
    plane: FakePlane, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = {"count": 7}
    monkeypatch.setattr(bootstrap, "plane_for", lambda *_: plane)
    monkeypatch.setattr(bootstrap, "glance", lambda _: rules["count"])
    config = Config(mode=Mode.ENFORCE, state_dir=tmp_path, runtime_dir=tmp_path)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        parts = bootstrap.parts_for(config, ledger, clock, SimpleNamespace())  # type: ignore[arg-type]  # nothing is read
        parts.enforcement.reconciler.reconcile(GOAL, START)
        plane.damage("raw: the jump to SYNGUARD")
        rules["count"] = 3
        parts.enforcement.reconciler.reconcile(GOAL, START + timedelta(seconds=0.6))
    assert plane.actual.intact


def test_a_fight_over_the_rules_is_not_quickened_by_noticing(plane: FakePlane, tmp_path: Path) -> None:
    changes = iter(range(10_000))
    reconciler = Reconciler(plane, tmp_path / "apply.lock", glance=lambda _: next(changes))
    for tenth in range(600):
        plane.damage("raw: the jump to SYNGUARD")
        reconciler.reconcile(GOAL, START + timedelta(seconds=tenth / 10))
    assert plane.calls.count("read") < 12


def test_a_plane_without_a_ban_is_read_back_more_seldom(plane: FakePlane, tmp_path: Path) -> None:
    reconciler = Reconciler(plane, tmp_path / "apply.lock", glance=lambda _: 7)
    reconciler.reconcile(wanted(), START)
    plane.calls.clear()
    for moment in (READ_EVERY, READ_UNUSED_EVERY - timedelta(seconds=1)):
        reconciler.reconcile(wanted(), START + moment)
    assert "read" not in plane.calls
    plane.fail_next("read", PlaneError("reading sets", "no luck"))
    for failed in (True, False):
        with pytest.raises(PlaneError) if failed else nullcontext():
            reconciler.reconcile(wanted(), START + READ_UNUSED_EVERY)
        assert plane.calls == ["read"] * (1 if failed else 2), "what failed is tried again at once"
    reconciler.reconcile(wanted(ONE), START + READ_UNUSED_EVERY)
    plane.calls.clear()
    reconciler.reconcile(wanted(ONE), START + READ_UNUSED_EVERY + READ_EVERY)
    assert "read" in plane.calls, "with a ban it is as often as ever"
