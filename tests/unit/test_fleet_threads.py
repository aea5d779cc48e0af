"""What runs beside the tick for the fleet: faults neither end it in silence nor reach the tick."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from synguard.clock import SystemClock
from synguard.errors import FleetError, LedgerError
from synguard.fleet import worker as worker_module
from synguard.fleet.link import FeederLink
from synguard.fleet.peer import PeerRecord
from synguard.fleet.routes import Route
from synguard.fleet.speakers import GoBgp
from synguard.fleet.worker import PeerWorker
from synguard.ledger import Ledger
from synguard.policy.fleet import Bgp
from tests.support.own_network import wait_until

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
HERE = ip_network("192.0.2.2/32")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(worker_module, "LAST_RETRY_S", 0.02)


class Scripted:
    """Raises each error of a script in turn, then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.worked = 0

    def __call__(self, _ledger: Ledger) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.worked += 1


KNOWN = (FleetError("away"), LedgerError("locked"))
FAULT = (ZeroDivisionError(), FleetError("away"))


@pytest.mark.parametrize("errors", [KNOWN, FAULT], ids=["known", "fault"])
def test_work_goes_on_after_any_error_and_the_state_says_which(
    errors: tuple[Exception, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[bool] = []
    record, work = PeerRecord("crowdsec decisions", "lapi"), Scripted(*errors)
    worker = PeerWorker(
        "w", work, lambda: closed.append(True), lambda: Ledger.open(tmp_path / "l.db"), SystemClock(), record, 0.01
    )
    worker.start()
    wait_until(lambda: work.worked >= 2)
    worker.stop()
    assert record.state.reachable is False
    assert "crowdsec decisions" in caplog.text
    assert closed == [True]


def test_a_ledger_that_cannot_be_opened_at_first_is_opened_later(tmp_path: Path) -> None:
    tries: list[int] = []

    def open_ledger() -> Ledger:
        tries.append(1)
        if len(tries) < 3:
            raise LedgerError("locked")
        return Ledger.open(tmp_path / "l.db")

    work = Scripted()
    worker = PeerWorker("w", work, lambda: None, open_ledger, SystemClock(), PeerRecord("w", "p"), 0.01)
    worker.start()
    wait_until(lambda: work.worked >= 1)
    worker.stop()


@pytest.fixture
def link(tmp_path: Path) -> Iterator[tuple[FeederLink, PeerRecord, Path]]:
    """A link whose feeder reads nothing for a while, then writes down all that it got."""
    got = tmp_path / "got"
    settings = Bgp.model_validate({"speaker": "gobgp", "destinations": ["192.0.2.2"], "most_routes": 1000})
    record = PeerRecord("gobgp", "here")
    made = FeederLink(settings, tmp_path, record)
    made.child.command = ["/bin/sh", "-c", f"sleep 0.3; exec cat > {got}"]
    yield made, record, got
    made.close()


def test_a_long_word_is_never_cut_short_in_the_pipe(link: tuple[FeederLink, PeerRecord, Path]) -> None:
    """A thousand routes are more than a pipe holds: what did not fit was lost, and the line could not be read."""
    feeder, _, got = link
    routes = {Route(ip_network(f"203.0.{n >> 8}.{n & 255}/32"), HERE): 60.0 for n in range(1500)}
    feeder.want(routes, 0.0, NOW)
    wait_until(got.exists)

    def lines() -> list[bytes]:
        feeder.want(routes, 1.0, NOW)
        return got.read_bytes().split(b"\n")[:-1]

    wait_until(lambda: len(lines()) >= 2)
    for line in lines():
        word = json.loads(line)
        assert (len(word["routes"]), word["refused"]) == (1000, 500)


def test_a_feeder_that_cannot_be_started_is_said_and_does_not_reach_the_tick(
    link: tuple[FeederLink, PeerRecord, Path],
) -> None:
    feeder, record, _ = link
    feeder.child.command = ["/nowhere/at/all"]
    feeder.want({}, 0.0, NOW)
    assert record.state.reachable is False
    assert "cannot be started" in record.state.error


def test_no_program_of_the_callers_path_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / "gobgp-of-a-stranger"
    trap.write_text("#!/bin/sh\nexit 0\n")
    trap.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FleetError, match="is not installed"):
        GoBgp(trap.name).say(Route(None, HERE, 80), announce=True)
