"""Following and telling a real CrowdSec local API."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from synguard.clock import SystemClock
from synguard.errors import FleetError
from synguard.fleet.follower import DecisionFollower, HostView
from synguard.fleet.lapi import AlertSink, DecisionSource
from synguard.fleet.peer import PeerRecord
from synguard.fleet.reporter import AlertReporter, Outbox
from synguard.incidents import Incident, Phase
from synguard.ledger import Ledger
from synguard.model import Action, Ban, Evidence, Origin, Scope, Signal
from tests.support.lab.agent import SYNGUARD
from tests.support.lab.crowdsec import LocalApi
from tests.support.lab.namespaces import Namespace, new_prefix, new_workdir
from tests.support.network_thread import NetworkThread

pytestmark = pytest.mark.kernel

PROTECTED = ip_network("198.51.100.7/32")


class There:
    """A client of the local API whose requests are made in its namespace."""

    def __init__(self, api: LocalApi, make: Callable[[], Any]) -> None:
        self._thread = NetworkThread(api.namespace)
        self._client = self._thread.call(make)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._thread.call, getattr(self._client, name))


class Host:
    """A host's fleet parts and its ledger."""

    def __init__(self, api: LocalApi, home: Path, name: str) -> None:
        home.mkdir()
        self.ledger = Ledger.open(home / "ledger.db")
        self.beside = Ledger.open(home / "ledger.db")  # the reporter's thread has a connection of its own
        self.incoming = PeerRecord("crowdsec decisions", "lapi")
        self.outgoing = PeerRecord("crowdsec alerts", "lapi")
        self.dry_run = False
        clock = SystemClock()
        self.follower = DecisionFollower(
            There(api, partial(DecisionSource, api.url, api.key(name))),
            lambda: HostView(self.dry_run, [PROTECTED]),
            clock,
            self.incoming,
            kinds=frozenset({"ban"}),
            at_most=1000,
            poll_s=10.0,
        )
        api.machine(name, f"password-of-{name}")
        self.outbox = Outbox()
        self.reporter = AlertReporter(
            There(api, partial(AlertSink, api.url, name, f"password-of-{name}")),
            self.outbox,
            clock,
            self.outgoing,
            name,
        )

    def poll(self) -> None:
        self.follower.poll(self.ledger)

    def tell(self) -> None:
        self.reporter.work(self.beside)

    def bans(self, origin: Origin = Origin.CROWDSEC) -> dict[str, Ban]:
        active = self.ledger.active_bans(datetime.now(UTC), dry_run=self.dry_run)
        return {str(ban.target): ban for ban in active.values() if ban.origin is origin}

    def ban(self, target: str, signal: Signal = Signal.CONNECTIONS, lasts_s: float = 600.0) -> Ban:
        """Ban as the agent does, and hand the ban to what tells others."""
        now = datetime.now(UTC)
        made = Ban(
            id=f"a{os.urandom(4).hex()}",
            target=ip_network(target),
            scope=Scope.NEW if signal.forgeable else Scope.ALL,
            action=Action.DROP,
            origin=Origin.AUTO,
            policy="web",
            reason="connections 700 / 400",
            created_at=now,
            expires_at=now + timedelta(seconds=lasts_s),
            evidence=(Evidence(signal, 700.0, 400.0, (80,)),),
        )
        self.ledger.add_bans([made])
        self.outbox.put([made])
        return made


@pytest.fixture(scope="module")
def api() -> Iterator[LocalApi]:
    namespace = Namespace(f"{new_prefix()}-lapi")
    with ExitStack() as held:
        namespace.add()
        held.callback(namespace.remove_if_present)
        home = new_workdir()
        api = LocalApi(namespace, home / "lapi")
        held.callback(api.kill)
        api.start()
        yield api


@pytest.fixture
def hosts(api: LocalApi, tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    api.cscli("decisions", "delete", "--all")
    names = [f"host-{os.urandom(3).hex()}" for _ in range(2)]
    one, other = (Host(api, tmp_path / name, name) for name in names)
    yield one, other
    for host in (one, other):
        host.ledger.close()
        host.beside.close()


def test_decisions_become_bans_with_their_own_end_and_leave_with_them(api: LocalApi, hosts: tuple[Host, Host]) -> None:
    host, _ = hosts
    api.decide("203.0.113.9", "2h")
    api.decide("203.0.113.77/24", "1h")
    api.decide("2001:db8:7::/48", "1h")
    api.decide("203.0.114.1", "1h", kind="captcha")
    host.poll()
    bans = host.bans()
    assert set(bans) == {"203.0.113.9/32", "203.0.113.0/24", "2001:db8:7::/48"}
    expires_at = bans["203.0.113.9/32"].expires_at
    assert expires_at is not None
    assert abs((expires_at - datetime.now(UTC)).total_seconds() - 7200) < 60
    assert "CrowdSec, origin cscli" in bans["203.0.113.9/32"].reason
    assert host.incoming.state.notes == ("decisions left out: type captcha",)
    host.poll()
    assert host.bans() == bans  # the same answer moves nothing
    api.undo("203.0.113.9")
    host.poll()
    assert "203.0.113.9/32" not in host.bans()


def test_a_protected_party_is_not_banned_whatever_is_decided(api: LocalApi, hosts: tuple[Host, Host]) -> None:
    host, _ = hosts
    api.decide("198.51.100.7")
    api.decide("198.51.100.0/24")
    host.poll()
    assert not host.bans()
    assert host.incoming.state.counts["protected"] == 2


def test_a_proven_ban_reaches_the_other_host_and_a_forgeable_one_does_not(hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    one.ban("203.0.113.9/32")
    one.ban("203.0.113.10/32", Signal.SYN_RATE)
    one.ban("2001:db8:7::/64")
    one.tell()
    other.poll()
    assert set(other.bans()) == {"203.0.113.9/32", "2001:db8:7::/64"}
    assert one.outgoing.state.counts["sent"] == 2


def test_what_came_in_does_not_go_out_and_two_hosts_do_not_prolong_each_other(hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    mine = one.ban("203.0.113.9/32", lasts_s=300)
    for _ in range(3):
        for host in hosts:
            host.tell()
            host.poll()
            host.outbox.put(host.bans().values())
    assert one.outgoing.state.counts["sent"] == 1
    assert other.outgoing.state.counts == {}
    theirs = other.bans()["203.0.113.9/32"].expires_at
    assert mine.expires_at is not None
    assert theirs is not None
    assert abs((theirs - mine.expires_at).total_seconds()) < 5
    assert not one.bans()  # its own ban stands, and its own decision adds none
    assert set(one.bans(Origin.AUTO)) == {"203.0.113.9/32"}


def test_an_unban_by_hand_withdraws_our_decision_and_leaves_those_of_others(
    api: LocalApi, hosts: tuple[Host, Host]
) -> None:
    one, other = hosts
    mine = one.ban("203.0.113.9/32")
    one.tell()
    other.poll()
    assert set(other.bans()) == {"203.0.113.9/32"}
    api.decide("203.0.113.20")
    one.ledger.end_bans([mine.id], datetime.now(UTC), "unbanned by hand")
    one.tell()
    other.poll()
    assert set(other.bans()) == {"203.0.113.20/32"}


def test_an_unban_by_hand_of_a_followed_decision_is_not_undone_by_the_next_poll(
    api: LocalApi, hosts: tuple[Host, Host]
) -> None:
    host, _ = hosts
    api.decide("203.0.113.9")
    host.poll()
    host.ledger.end_bans([ban.id for ban in host.bans().values()], datetime.now(UTC), "unbanned by hand")
    host.poll()
    host.follower._complete_at = float("-inf")
    host.poll()
    assert not host.bans()


def test_an_unban_while_the_local_api_is_away_is_withdrawn_when_it_is_back(
    api: LocalApi, hosts: tuple[Host, Host]
) -> None:
    """The look at the ledger was spent on a try that failed: the decision stood on every other host to its end."""
    one, other = hosts
    mine = one.ban("203.0.113.9/32")
    one.tell()
    other.poll()
    api.kill()
    one.ledger.end_bans([mine.id], datetime.now(UTC), "unbanned by hand")
    with pytest.raises(FleetError, match="does not answer"):
        one.tell()
    api.start()
    one.tell()
    other.follower._complete_at = float("-inf")
    other.poll()
    assert not other.bans()


def test_a_target_that_is_banned_again_keeps_its_new_decision(hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    mine = one.ban("203.0.113.9/32")
    one.tell()
    one.ledger.end_bans([mine.id], datetime.now(UTC), "unbanned by hand")
    one.ban("203.0.113.9/32")
    one.tell()
    other.poll()
    assert set(other.bans()) == {"203.0.113.9/32"}


def test_an_incident_is_told_without_a_decision(api: LocalApi, hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    now = datetime.now(UTC)
    incident = Incident("i1", Phase.CALM, "spoofed-flood", now - timedelta(minutes=2), now, peak_syn_pps=12_000)
    one.outbox.put([incident])
    one.tell()
    other.poll()
    assert not other.bans()
    assert "synguard/spoofed-source-flood" in {alert["scenario"] for alert in api.alerts()}


def test_a_shorter_decision_stands_when_the_longer_one_is_deleted(api: LocalApi, hosts: tuple[Host, Host]) -> None:
    """CrowdSec 1.4.6 says nothing of it in its changes; the next complete look finds it."""
    host, _ = hosts
    api.decide("203.0.113.9", "4h")
    api.decide("203.0.113.9", "1h")
    host.poll()
    shorter = api.decisions()[0]["id"]  # the latest of an address is all that is listed
    api.cscli("decisions", "delete", "--id", str(int(shorter) - 1))
    host.poll()
    host.follower._complete_at = float("-inf")
    host.poll()
    expires_at = host.bans()["203.0.113.9/32"].expires_at
    assert expires_at is not None
    assert expires_at < datetime.now(UTC) + timedelta(hours=2)


def test_while_the_local_api_is_away_what_is_known_stands(api: LocalApi, hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    api.decide("203.0.113.9")
    one.poll()
    api.kill()
    with pytest.raises(FleetError, match="does not answer: connection refused"):
        one.poll()
    assert set(one.bans()) == {"203.0.113.9/32"}
    one.ban("203.0.113.30/32")
    with pytest.raises(FleetError, match="does not answer"):
        one.tell()
    api.start()
    one.tell()
    one.poll()
    other.poll()
    assert set(other.bans()) == {"203.0.113.9/32", "203.0.113.30/32"}


def test_a_wrong_key_and_a_wrong_password_are_said_with_what_to_do(api: LocalApi) -> None:
    with pytest.raises(FleetError, match="cscli bouncers add"):
        There(api, partial(DecisionSource, api.url, "wrong")).stream(complete=True)
    with pytest.raises(FleetError, match="cscli machines add"):
        There(api, partial(AlertSink, api.url, "admin", "wrong")).send([{}])


def test_a_dry_run_records_what_would_be_followed(api: LocalApi, hosts: tuple[Host, Host]) -> None:
    host, _ = hosts
    api.decide("203.0.113.9")
    host.dry_run = True
    host.poll()
    assert host.bans()["203.0.113.9/32"].dry_run
    host.dry_run = False
    host.poll()
    assert not replace(host.bans()["203.0.113.9/32"], dry_run=False).dry_run


def test_a_scope_in_lower_case_is_taken_and_never_streamed(hosts: tuple[Host, Host]) -> None:
    """Why scopes are written ``Ip`` and ``Range``: 1.4.6 answers 201 to ``ip`` and keeps it to itself."""
    from synguard.fleet.outgoing import ban_alert

    one, other = hosts
    alert = ban_alert(one.ban("203.0.113.40/32"), datetime.now(UTC))
    assert alert is not None
    decisions = alert["decisions"]
    assert isinstance(decisions, list)
    decisions[0]["scope"] = "ip"
    one.reporter._sink.send([alert])
    other.poll()
    assert not other.bans()


def raw(api: LocalApi, name: str) -> Callable[[bool], dict[str, Any]]:
    """A bouncer of its own that returns what the stream says, as it stands there."""
    source = There(api, partial(DecisionSource, api.url, api.key(f"{name}-{os.urandom(3).hex()}")))
    return lambda complete: dict(json.loads(source.stream(complete=complete)))


def test_what_its_stream_says_is_written_as_expected(api: LocalApi, hosts: tuple[Host, Host]) -> None:
    """Version 1.4.6: an empty list is ``null``, durations are Go's with fractions, host bits stand in prefixes."""
    ask = raw(api, "words")
    ask(True)
    assert ask(False)["new"] is None
    api.decide("203.0.113.77/24", "1h")
    [one] = ask(False)["new"]
    assert (one["scope"], one["value"]) == ("Range", "203.0.113.77/24")
    assert re.fullmatch(r"59m\d+\.\d+s", one["duration"])


def test_deletions_repeat_and_a_start_lists_all_that_ever_ended(api: LocalApi, hosts: tuple[Host, Host]) -> None:
    """Why deletions come first and the same answer twice changes nothing; their time is over, with a minus sign."""
    host, _ = hosts
    ask = raw(api, "deletions")
    ask(True)
    api.decide("203.0.113.50", "1h")
    api.undo("203.0.113.50")
    for _ in range(2):
        [ended] = [one for one in ask(True)["deleted"] if one["value"] == "203.0.113.50"]
        assert ended["duration"].startswith("-")
    for _ in range(2):
        api.decide("203.0.113.50", "2h")
        host.poll()
        assert set(host.bans()) == {"203.0.113.50/32"}
        host.poll()
        assert set(host.bans()) == {"203.0.113.50/32"}
        api.undo("203.0.113.50")
        host.poll()
        assert not host.bans()


def test_an_alert_that_lacks_a_field_is_refused_with_500(hosts: tuple[Host, Host]) -> None:
    from synguard.fleet.outgoing import ban_alert

    one, other = hosts
    alert = ban_alert(one.ban("203.0.113.51/32"), datetime.now(UTC))
    assert alert is not None
    with pytest.raises(FleetError, match="does not take alerts: 500"):
        one.reporter._sink.send([{name: value for name, value in alert.items() if name != "scenario_hash"}])
    one.reporter._sink.send([alert])
    other.poll()
    assert set(other.bans()) == {"203.0.113.51/32"}


def test_a_decision_counts_from_the_stop_of_its_alert_so_late_reports_are_told_as_of_now(
    hosts: tuple[Host, Host],
) -> None:
    """1.4.6 answers 201 to an alert of an hour ago with a decision of ten minutes, which no one is ever told of."""
    from synguard.fleet.outgoing import ban_alert

    one, other = hosts
    other.poll()
    ban = one.ban("203.0.113.52/32", lasts_s=600)
    alert = ban_alert(ban, datetime.now(UTC))
    assert alert is not None
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    one.reporter._sink.send([alert | {"stop_at": hour_ago, "start_at": hour_ago}])
    other.poll()
    assert not other.bans()
    one.outbox.put([replace(ban, created_at=datetime.now(UTC) - timedelta(hours=1))])
    one.tell()
    other.poll()
    assert set(other.bans()) == {"203.0.113.52/32"}


def test_two_hosts_with_one_key_miss_what_the_other_was_told(api: LocalApi, hosts: tuple[Host, Host]) -> None:
    """Why each host needs a key of its own."""
    ask = raw(api, "shared")
    ask(True)
    time.sleep(1.1)  # it tells changes by the second
    api.decide("203.0.113.53")
    assert [one["value"] for one in ask(False)["new"]] == ["203.0.113.53"]
    time.sleep(1.1)
    assert ask(False)["new"] is None


def test_what_the_doctor_asks_takes_nothing_from_the_agent_with_the_same_key(
    api: LocalApi, hosts: tuple[Host, Host]
) -> None:
    key = api.key(f"doctor-{os.urandom(3).hex()}")
    agent, doctor = (There(api, partial(DecisionSource, api.url, key)) for _ in range(2))
    agent.stream(complete=True)
    api.decide("203.0.113.54")
    doctor.check()
    assert "203.0.113.54" in agent.stream(complete=False).decode()
    with pytest.raises(FleetError, match="cscli bouncers add"):
        There(api, partial(DecisionSource, api.url, "wrong")).check()
    with pytest.raises(FleetError, match="cscli machines add"):
        There(api, partial(AlertSink, api.url, "admin", "wrong")).check()
    There(api, partial(AlertSink, api.url, "admin", "admin-password")).check()


def test_bans_say_where_they_come_from_in_every_view(api: LocalApi, hosts: tuple[Host, Host], tmp_path: Path) -> None:
    host, _ = hosts
    api.decide("203.0.113.55", "2h")
    host.poll()
    config = tmp_path / "synguard.toml"
    state = host.ledger.path.parent
    state.chmod(0o700)
    config.write_text(f'state_dir = "{state}"\nruntime_dir = "{tmp_path}/run"\n')
    for verb in (["why", "203.0.113.55"], ["report"], ["bans", "--json"]):
        done = subprocess.run(
            [SYNGUARD, "--config", str(config), *verb], capture_output=True, text=True, check=False, timeout=60,
            env={**os.environ, "COLUMNS": "250"},
        )  # fmt: skip
        assert "203.0.113.55" in done.stdout, done.stderr
        assert "crowdsec" in done.stdout
        assert "manual 'ban' from" in done.stdout
