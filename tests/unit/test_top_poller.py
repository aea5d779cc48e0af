"""Looking: at a bounded pace, writing nothing, and saying what cannot be seen instead of guessing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from synguard.errors import LedgerError, NotPermittedError, PlaneError, SensorError
from synguard.ledger import LEDGER_FILE, Ledger, LedgerReader
from synguard.model import KernelBan
from synguard.policy.models import Config
from synguard.status.freshness import AGENT_LOCK
from synguard.status.model import STATUS_FILE, write_status
from synguard.top.poller import SHARE, Poller, PollPace
from synguard.top.snapshot import SnapshotSockets
from tests.support import bans
from tests.support.top_snapshots import NOW, held, status

ban = partial(bans.ban, start=NOW)


class Host:
    """Directories, a kernel and a socket table as a test says, and a clock turned by hand."""

    def __init__(self, base: Path) -> None:
        self.config = Config(state_dir=base / "state", runtime_dir=base / "run")
        self.config.runtime_dir.mkdir()
        self.now_s = 0.0
        self.kernel_takes_s = 0.0
        self.kernel_reads = 0
        self.holds: dict[str, KernelBan] = {}
        self.fails: dict[str, Exception] = {}
        self.poller = Poller(self.config, self.kernel, self.sockets, 1.0, lambda: NOW, lambda: self.now_s)

    def kernel(self) -> dict[str, KernelBan]:
        self.kernel_reads += 1
        self.now_s += self.kernel_takes_s
        if "kernel" in self.fails:
            raise self.fails["kernel"]
        return self.holds

    def sockets(self) -> SnapshotSockets:
        if "sockets" in self.fails:
            raise self.fails["sockets"]
        return SnapshotSockets(half_open=7)

    def write(self, *made: str) -> None:
        with Ledger.open(self.config.state_dir / LEDGER_FILE) as ledger:
            ledger.add_bans([ban(f"b{word[-1]}", word) for word in made])

    def agent_runs(self) -> int:
        """Hold the agent's lock until the handle is closed."""
        import fcntl

        handle = os.open(self.config.runtime_dir / AGENT_LOCK, os.O_RDWR | os.O_CREAT)
        fcntl.flock(handle, fcntl.LOCK_EX)
        write_status(self.config.runtime_dir, status())
        return handle


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.poller.close()


def test_a_dear_read_comes_more_rarely_and_the_first_one_does_not_count() -> None:
    pace = PollPace(1.0)
    assert pace.due(0.0)
    pace.done(0.0, 3.0)
    assert (pace.due(0.9), pace.due(1.0)) == (False, True)
    pace.done(4.0, 4.5)
    assert (pace.due(4.0 + 0.5 / SHARE - 0.1), pace.due(4.0 + 0.5 / SHARE)) == (False, True)


def test_the_kernel_is_read_at_its_share_however_often_one_looks(host: Host) -> None:
    host.kernel_takes_s = 0.5
    for _ in range(300):
        host.poller.poll()
        host.now_s += 0.1
    assert host.kernel_reads <= 2 + host.now_s / (0.5 / SHARE)


def test_after_a_change_by_hand_the_next_look_reads_the_kernel(host: Host) -> None:
    host.poller.poll()
    host.poller.hurry()
    host.poller.poll()
    assert host.kernel_reads == 2


def test_a_look_makes_no_file_and_takes_no_lock(host: Host) -> None:
    before = sorted(host.config.state_dir.parent.rglob("*"))
    assert host.poller.poll().bans == {}
    assert sorted(host.config.state_dir.parent.rglob("*")) == before


def test_bans_of_the_ledger_are_seen_as_they_come(host: Host) -> None:
    host.write("203.0.113.1")
    assert set(host.poller.poll().bans or ()) == {"b1"}
    host.write("203.0.113.2")
    host.now_s += 1.0
    assert set(host.poller.poll().bans or ()) == {"b1", "b2"}


def test_the_ledger_is_opened_for_reading_alone(host: Host) -> None:
    host.write("203.0.113.1")
    with LedgerReader.open(host.config.state_dir / LEDGER_FILE) as ledger, pytest.raises(LedgerError):
        Ledger.record_action(cast("Ledger", ledger), NOW, "ban", "never")


def test_there_is_no_ledger_to_open_where_none_was_made(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="No such file"):
        LedgerReader.open(tmp_path / LEDGER_FILE)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_ledger_is_told_and_the_kernel_is_still_shown(host: Host) -> None:
    host.write("203.0.113.1")
    (host.config.state_dir / LEDGER_FILE).write_bytes(b"no database at all" * 100)
    host.holds = held([ban("b1", "203.0.113.1")], 5)
    seen = host.poller.poll()
    assert seen.bans is None
    assert "is damaged" in seen.troubles[0]
    assert seen.kernel is not None
    assert seen.overview["problems"][0] == seen.troubles[0]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PlaneError("reading sets", "boom"), str(PlaneError("reading sets", "boom"))),
        (NotPermittedError("needs CAP_NET_ADMIN"), "the kernel is not shown: this user may not read it"),
    ],
)
def test_a_kernel_that_cannot_be_read_is_told_and_no_old_count_stays(host: Host, error: Exception, told: str) -> None:
    host.poller.poll()
    host.now_s += 1.0
    host.fails["kernel"] = error
    seen = host.poller.poll()
    assert (seen.kernel, seen.before) == (None, None)
    assert seen.troubles == (told,)
    host.now_s += 1.0
    host.fails.clear()
    assert host.poller.poll().troubles == ()


def test_sockets_are_read_only_where_no_agent_speaks(host: Host) -> None:
    handle = host.agent_runs()
    seen = host.poller.poll()
    assert (seen.alive, seen.sockets) == (True, None)
    os.close(handle)
    host.now_s += 1.0
    seen = host.poller.poll()
    assert seen.alive is False
    assert seen.sockets == SnapshotSockets(half_open=7)
    assert "no agent runs" in seen.overview["problems"][-1]


def test_an_agent_that_comes_back_speaks_for_the_sockets_again(host: Host) -> None:
    host.poller.poll()
    handle = host.agent_runs()
    assert host.poller.poll().sockets is None
    os.close(handle)


def test_sockets_that_cannot_be_read_are_told_and_not_zero(host: Host) -> None:
    host.fails["sockets"] = SensorError("no whole table could be had")
    seen = host.poller.poll()
    assert seen.sockets is None
    assert seen.troubles == ("no whole table could be had",)


@pytest.mark.parametrize("content", ["", "{", '{"mode": "maybe"}', "\x00\xff"])
def test_a_status_file_that_is_none_is_told_and_the_rest_is_shown(host: Host, content: str) -> None:
    handle = host.agent_runs()
    (host.config.runtime_dir / STATUS_FILE).write_text(content, encoding="latin-1")
    seen = host.poller.poll()
    os.close(handle)
    assert "cannot be read as a status" in seen.overview["problems"][0]
    assert (seen.alive, seen.sockets) == (False, SnapshotSockets(half_open=7))


def test_a_user_who_may_not_read_the_status_is_told_at_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> None:
        raise NotPermittedError("may not be read by this user: run as root")

    monkeypatch.setattr("synguard.top.poller.read_status", denied)
    with pytest.raises(NotPermittedError):
        host.poller.glance()
