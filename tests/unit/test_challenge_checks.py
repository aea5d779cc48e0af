"""What the doctor says of challenges: each obstacle with its fix, also before they are switched on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network

from synguard.doctor.challenge_checks import challenge_findings
from synguard.doctor.findings import Finding, Level
from synguard.enforcer.challenge.handshakes import Entrance
from synguard.enforcer.challenge.obstacles import Obstacle
from synguard.errors import SensorError
from synguard.policy.models import Challenge, Config
from synguard.readings import Listener
from synguard.sensors.attach_points import AttachPoint, AttachPoints

ON = Config(challenge=Challenge(enabled="auto"))
WEB = Listener(ip_address("0.0.0.0"), 80, 511, 0, "nginx[1]")
LOCAL = Listener(ip_address("127.0.0.1"), 6379, 511, 0, "redis[2]")
UPLINK = AttachPoints((AttachPoint(2, "eth0"), AttachPoint(3, "wg0")), (), (ip_network("192.0.2.2/32"),))
RULE = Obstacle("new-must-be-syn", "the ACK is refused: rule 7", "nft delete rule inet fw in handle 7", (80,))
NOTHING: Mapping[int, list[str]] = {}
KERNEL = Obstacle("helpers", "the kernel lacks bpf_loop", "boot Linux 6.0 or later")


def findings(
    *obstacles: Obstacle, config: Config = ON, points: AttachPoints = UPLINK, ahead: Mapping[int, list[str]] = NOTHING
) -> tuple[list[Finding], list[tuple[list[int], list[Entrance]]]]:
    asked = []

    def look(ports: Iterable[int], entrances: Sequence[Entrance]) -> tuple[Obstacle, ...]:
        asked.append((list(ports), list(entrances)))
        return obstacles

    return list(
        challenge_findings(config, [WEB, LOCAL], lambda: points, look, lambda index: ahead.get(index, []))
    ), asked


def test_exposed_ports_are_judged_at_each_interface_and_family() -> None:
    found, asked = findings()
    assert [one.level for one in found] == [Level.OK]
    assert "eth0, wg0" in found[0].reason
    ((ports, entrances),) = asked
    assert ports == [80]
    assert [(one.interface, one.family) for one in entrances] == [("eth0", 4), ("eth0", 6), ("wg0", 4), ("wg0", 6)]


def test_interfaces_that_the_configuration_names_are_the_only_ones() -> None:
    config = Config(challenge=Challenge(enabled="auto", interfaces=("wg0",)))
    _, asked = findings(config=config)
    assert {one.interface for one in asked[0][1]} == {"wg0"}
    missing = Config(challenge=Challenge(enabled="auto", interfaces=("eth7",)))
    assert findings(config=missing)[0][0].level is Level.WARN


def test_an_obstacle_is_a_warning_with_its_ports_and_its_fix() -> None:
    found, _ = findings(RULE)
    assert (found[0].level, found[0].fix) == (Level.WARN, RULE.fix)
    assert found[0].reason == f"clients of port 80 are not challenged: {RULE.text}"
    assert found[1].level is Level.OK, "other ports are"


def test_programs_of_others_that_see_packets_first_are_said_and_warn_of_nothing() -> None:
    found, _ = findings(ahead={3: ["XDP program 12", "the tc filter of pref 7 (bpf)"]})
    assert [one.level for one in found] == [Level.OK] * 3
    assert found[0].reason.startswith("XDP program 12 at wg0 sees packets first")
    assert found[1].reason.startswith("the tc filter of pref 7 (bpf) at wg0 sees packets first")
    assert "bpftool net show dev wg0" in found[0].fix


def test_an_obstacle_for_all_ports_leaves_nothing_that_works() -> None:
    found, _ = findings(KERNEL)
    assert [(one.level, one.reason) for one in found] == [
        (Level.WARN, f"no client can be challenged: {KERNEL.text}"),
    ]


def test_where_challenges_are_switched_off_obstacles_are_said_and_warn_of_nothing() -> None:
    found, _ = findings(RULE, config=Config(challenge=Challenge(enabled="off")))
    assert {one.level for one in found} == {Level.OK}
    assert found[0].fix == RULE.fix
    assert all(one.reason.startswith("switched off (challenge.enabled)") for one in found)


def test_an_interface_that_is_not_understood_is_named() -> None:
    points = AttachPoints(UPLINK.points, (("ib0", "packets of hardware type 32 are not understood"),), ())
    assert any("ib0" in one.reason and one.level is Level.WARN for one in findings(points=points)[0])


def test_interfaces_that_cannot_be_read_are_a_warning() -> None:
    def refused() -> AttachPoints:
        raise SensorError("cannot read the network interfaces: Operation not permitted")

    (one,) = challenge_findings(ON, [WEB], refused)
    assert (one.level, "cannot read the network interfaces" in one.reason) == (Level.WARN, True)
