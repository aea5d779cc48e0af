"""Figures for Prometheus: read by its own parser, bounded whatever a process is called, served however it is asked."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from synguard.agent import metrics_endpoint
from synguard.errors import SynguardError
from synguard.metrics.exposition import Exposition
from synguard.metrics.series import Delivery
from synguard.metrics.server import APART_S, AT_ONCE, LONGEST_REQUEST, MetricsServer, answer
from synguard.metrics.table import PROBLEM_KINDS, SERIES
from synguard.model import Mode, Origin, Scope, VerdictKind
from synguard.notify.dispatcher import Dispatcher
from synguard.policy.models import Metrics
from synguard.status.builder import MOST_LISTENERS
from synguard.status.conditions import KINDS, Code, Condition
from synguard.status.model import (
    ActiveBansStatus,
    AgentStatus,
    CapacityStatus,
    FloodStatus,
    ListenerStatus,
    PeerStatus,
    SensorStatus,
    Status,
    TotalsStatus,
    read_status,
)
from tests.scenario.test_floods import ATTACKER, ENFORCE, POLICY, rain
from tests.support.fake_plane import FakePlane
from tests.support.scene import Scene

AT = datetime(2026, 11, 22, 14, 5, 16, tzinfo=UTC)


def listener(port: int = 80, process: str = "nginx[7]", namespace: str = "") -> ListenerStatus:
    return ListenerStatus(
        port=port, process=process, half_open=129, backlog=128, fill=129 / 128, censored=True, accept_queue=3,
        namespace=namespace,
    )  # fmt: skip


def status(*listeners: ListenerStatus, **more: object) -> Status:
    whole: dict[str, object] = {
        "mode": Mode.ENFORCE, "plane": "iptables (sets)", "show_command": "x", "healthy": True, "pid": 7,
        "started_at": AT, "last_reading_at": AT + timedelta(seconds=5), "policies": ("default",),
        "pressure": listeners, "flood": FloodStatus(half_open=129, syn_pps=10_023.5),
        "bans_by": (ActiveBansStatus(origin=Origin.AUTO, scope=Scope.NEW, bans=2),),
        "totals": TotalsStatus(
            bans=5, verdicts={VerdictKind.BAN: 7}, packets=10**12 + 40, answered=40, passed=3, repairs=1
        ),
        "ceilings": (CapacityStatus(name="set synguard-new-drop-4", used=99, ceiling=100, key="ceilings.members"),),
        "sensors": {"counters": SensorStatus(ok=True), "half_open": SensorStatus(ok=False, detail="x")},
        "peers": (
            PeerStatus(name="crowdsec alerts", place="lapi", reachable=None, since=None),
            PeerStatus(name="gobgp", place="here", reachable=False, since=AT, counts={"announced": 3}),
        ),
        "agent": AgentStatus(
            ticks=9, tick_ms_p50=1.5, tick_ms_max=4.0, late_ms_max=0.2, rss_bytes=10**8, cpu_share=0.1
        ),
    }  # fmt: skip
    return Status.model_validate(whole | more)


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return (name, sorted labels) → value, by the exposition's own parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def exposed(told: Status, delivery: Delivery = Delivery()) -> bytes:  # noqa: B008  # frozen
    exposition = Exposition(lambda: delivery)
    exposition.take(told)
    return exposition.text()


def test_the_figures_are_those_of_the_status() -> None:
    seen = read(exposed(status(listener()), Delivery(1, 2, 3, 4)))
    where = (("family", "ipv4"), ("namespace", ""), ("port", "80"))
    assert seen["synguard_mode", (("mode", "enforce"),)] == 1
    assert seen["synguard_mode", (("mode", "dry-run"),)] == 0
    assert seen["synguard_half_open_sockets", ()] == 129
    assert seen["synguard_syns_per_second", ()] == 10_023.5
    assert seen["synguard_listener_censored", where] == 1
    assert seen["synguard_listener_info", tuple(sorted((*where, ("process", "nginx[7]"))))] == 1
    assert seen["synguard_bans", (("origin", "auto"), ("scope", "new"))] == 2
    assert seen["synguard_bans", (("origin", "manual"), ("scope", "all"))] == 0
    assert seen["synguard_bans_total", ()] == 5
    assert seen["synguard_verdicts_total", (("kind", "ban"),)] == 7
    assert seen["synguard_dropped_packets_total", ()] == 10**12
    assert seen["synguard_challenged_syns_total", (("outcome", "answered"),)] == 40
    assert seen["synguard_challenged_syns_total", (("outcome", "passed"),)] == 3
    assert seen["synguard_challenged_syns_total", (("outcome", "limited"),)] == 0
    assert seen["synguard_sensor_up", (("sensor", "half_open"),)] == 0
    assert {key: value for key, value in seen.items() if key[0].startswith("synguard_peer")} == {
        ("synguard_peer_up", (("peer", "gobgp"),)): 0,
        ("synguard_peer_since_timestamp_seconds", (("peer", "gobgp"),)): AT.timestamp(),
        ("synguard_peer_items", (("kind", "announced"), ("peer", "gobgp"))): 3,
    }
    assert seen["synguard_ceiling_ratio", (("key", "ceilings.members"),)] == 0.99
    assert seen["synguard_tick_seconds_max", ()] == 0.004
    assert seen["synguard_last_reading_timestamp_seconds", ()] == AT.timestamp() + 5
    assert [seen[f"synguard_notify_{name}", ()] for name in ("waiting", "sent_total", "given_up_total")] == [1, 2, 3]


def test_every_metric_has_a_sample_and_a_type_and_nothing_else_is_there() -> None:
    families = list(text_string_to_metric_families(exposed(status(listener())).decode()))
    assert {sample.name for family in families for sample in family.samples} == {one.name for one in SERIES}
    assert all(family.type in ("gauge", "counter") and family.documentation for family in families)


def test_names_are_those_of_the_conventions() -> None:
    for one in SERIES:
        assert one.name.startswith("synguard_")
        assert one.name.endswith("_total") is (one.kind == "counter")
        assert not one.name.endswith(("_ms", "_milliseconds"))


def test_each_problem_is_counted_under_its_kind_and_each_condition_under_its_code() -> None:
    codes = (
        Code.PROTECTED_UNKNOWN, Code.PLANE_FAILED, Code.LEAK, Code.SENSOR_FAILED, Code.CAPACITY_FULL,
        Code.LEDGER_FAILED, Code.METRICS_FAILED,
    )  # fmt: skip
    conditions = tuple(
        Condition(code=code, severity=KINDS[code].severity, text="any words", since=AT) for code in codes
    )
    seen = read(exposed(status(conditions=conditions, healthy=False)))
    assert [seen["synguard_problems", (("kind", kind),)] for kind in PROBLEM_KINDS] == [1, 1, 1, 1, 1, 1]
    held = {code for code in Code if seen["synguard_conditions", (("code", code), ("severity", KINDS[code].severity))]}
    assert held == set(codes)
    assert seen["synguard_plane_up", ()] == 0


@given(names=st.lists(st.text(max_size=300), max_size=5), namespace=st.text(max_size=100))
@settings(max_examples=60)
def test_whatever_processes_are_called_the_exposition_stays_sound(names: list[str], namespace: str) -> None:
    listeners = [listener(80 + number % 2, name, namespace) for number, name in enumerate(names)]
    text = exposed(status(*listeners))
    families = list(text_string_to_metric_families(text.decode()))
    assert {sample.name for family in families for sample in family.samples} <= {one.name for one in SERIES}
    labels = [(sample.name, tuple(sorted(sample.labels.items()))) for family in families for sample in family.samples]
    assert len(set(labels)) == len(labels)
    assert all(len(value) <= 64 for _, pairs in labels for _, value in pairs)


def test_the_size_does_not_depend_on_the_attack() -> None:
    full = exposed(status(*(listener(port, "p" * 500) for port in range(1, MOST_LISTENERS + 1))))
    assert len(full) < 64_000
    assert not any(label in one.labels for one in SERIES for label in ("source", "target", "address"))


def test_a_text_is_made_once_a_status_however_often_it_is_asked_for() -> None:
    exposition = Exposition()
    assert exposition.text() == b""
    exposition.take(status())
    assert exposition.text() is exposition.text()
    before = exposition.text()
    exposition.take(status(listener()))
    assert exposition.text() is not before


@contextmanager
def served(address: str = "127.0.0.1") -> Iterator[MetricsServer]:
    exposition = Exposition()
    exposition.take(status(listener()))
    server = MetricsServer(address, 0, exposition.text)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def asked(
    server: MetricsServer, path: str = "/metrics", method: str = "GET", address: str = "127.0.0.1"
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, server.port, timeout=20)
    with closing(connection):
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_scrape_is_answered(address: str) -> None:
    with served(address) as server:
        code, text = asked(server, address=address)
    assert code == 200
    assert read(text)["synguard_half_open_sockets", ()] == 129


def test_other_paths_and_methods_are_refused() -> None:
    with served() as server:
        assert asked(server, "/")[0] == 200
        assert asked(server, "/etc/passwd")[0] == 404
        assert asked(server, method="POST")[0] == 405
        assert asked(server, method="HEAD") == (200, b"")


@given(request=st.binary(max_size=200))
def test_whatever_is_asked_is_answered_in_http(request: bytes) -> None:
    assert answer(request, lambda: b"x").startswith(b"HTTP/1.1 ")


def test_scrapers_that_hang_or_drip_leave_room_for_others_and_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synguard.metrics.server.PATIENCE_S", 1.0)
    with served() as server:
        hung = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(AT_ONCE - 1)]
        hung[0].sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        assert asked(server)[0] == 200
        hung.append(socket.create_connection(("127.0.0.1", server.port)))
        assert asked(server)[0] == 200, "once the first are cut off"
        hung[1].settimeout(20)
        assert hung[1].recv(1) == b""
        for one in hung:
            one.close()


def test_a_request_without_an_end_is_not_kept() -> None:
    with served() as server, socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(20)
        connection.sendall(b"GET /metrics HTTP/1.1\r\n" + b"x" * (LONGEST_REQUEST - 23))
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_a_storm_of_scrapes_is_taken_at_a_pace_of_its_own() -> None:
    """What is not taken waits in the kernel; the pace is a pause between two, so there is no time to assert."""
    answers = []
    with served() as server:
        threads = [threading.Thread(target=lambda: answers.append(asked(server)[0])) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert answers == [200] * 12
    assert APART_S * 20 == 1.0


def test_a_stop_ends_open_connections_and_gives_the_port_back() -> None:
    with served() as server:
        port = server.port
        hung = socket.create_connection(("127.0.0.1", port))
        time.sleep(0)
    hung.settimeout(20)
    assert hung.recv(1) == b""
    hung.close()
    MetricsServer("127.0.0.1", port, bytes)._listener.close()


def test_a_port_that_is_taken_is_told_and_the_agent_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(tmp_path, POLICY, config=ENFORCE, plane=FakePlane())
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with metrics_endpoint.measuring(scene.agent, Metrics(listen=listen), Dispatcher((), tmp_path)):
            rain(scene, {ATTACKER: 10_000.0}, 2.0)
    sentence = f"metrics are not served: {listen}: address already in use; set [metrics] listen to a free address"
    assert [one.message for one in caplog.records if "metrics" in one.message] == [f"{sentence} and port, and restart"]
    told = read_status(tmp_path)
    assert told is not None
    assert told.notes == (f"{sentence} and port, and restart",)
    assert told.healthy
    assert scene.banned() == {ATTACKER}


def test_an_address_that_is_not_here_is_told() -> None:
    with pytest.raises(
        SynguardError, match=r"metrics are not served: 192\.0\.2\.1:9877: cannot assign requested address"
    ):
        MetricsServer("192.0.2.1", 9877, bytes)


def test_a_flood_shows_in_the_figures_of_a_whole_agent(tmp_path: Path) -> None:
    scene = Scene(tmp_path, POLICY, config=ENFORCE, plane=FakePlane())
    scene.fake.utcnow = scene.clock.utcnow
    exposition = Exposition()
    scene.agent.publisher.readers.append(exposition.take)
    rain(scene, {ATTACKER: 10_000.0}, 5.0)
    for ban_id in scene.fake.actual.bans:
        scene.fake.count(ban_id, 1000)
    rain(scene, {ATTACKER: 10_000.0}, 10.0)
    seen = read(exposition.text())
    assert seen["synguard_bans", (("origin", "auto"), ("scope", "new"))] == 1
    assert seen["synguard_bans_total", ()] == 1
    assert seen["synguard_incidents_total", ()] == 1
    assert seen["synguard_dropped_packets_total", ()] == 1000
    assert seen["synguard_incident_active", ()] == 1
    assert seen["synguard_sampler_one_in", ()] >= 1
    assert seen["synguard_verdicts_total", (("kind", "ban"),)] >= 1
    assert seen["synguard_ledger_size_bytes", ()] > 10_000
    assert seen["synguard_plane_up", ()] == 1


@pytest.mark.parametrize("listen", ["0.0.0.0:9877", "[::]:9877", "192.0.2.1:9877"])
def test_an_address_that_others_can_reach_wants_a_word(listen: str) -> None:
    with pytest.raises(ValueError, match="set allow_remote = true if that is meant"):
        Metrics(listen=listen)
    assert Metrics(listen=listen, allow_remote=True).listen == listen


@pytest.mark.parametrize(
    "listen", ["localhost:9877", "9877", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "999.1.1.1:80", "[x]:80"]
)
def test_what_is_no_address_is_a_fault_of_the_config(listen: str) -> None:
    with pytest.raises(ValueError, match=r"neither|holds no address"):
        Metrics(listen=listen)
