"""A challenge ordered by hand: listeners accept its cookies before the program sends the first one."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.enforcer.dry_run import DryRunPlane
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.enforcer.split_plane import split_plane
from synguard.errors import PlaneError
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.model import Action
from synguard.operator import apply
from synguard.operator.apply import BanApplier
from synguard.readings import Protected
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane
from tests.support.manual_clock import START, ManualClock

ORDER = ban("by-hand", "192.0.2.0/24", action=Action.CHALLENGE, ports=(80,), start=START)


def test_the_kernel_gets_it_once_the_agent_that_saw_the_ledger_has_set_what_clients_need(tmp_path: Path) -> None:
    """It reached the program a moment before: clients that were answered then were not accepted."""
    plane = split_plane(FakePlane(ManualClock().utcnow), program := DryRunPlane(ManualClock().utcnow))
    asked: list[tuple[bool, bool]] = []
    with Ledger.open(tmp_path / LEDGER_FILE) as ledger:

        def cookies_on() -> bool:
            asked.append((ORDER.id in ledger.active_bans(START), ORDER.id in program.read().bans))
            return len(asked) == 3

        reconciler = Reconciler(plane, tmp_path / "apply.lock")
        BanApplier(ledger, plane, reconciler, Protected({}), lambda: START, cookies_on).ban([ORDER])
    assert asked == [(True, False)] * 3
    assert ORDER.id in program.read().bans


def test_where_no_agent_sets_it_nothing_stands_and_the_sentence_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "AGENT_PATIENCE_S", 0.05)
    plane = split_plane(FakePlane(ManualClock().utcnow), program := DryRunPlane(ManualClock().utcnow))
    with Ledger.open(tmp_path / LEDGER_FILE) as ledger:
        applier = BanApplier(
            ledger,
            plane,
            Reconciler(plane, tmp_path / "apply.lock"),
            Protected({}),
            lambda: START,
            lambda: False,
        )
        with pytest.raises(PlaneError, match=r"no agent has set net\.ipv4\.tcp_syncookies to 2"):
            applier.ban([ORDER])
        assert ledger.active_bans(START) == {}
    assert program.read().bans == {}
