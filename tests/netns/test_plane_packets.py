"""Would this packet come out? Every kernel plane, both families, real packets between real hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from synguard.addresses import parse_network
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Desired, Plane
from synguard.enforcer.reconcile.outcome import Outcome
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.model import FIREWALL_ACTIONS, ON_HANDSHAKES, Action, Scope
from tests.support.bans import ban, wanted
from tests.support.firewall_net import BEHIND, LONG_PATIENCE_S, PATIENCE_S, FirewallNet, prefix, source, wait_until
from tests.support.network_thread import PlaneThere

pytestmark = pytest.mark.kernel

MakePlane = Callable[[Callable[[], datetime]], Plane]
KINDS: Final = (IptablesSetsPlane, NftablesPlane)
BOTH = pytest.mark.parametrize("family", [4, 6])
Enforce = Callable[[Desired], Outcome]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(params=KINDS, ids=lambda plane: plane.name)
def plane(
    request: pytest.FixtureRequest, net: FirewallNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PlaneThere]:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    there = PlaneThere(net.host, lambda: request.param(now))
    yield there
    there.flush()


@pytest.fixture
def enforce(plane: PlaneThere, tmp_path: Path) -> Enforce:
    reconciler = Reconciler(plane, tmp_path / "apply.lock")
    return lambda goal: reconciler.reconcile(goal, now(), full=True)


@pytest.mark.smoke
@BOTH
def test_new_connections_of_a_banned_source_stop_and_its_neighbour_gets_through(
    net: FirewallNet, enforce: Enforce, family: int
) -> None:
    assert net.reaches(family)
    enforce(wanted(ban("b", source(family, 2))))
    assert net.attempt(family, 2) == "silence"
    assert net.reaches(family, 3)
    enforce(Desired())
    assert net.reaches(family, 2)


@BOTH
def test_scope_new_stops_only_the_ports_it_names(net: FirewallNet, enforce: Enforce, family: int) -> None:
    enforce(wanted(ban("b", prefix(family), ports=(80,))))
    assert net.attempt(family, port=80) == "silence"
    assert net.reaches(family, port=443)


@BOTH
def test_a_connection_survives_a_ban_of_scope_new_and_not_one_of_scope_all(
    net: FirewallNet, enforce: Enforce, family: int
) -> None:
    with net.connection(family, 4) as echoes:
        enforce(wanted(ban("b", source(family, 4))))
        assert echoes(LONG_PATIENCE_S)
        enforce(wanted(ban("b", source(family, 4), Scope.ALL)))
        assert not echoes(PATIENCE_S)


@BOTH
def test_a_proven_peer_inside_a_banned_prefix_gets_through_unless_everything_is_stopped(
    net: FirewallNet, enforce: Enforce, family: int
) -> None:
    enforce(wanted(ban("b", prefix(family), ports=(80,)), ban("c", prefix(family)), proven=(source(family, 5),)))
    assert net.reaches(family, 5)
    assert net.stopped(family, 6)
    enforce(wanted(ban("b", source(family, 5), Scope.ALL), proven=(source(family, 5),)))
    assert net.stopped(family, 5)


@BOTH
@pytest.mark.parametrize("action", FIREWALL_ACTIONS)
def test_a_proven_peer_that_is_refused_on_one_port_stays_so_while_it_passes_a_ban_of_its_prefix_on_another(
    net: FirewallNet, enforce: Enforce, family: int, action: Action
) -> None:
    """A ban on SYNs to 443 let the served clients of its prefix through, and the flooders among them on port 80 too."""
    refused = ban("holds-too-many", source(family, 5), action=action, ports=(80,))
    bans = [replace(refused, evidence=ON_HANDSHAKES), ban("on-syns", prefix(family), action=action, ports=(443, 22))]
    peers = [parse_network(source(family, number)) for number in (5, 6)]
    for _ in range(2):
        enforce(Desired.of(bans, (), peers, now()))
        assert net.stopped(family, 5, 80)
        assert net.reaches(family, 5, 443)
        assert net.reaches(family, 6, 80)
        assert net.reaches(family, 6, 443)
        assert net.stopped(family, 7, 443)
        bans.reverse()
    enforce(Desired.of(bans, (), peers[1:], now()))
    assert net.stopped(family, 5, 443)


@pytest.mark.parametrize(("family", "first", "headers"), [(4, 8, 0), (4, 16, 0), (6, 24, 0), (6, 99, 9), (6, 99, 40)])
def test_a_ban_stops_what_hides_in_fragments_or_behind_headers(
    net: FirewallNet,
    plane: PlaneThere,
    enforce: Enforce,
    family: int,
    first: int,
    headers: int,
    record_property: Callable[[str, object], None],
) -> None:
    """With 8 bytes of TCP in the first fragment every SYN passed the nftables plane: its flags are in the second.

    Of IPv6 the kernel itself takes none whose first fragment is shorter than its TCP header (Linux 5.11).
    """
    assert net.answers_hidden(family, 2, first, LONG_PATIENCE_S, headers)
    port, new, whole = (
        ban("b", source(family, 2), ports=(80,)),
        ban("c", source(family, 3)),
        ban("d", source(family, 4), Scope.ALL),
    )
    enforce(wanted(port, new, whole))
    for number in (2, 3, 4):
        assert not net.answers_hidden(family, number, first, PATIENCE_S, headers)
    if plane.name == NftablesPlane.name or first >= 20:  # the tcp match of xtables drops shorter ones of everybody
        assert net.answers_hidden(family, 5, first, LONG_PATIENCE_S, headers)
    record_property("now", "0 of 3 banned sources pass, a neighbour does")


def test_short_fragments_of_ipv6_are_stopped_and_counted(net: FirewallNet, enforce: Enforce, plane: PlaneThere) -> None:
    """The host puts none together, but what stands behind it may. iptables drops those of everybody, uncounted."""
    enforce(wanted(ban("c", source(6, 3))))
    assert not net.answers_hidden(6, 3, 8, PATIENCE_S)
    assert plane.read().bans["c"].hits.packets == (1 if plane.name == NftablesPlane.name else 0)


@pytest.mark.smoke
@BOTH
@pytest.mark.parametrize("action", FIREWALL_ACTIONS)
def test_a_protected_party_gets_through_whatever_is_banned(
    net: FirewallNet, enforce: Enforce, family: int, action: Action
) -> None:
    everything = [ban("b", prefix(family), Scope.ALL, action), ban("c", prefix(family), Scope.NEW, action)]
    enforce(wanted(*everything, allow=(source(family, 7),)))
    assert net.reaches(family, 7)
    assert net.stopped(family, 8)


@pytest.mark.smoke
@BOTH
@pytest.mark.parametrize("scope", Scope)
def test_reject_answers_at_once(net: FirewallNet, enforce: Enforce, family: int, scope: Scope) -> None:
    enforce(wanted(ban("b", source(family, 2), scope, Action.REJECT)))
    assert net.refused(family, 2)
    assert net.refused(family, 2, to=BEHIND)
    assert net.reaches(family, 3)


@BOTH
@pytest.mark.parametrize("scope", Scope)
def test_forwarded_traffic_is_stopped_too(net: FirewallNet, enforce: Enforce, family: int, scope: Scope) -> None:
    assert net.reaches(family, 2, to=BEHIND)
    enforce(wanted(ban("b", source(family, 2), scope)))
    assert net.attempt(family, 2, to=BEHIND) == "silence"
    assert net.reaches(family, 3, to=BEHIND)


def test_bans_of_every_shape_end_on_time_with_nobody_alive(net: FirewallNet, enforce: Enforce) -> None:
    """Nobody reads or applies after the bans are in: what ends them is the kernel."""
    shapes = [(scope, action, ports) for scope in Scope for action in FIREWALL_ACTIONS for ports in ((), (80, 443))]
    shapes = [shape for shape in shapes if not (shape[0] is Scope.ALL and shape[2])]
    cases = [(family, 2 + number, *shape) for family in (4, 6) for number, shape in enumerate(shapes)]
    bans = {
        (family, number): ban(f"b-{family}-{number}", source(family, number), scope, action, ports, seconds=1.6)
        for family, number, scope, action, ports in cases
    }
    enforce(wanted(*bans.values()))
    assert all(net.stopped(*case) for case in list(bans)[::3])
    for case, one in bans.items():
        wait_until(lambda case=case: not net.stopped(*case), within_s=10)  # type: ignore[misc]
        assert now() >= one.expires_at  # never early; wait_until says that it is not much later


def test_an_extended_ban_outlives_its_first_expiry_and_keeps_its_count(
    net: FirewallNet, plane: PlaneThere, enforce: Enforce
) -> None:
    first = ban("b", source(4), seconds=1.5)
    enforce(wanted(first))
    assert net.stopped(4)
    counted = plane.read().bans["b"].hits.packets
    assert counted > 0
    enforce(wanted(ban("b", source(4), seconds=60)))
    assert plane.read().bans["b"].hits.packets == counted
    assert first.expires_at is not None
    wait_until(lambda: now().timestamp() > first.expires_at.timestamp() + 1.2, within_s=10)  # type: ignore[union-attr]
    assert net.stopped(4)
    assert plane.read().bans["b"].hits.packets > counted


def test_another_ban_on_the_same_target_starts_counting_anew(
    net: FirewallNet, plane: PlaneThere, enforce: Enforce
) -> None:
    enforce(wanted(ban("b", source(4))))
    assert net.stopped(4)
    assert plane.read().bans["b"].hits.packets > 0
    enforce(wanted(ban("c", source(4))))
    assert plane.read().bans["c"].hits.packets == 0


def test_hits_count_each_stopped_packet_once_whatever_the_action(
    net: FirewallNet, plane: PlaneThere, enforce: Enforce, tmp_path: Path
) -> None:
    enforce(wanted(ban("drop", source(4, 2), ports=(80, 443)), ban("reject", source(4, 3), Scope.ALL, Action.REJECT)))
    assert net.attempt(4, 2, 80) == "silence"
    assert net.attempt(4, 2, 443) == "silence"
    assert net.refused(4, 3)
    hits = Reconciler(plane, tmp_path / "lock").hits()
    assert hits["drop"].packets == 2
    assert hits["reject"].packets == 1


def test_a_restart_adopts_what_is_there_and_touches_nothing(
    net: FirewallNet, plane: PlaneThere, enforce: Enforce, tmp_path: Path
) -> None:
    goal = wanted(ban("b", source(4)), ban("c", source(6), ports=(80,)), allow=("127.0.0.1",))
    enforce(goal)
    assert net.stopped(4)
    counted = plane.read().bans["b"].hits
    fresh = Reconciler(plane, tmp_path / "lock").reconcile(goal, now())
    assert not fresh.change
    assert fresh.drift == ()
    assert fresh.held["b"].hits == counted


def test_what_the_ledger_does_not_have_is_removed_and_told(
    net: FirewallNet, plane: PlaneThere, enforce: Enforce, tmp_path: Path
) -> None:
    enforce(wanted(ban("b", source(4))))
    outcome = Reconciler(plane, tmp_path / "lock").reconcile(Desired(), now())
    assert net.reaches(4)
    assert outcome.drift == ("1 ban in the kernel but not in the ledger, removed: b (10.7.0.2)",)


@pytest.mark.parametrize("later", KINDS, ids=lambda kind: kind.name)
def test_a_change_of_plane_hands_the_bans_over(
    net: FirewallNet,
    plane: PlaneThere,
    enforce: Enforce,
    tmp_path: Path,
    later: Callable[[Callable[[], datetime]], Plane],
) -> None:
    """What the earlier plane held goes once the later one holds it: else an unban would find only one of the two."""
    goal = wanted(ban("b", source(4)), ban("c", source(6), Scope.ALL, Action.REJECT), allow=("127.0.0.1",))
    enforce(goal)
    other = PlaneThere(net.host, lambda: later(now))
    reconciler = Reconciler(other, tmp_path / "lock")
    reconciler.reconcile(goal, now())
    assert net.stopped(4)
    assert net.refused(6)
    assert other.read().intact
    assert set(other.read().bans) == {"b", "c"}
    reconciler.reconcile(Desired(), now())
    assert net.reaches(4)
    assert net.reaches(6)
    other.flush()
    assert net.host.sh("ipset list -n; nft list tables inet") == ""
