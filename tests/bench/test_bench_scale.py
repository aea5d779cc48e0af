"""What standing bans cost the agent: its tick, one more of them, their end, a restart; a list banned by one command.

Prints only, CPU time, the tools' included. What packets pay, and bans put in beside other tools: test_bench_planes.py.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

import psutil
import pytest

from synguard.addresses import format_network
from synguard.agent.lock import AgentLock
from synguard.enforcer.iptables.set_members import member_lines
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Delta, Desired, Plane
from synguard.enforcer.reconcile.delta import after, as_kernel_bans
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.memory import kept_for_good
from synguard.model import NO_HITS, Ban, Mode, Origin, Scope
from synguard.packed_bans import PackedBans
from synguard.policy.load import load_policies
from synguard.policy.models import Ceilings, Config
from synguard.status.conditions import Code
from synguard.status.model import read_status
from tests.bench.test_bench_planes import mixed, piped, raw_ipset, seconds
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane
from tests.support.lab.namespaces import REPOSITORY, python_module
from tests.support.lab.programs import wait_for
from tests.support.manual_clock import ManualClock
from tests.support.network_thread import NetworkThread
from tests.support.scene import Scene

pytestmark = [pytest.mark.bench, pytest.mark.kernel]

SHORT: Final = bool(os.environ.get("SHORT"))
SIZES: Final = (0, 1_000, 10_000) if SHORT else (0, 1_000, 10_000, 100_000)
LARGEST: Final = SIZES[-1]
TIMES: Final = 1 if SHORT else 5


def ms(work: Callable[[], object], times: int = 1) -> float:
    """Return the CPU time of one run of the work in milliseconds."""
    start = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - start) * 1000 / times


class QuickPlane(FakePlane):
    """A fake that does not go over all it holds at each change, as no kernel does: what is timed is ours."""

    def apply(self, change: Delta) -> None:
        self.bans = getattr(self, "bans", {})
        for gone in change.remove:
            self.bans.pop(gone.key, None)
        self.bans |= {one.id: as_kernel_bans(one, NO_HITS) for one in change.add}
        frame = after(replace(self.actual, bans={}), replace(change, add=(), remove=()))
        self.actual = replace(frame, bans=self.bans)


class Crowded:
    """An agent that enforces in memory, and another process that writes its ledger."""

    def __init__(self, tmp_path: Path) -> None:
        config = Config(mode=Mode.ENFORCE, ceilings=Ceilings(members=1_000_000))
        clock = ManualClock()
        self.plane = QuickPlane(clock.utcnow, max_elements=1_000_000)
        self.scene = Scene(tmp_path, *load_policies(config), config=config, plane=self.plane)
        self.plane.utcnow = self.scene.clock.utcnow
        self.other = Ledger.open(tmp_path / LEDGER_FILE)
        self.count = 0
        self.scene.lasts(3)

    def tick(self) -> None:
        self.scene.clock.advance(0.2)
        self.scene.agent.tick()

    def worst_until(self, done: Callable[[], bool]) -> tuple[float, int]:
        """Return the dearest of the ticks until something is so, in milliseconds, and how many there were."""
        ticks = [ms(self.tick)]
        while not done():
            ticks.append(ms(self.tick))
        return max(ticks), len(ticks)

    def settles(self, bans: int) -> tuple[float, int]:
        """Return the same until agent and plane hold so many bans."""
        return self.worst_until(
            lambda: len(self.plane.actual.bans) == len(self.scene.agent._parts.enforcement.bans) == bans
        )

    def one_more(self) -> None:
        self.count += 1
        one = ban(f"x{self.count}", f"9.9.9.{self.count}", start=self.scene.clock.utcnow(), seconds=600)
        self.other.add_bans([one])
        self.tick()


def test_the_tick_with_many_standing_bans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = [
        f"{'bans':>8}{'tick':>10}{'to none':>9}{'read back':>11}{'one more':>10}{'taken over':>18}{'expired':>18}"
        "   (worst tick, ticks)"
    ]
    none = 0.0
    for size in SIZES:
        place = tmp_path / str(size)
        place.mkdir()
        host = Crowded(place)
        start = host.scene.clock.utcnow()
        ends = start + timedelta(seconds=3600)
        bans = [replace(one, created_at=start, expires_at=ends) for one in mixed(size).values()]
        host.other.add_bans(bans)
        taken, ticks = host.settles(size)
        host.scene.lasts(6)
        ticks_ms = [ms(host.tick) for _ in range(75)]
        tick, look = median(ticks_ms), max(ticks_ms)
        none = none or tick
        more = ms(host.one_more, 5)
        host.scene.clock.advance((ends - host.scene.clock.utcnow()).total_seconds())
        expired, after = host.settles(0)
        out.append(
            f"{size:>8}{tick:>8.2f}ms{tick / none:>8.1f}x{look:>9.1f}ms{more:>8.1f}ms{taken:>10.0f}ms {ticks:>4}"
            f"{expired:>12.0f}ms {after:>4}"
        )
    with capsys.disabled():
        print("\n" + "\n".join(out))


def test_the_reaction_with_many_standing_bans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CPU of the ticks from a flood's onset until 128 loud sources are banned: what the reaction waits for."""
    out, none = [], 0.0
    reaction(tmp_path, 0)  # whatever is imported or made at the first flood
    runs = [[reaction(tmp_path, size) for size in (0, LARGEST)] for _ in range(TIMES)]
    for size, ticks in zip((0, LARGEST), zip(*runs, strict=True), strict=True):
        took = median(map(sum, ticks))
        none = none or took
        out.append(
            f"{size:>8} bans: all banned after {max(map(len, ticks))} ticks, {took:.0f} ms of CPU, the dearest tick "
            f"{median(map(max, ticks)):.0f} ms: {took / none:.2f}x of none"
        )
    ratios = sorted(sum(many) / sum(few) for few, many in runs)
    with capsys.disabled():
        print("\n" + "\n".join(out) + f"\nrun by run {ratios[0]:.2f} to {ratios[-1]:.2f}x")


def reaction(tmp_path: Path, size: int) -> list[float]:
    """Return what the ticks of one flood take in milliseconds, on a new host with so many bans."""
    loud = [f"9.{number}.1.7" for number in range(128)]
    host = Crowded(Path(tempfile.mkdtemp(dir=tmp_path)))
    start = host.scene.clock.utcnow()
    ends = start + timedelta(hours=1)
    host.other.add_bans(
        [replace(one, origin=Origin.MANUAL, created_at=start, expires_at=ends) for one in mixed(size).values()]
    )
    host.settles(size)
    host.scene.lasts(6)
    kept_for_good()  # what the fake holds is an object each, which no kernel's is
    host.scene.ledger.record_action(start, "bench", "cuts the log of the list back, as a real agent's next write does")
    weather = host.scene.weather
    weather.syn_pps, weather.dropped_pps = dict.fromkeys(loud, 200.0), 25_600
    weather.half_open = dict.fromkeys(loud, 2)
    ticks = list[float]()
    while len(host.plane.actual.bans) < size + len(loud) and len(ticks) < 100:
        host.scene.clock.advance(0.05)
        ticks.append(ms(host.scene.agent.tick))
    return ticks


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("make", [IptablesSetsPlane, NftablesPlane])
def test_a_start_with_many_bans(
    make: Callable[..., Plane], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a reboot the kernel is empty; after a restart it holds everything and nothing is to be done."""
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    monkeypatch.setattr("tests.support.network_thread._PATIENCE_S", 600)
    bans = mixed(LARGEST)
    there, raw = NetworkThread(), NetworkThread()
    try:
        base = raw.call(raw_ipset, bans)
        wanted = Desired(bans)
        lock = tmp_path / "lock"
        plane = there.call(make, now)
        rebooted = there.call(seconds, lambda: Reconciler(plane, lock).reconcile(wanted, now()))
        again = Reconciler(plane, lock)
        restarted = there.call(seconds, lambda: again.reconcile(wanted, now()))
        state = DesiredState()
        state.put(PackedBans(bans.values()))
        looks = there.call(look_ms, again, state.desired((), ()))
    finally:
        there.close()
        raw.close()
    with capsys.disabled():
        print(
            f"\n{plane.name}, {LARGEST} bans: after a reboot {rebooted:.2f} s ({rebooted / base:.1f}x ipset restore), "
            f"after a restart {restarted:.2f} s ({restarted / base:.1f}x); "
            f"a regular look: {len(looks)} passes, the dearest {max(looks):.0f} ms"
        )


def look_ms(reconciler: Reconciler, wanted: Desired) -> list[float]:
    """Return the CPU time of each pass of the next regular look."""
    reconciler.reconcile(wanted, now(), look=False)  # as columns, as an agent has them
    due, passes = reconciler._read_due, list[float]()
    while reconciler._read_due <= due:
        passes.append(ms(lambda: reconciler.reconcile(wanted, due)))
        time.sleep(0.05)
    return passes


def test_what_the_agent_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resident memory of a real agent that has taken over its bans and has read them back, and what its start takes."""
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    out, started = [], ""
    for size in (0, LARGEST):
        state, runtime, config = tmp_path / f"state-{size}", tmp_path / f"run-{size}", tmp_path / f"{size}.toml"
        config.write_text(f'state_dir = "{state}"\nruntime_dir = "{runtime}"\n')
        state.mkdir(mode=0o700)
        with Ledger.open(state / LEDGER_FILE) as ledger:
            ledger.add_bans([replace(one, origin=Origin.MANUAL) for one in mixed(size).values()])
        host = NetworkThread()
        command = python_module("synguard", "--config", str(config), "run", "--enforce")
        began = time.monotonic()
        agent = host.call(subprocess.Popen, command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda at=runtime, n=size: holds(at, n), "the agent to hold its bans", timeout=120)  # type: ignore[misc]
            cpu = psutil.Process(agent.pid).cpu_times()
            started = f"{time.monotonic() - began:.0f} s, {cpu.user + cpu.system:.0f} s of CPU"
            out.append([resident(runtime) for _ in range(2 if SHORT else 15)])
        finally:
            agent.terminate()
            agent.wait()
            host.close()
    without, with_all = map(median, out)
    with capsys.disabled():
        print(
            f"\nresident without bans {without / 1e6:.0f} MB, with {LARGEST} {with_all / 1e6:.0f} MB: "
            f"{with_all / without:.2f}x, {(with_all - without) / LARGEST:.0f} bytes a ban; "
            f"at most {max(out[1]) / 1e6:.0f} MB, while it reads them back; from its start until the kernel holds all: "
            f"{started}"
        )


def resident(runtime: Path) -> int:
    """Return the resident memory that an agent tells of, in a second."""
    time.sleep(1)
    status = read_status(runtime)
    assert status is not None
    assert status.agent is not None
    return status.agent.rss_bytes


def holds(runtime: Path, bans: int) -> bool:
    """Return whether an agent runs and says that it holds so many bans, and the kernel too."""
    status = read_status(runtime) if runtime.exists() else None
    if status is None or status.bans_active != bans:
        return False
    return all(one.code is not Code.BANS_ON_THE_WAY for one in status.conditions)


def raw_orders(bans: dict[str, Ban]) -> list[tuple[float, float, float]]:
    """Return what it takes ``ipset`` to put in the members of these drops, to renew them, and to take them out."""
    adds = list(member_lines(Delta(add=tuple(bans.values())), now()))
    dels = [f"del {' '.join(line.split(' ', 3)[1:3])}" for line in adds]
    again = ["ipset", "restore", "-exist"]
    first = raw_ipset(bans)  # makes the sets too
    renewed, taken_out = piped(again, adds), piped(again, dels)
    return [(first, renewed, taken_out), (piped(again, adds), piped(again, adds), piped(again, dels))]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("plane", ["iptables", "nftables"])
def test_verbs_with_few_bans_and_with_many(
    plane: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verbs about one ban against ``status``; those about all of them against ``ipset restore`` of the same drops."""
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    monkeypatch.setattr("tests.support.network_thread._PATIENCE_S", 600)
    bans = {id_: replace(one, scope=Scope.ALL, ports=()) for id_, one in mixed(LARGEST).items()}
    for name, some in {"few": list(bans.values())[:10], "many": bans.values()}.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(format_network(one.target) for one in some))
    runtime = tmp_path / "run"
    (tmp_path / "c.toml").write_text(f'plane = "{plane}"\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{runtime}"\n')
    there, raw = NetworkThread(), NetworkThread()
    out = [plane]

    def cost(*words: str) -> float:
        command = python_module("synguard", "--config", str(tmp_path / "c.toml"), *words)

        def carried_out() -> None:
            subprocess.run(command, check=True, capture_output=True, timeout=300, cwd=REPOSITORY)

        return there.call(seconds, carried_out)

    def told(name: str, took: float, against: float, what: str) -> None:
        out.append(f"{name:34}{took:>8.2f}s{took / against:>7.1f}x {what}")

    try:
        base, renewed, taken_out = (median(times) for times in zip(*raw.call(raw_orders, bans), strict=True))
        listed = ("--file", str(tmp_path / "many.txt"))
        cost("ban", "--file", str(tmp_path / "few.txt"))
        status = median(cost("status") for _ in range(TIMES))
        ten = median(cost("bans") for _ in range(TIMES))
        told("bans, ten of them", ten, status, "status")
        told("ban, of one", median(cost("ban", f"198.18.9.{n}") for n in range(TIMES)), status, "status")
        told("unban, of one", median(cost("unban", f"198.18.9.{n}") for n in range(TIMES)), status, "status")
        of_same = "ipset restore of the same"
        told(f"ban --file, {LARGEST:,}", cost("ban", *listed), base, of_same)
        told("the same again", cost("ban", *listed, "--for", "2h"), renewed, "ipset restore -exist of the same")
        told("bans --json", cost("bans", "--json"), base, of_same)
        told(
            "bans --limit 50, no agent",
            median(cost("bans", "--limit", "50") for _ in range(TIMES)),
            ten,
            "bans with ten",
        )
        with AgentLock(runtime):
            told("bans --limit 50", median(cost("bans", "--limit", "50") for _ in range(TIMES)), ten, "bans with ten")
        told("unban --file", cost("unban", *listed), taken_out, "ipset restore of as many del lines")
    finally:
        there.close()
        raw.close()
    with capsys.disabled():
        print("\n" + "\n".join(out))
