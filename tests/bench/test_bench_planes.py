"""What bans cost, plane beside plane: to put in, to read back, to add one more; and what each packet pays for them.

Prints only. Filling and reading is told in CPU time, the tools' included, which a busy machine leaves alone; of what a
packet takes the fastest of some rounds is told, since others only ever add to it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Final

import pytest

from synguard.enforcer.iptables.set_members import frame_lines, member_lines
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.nftables.parser import TableFrame
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.nftables.text import element_lines, sets_needed
from synguard.enforcer.nftables.text import frame_lines as nft_frame_lines
from synguard.enforcer.plane import Delta, Desired, Plane
from synguard.enforcer.reconcile.delta import delta
from synguard.model import Ban, Scope
from tests.support.bans import ban
from tests.support.lab.flood_plan import FloodPlan, SourceGroup, anywhere
from tests.support.lab.frames import Route
from tests.support.lab.syn_flood import Batch
from tests.support.network_thread import NetworkThread
from tests.support.own_network import mac_of

pytestmark = [pytest.mark.bench, pytest.mark.kernel]

SHORT: Final = bool(os.environ.get("SHORT"))
SIZES: Final = (1_000, 10_000) if SHORT else (10_000, 100_000)
PACKET_SIZES: Final = (1, 1_000) if SHORT else (1, 1_000, 10_000, 100_000)
ONE_BY_ONE: Final = 50 if SHORT else 200
ROUNDS: Final = 9
FRAMES: Final = 2048
ELSEWHERE4, ELSEWHERE6 = IPv4Address("10.99.0.1"), IPv6Address("fd99::1")
"""Not this host's: with forwarding off a packet ends right after the hooks in ``prerouting``; little else is paid."""
WIRE: Final = """
ip link set lo up; ip link add wire0 type veth peer name wire1; ip link set wire0 arp off; ip link set wire1 arp off
ip addr add 10.9.0.1/24 dev wire0; ip addr add fd09::1/64 dev wire0 nodad; ip link set wire0 up; ip link set wire1 up
ip route add default via 10.9.0.2; ip route add ::/0 via fd09::2
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.wire0.rp_filter=0
"""

Make = Callable[[Callable[[], datetime]], Plane]
PLANES: Final[dict[str, Make]] = {
    "iptables-sets": IptablesSetsPlane,
    "nftables": NftablesPlane,
}


def now() -> datetime:
    return datetime.now(UTC)


def mixed(count: int) -> dict[str, Ban]:
    """Return bans as an attack leaves them: three in five single addresses, the rest prefixes of both families."""
    start = now()
    scopes = ((Scope.NEW, ()), (Scope.NEW, (80,)), (Scope.NEW, ()), (Scope.ALL, ()))
    bans = {}
    for number in range(count):
        if number % 5 < 3:
            target = str(IPv4Address(0x64000000 + 7 * number))
        elif number % 5 == 3:
            target = str(IPv4Network((0x14000000 + 256 * number, 24)))
        else:
            target = str(IPv6Network((0x2600 << 112 | number << 64, 64)))
        scope, ports = scopes[number % 4]
        bans[f"b{number}"] = ban(f"b{number}", target, scope, ports=ports, seconds=3600, start=start)
    return bans


@contextmanager
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NetworkThread]:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    thread = NetworkThread()
    try:
        yield thread
    finally:
        thread.close()


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time that some work takes, with that of the tools it runs."""
    start = spent()
    work()
    return spent() - start


def spent() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def piped(tool: list[str], lines: list[str]) -> float:
    text = "\n".join(lines) + "\n"
    return seconds(lambda: subprocess.run(tool, input=text, text=True, check=True, timeout=100, capture_output=True))


def raw_ipset(bans: dict[str, Ban]) -> float:
    lines = [*frame_lines({}), *member_lines(Delta(add=tuple(bans.values())), now())]
    return piped(["ipset", "restore"], lines)


def raw_nft(bans: dict[str, Ban]) -> float:
    change = Delta(add=tuple(bans.values()))
    sets = sets_needed(change, now())
    lines = [*nft_frame_lines(TableFrame(), sets), *element_lines(change, now(), set(), {}, careful=False)]
    return piped(["nft", "-f", "-"], lines)


def one_iptables_each(bans: dict[str, Ban]) -> float:
    def insert() -> None:
        for one in list(bans.values())[:ONE_BY_ONE]:
            tool = "iptables-legacy" if one.target.version == 4 else "ip6tables-legacy"
            subprocess.run([tool, "-I", "INPUT", "-s", str(one.target), "-j", "DROP"], check=True, timeout=20)

    return seconds(insert) * len(bans) / min(len(bans), ONE_BY_ONE)


def one_commit_each(bans: dict[str, Ban]) -> float:
    """python-iptables as its manual shows it: ``autocommit``, a rule at a time."""
    import iptc

    def insert() -> None:
        for one in list(bans.values())[:ONE_BY_ONE]:
            four = one.target.version == 4
            table = (iptc.Table if four else iptc.Table6)("filter", autocommit=True)
            rule = (iptc.Rule if four else iptc.Rule6)()
            rule.src = str(one.target)
            rule.create_target("DROP")
            (iptc.Chain(table, "INPUT")).insert_rule(rule)

    return seconds(insert) * len(bans) / min(len(bans), ONE_BY_ONE)


RAW: Final[dict[str, Callable[[dict[str, Ban]], float]]] = {
    "ipset restore": raw_ipset,
    "nft -f": raw_nft,
    "python-iptables one by one": one_commit_each,
    "iptables -I each": one_iptables_each,
}


def test_bans_put_in_read_back_and_one_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [f"{'':28}{'bans':>8}{'put in':>10}{'bans/s':>10}{'to ipset':>10}{'read':>9}{'one more':>10}{'change':>9}"]
    for size in SIZES:
        bans = mixed(size)
        base = 0.0
        for name, raw in RAW.items():
            with host(tmp_path, monkeypatch) as there:
                taken = there.call(raw, bans)
            base = base or taken
            of = f" ({min(size, ONE_BY_ONE)} of them)" if raw in (one_commit_each, one_iptables_each) else ""
            out.append(f"{name:28}{size:>8}{taken:>9.2f}s{size / taken:>10.0f}{taken / base:>9.1f}x{of}")
        for name, make in PLANES.items():
            with host(tmp_path, monkeypatch) as there:
                out.append(f"{name:28}{size:>8}" + there.call(by_plane, make(now), bans, base))
    with capsys.disabled():
        print("\n" + "\n".join(out))


def by_plane(plane: Plane, bans: dict[str, Ban], base: float) -> str:
    plane.apply(delta(Desired(), plane.read(), now()))  # the library is loaded, the frame is there
    put = seconds(lambda: plane.apply(Delta(add=tuple(bans.values()))))
    read = seconds(plane.read)
    more = min(seconds(lambda n=n: plane.apply(Delta(add=(ban(f"m{n}", f"9.9.9.{n}"),)))) for n in range(5))  # type: ignore[misc]
    goal = Desired({**bans, "b0": ban("b0", str(bans["b0"].target), seconds=7200)})
    change = delta(goal, plane.read(), now())
    change = Delta(add=change.add, remove=tuple(held for held in change.remove if held.ban_id == "b0"))
    longer = seconds(lambda: plane.apply(change))
    assert len(plane.read().bans) == len(bans) + 5
    return (
        f"{put:>9.2f}s{len(bans) / put:>10.0f}{put / base:>9.1f}x{read:>8.2f}s"
        f"{1000 * more:>8.1f}ms{1000 * longer:>7.0f}ms"
    )


class Blast:
    """Frames ready to be thrown at one namespace's host, again and again."""

    def __init__(self, groups: tuple[SourceGroup, ...]) -> None:
        plan = FloodPlan(groups=groups, ports=(80,), pps=1000, duration_s=1, seed=1)
        route = Route(mac_of("wire1"), mac_of("wire0"), ELSEWHERE4, ELSEWHERE6)
        self._batch = Batch(plan, route, FRAMES)
        self._batch.refill()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(263, 20, 1)  # PACKET_QDISC_BYPASS
        self._socket.bind(("wire1", 0))
        self._send = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._send.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]

    def ns_per_packet(self) -> float:
        """Throw every frame once; what the near end does with it is done on this CPU before the call returns."""
        self._batch.left = FRAMES
        start = time.perf_counter()
        while self._batch.left:
            sent = self._send(self._socket.fileno(), self._batch.next_header, min(64, self._batch.left), 0)
            if sent <= 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            self._batch.left -= sent
        return (time.perf_counter() - start) * 1e9 / FRAMES

    def close(self) -> None:
        self._socket.close()


def test_what_a_packet_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SYNs of sources that nobody banned, IPv4 and IPv6 in turn: what the innocent pay."""
    cases: dict[tuple[str, int], NetworkThread] = {}
    blasts: dict[tuple[str, int], Blast] = {}
    best: dict[tuple[str, int], float] = {}
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    wanted_cases = [("no rules", 0)] + [(name, size) for name in PLANES for size in PACKET_SIZES]
    try:
        for name, size in wanted_cases:
            thread = cases[name, size] = NetworkThread()
            thread.sh(WIRE)
            if name in PLANES:
                plane = thread.call(PLANES[name], now)
                goal = Desired(mixed(size))
                thread.call(lambda plane=plane, goal=goal: plane.apply(delta(goal, plane.read(), now())))  # type: ignore[misc]
            blasts[name, size] = thread.call(Blast, (anywhere(4), anywhere(6)))
        for _ in range(ROUNDS):
            for case, thread in cases.items():
                best[case] = min(best.get(case, 1e12), thread.call(blasts[case].ns_per_packet))
    finally:
        for thread in cases.values():
            thread.close()
    base = best["no rules", 0]
    out = [f"a SYN without any rules: {base:.0f} ns with sending it", f"{'':16}{'bans':>8}{'ns more':>9}{'ratio':>8}"]
    out += [
        f"{name:16}{size:>8}{taken - base:>9.0f}{taken / base:>8.2f}" for (name, size), taken in best.items() if size
    ]
    with capsys.disabled():
        print("\n" + "\n".join(out))
