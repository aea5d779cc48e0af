"""Verbs ask the running agent who is protected; where none runs, this host, and what the last agent knew."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from synguard.agent.lock import AgentLock
from synguard.readings import Protected
from synguard.sensors.protected import ADDRESSES, FILE
from synguard.status.protected_file import ProtectedFile
from tests.support.cli_host import CliHost

FRIEND = "203.0.113.20"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    host = CliHost(tmp_path, monkeypatch)
    host.state.mkdir(mode=0o700)
    host.runtime.mkdir(mode=0o700)
    return host


@pytest.fixture
def agent(host: CliHost) -> Iterator[None]:
    with AgentLock(host.runtime):
        yield


def knows(host: CliHost, **parts: str) -> None:
    """Let the agent have published this list: part → one network."""
    known = {name: {ip_network(network): f"protected by {name}"} for name, network in parts.items()}
    ProtectedFile(host.state).write(Protected({}, parts=known))


@pytest.mark.usefixtures("agent")
def test_why_and_ban_ask_the_running_agent_and_say_where_the_file_differs(host: CliHost) -> None:
    """[allow] was edited and not reloaded: `why` said protected, and the agent banned."""
    knows(host, somebody="203.0.113.21")
    host.configure(f'allow.addresses = ["{FRIEND}"]\n')
    assert host.run("why", FRIEND, "--json").json["protected"] == []
    known = host.run("why", "203.0.113.21", "--json").json
    assert [one["network"] for one in known["protected"]] == ["203.0.113.21"]
    assert any(f"{FRIEND} is only in the file" in one for one in known["warnings"])
    assert host.run("ban", "203.0.113.21").code == 3
    made = host.run("ban", FRIEND)
    assert made.code == 0
    assert f"{FRIEND} is only in the file; reload the agent" in made.err
    assert f"{FRIEND} is only in the file" in host.run("doctor").out


@pytest.mark.usefixtures("agent")
def test_an_address_that_was_taken_out_of_the_file_is_protected_until_the_reload(host: CliHost) -> None:
    knows(host, **{ADDRESSES: FRIEND, f"{FILE}/etc/friends": "203.0.113.21"})
    refused = host.run("ban", FRIEND)
    assert refused.code == 3
    assert f"/etc/friends, {FRIEND} are only known to the agent" in refused.err


def test_without_an_agent_the_host_itself_is_asked_and_what_cannot_be_read_is_as_the_last_agent_knew_it(
    host: CliHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synguard.sensors import protected
    from tests.unit.test_protected import places

    friends = host.base / "friends"
    friends.write_text(f"{FRIEND}\n")
    host.configure(f'allow.files = ["{friends}"]\n')
    read = protected.__dict__["read_protected"]
    monkeypatch.undo()
    monkeypatch.setenv("SYNGUARD_CONFIG", str(host.config))
    assert read is not protected.read_protected
    monkeypatch.setattr(protected, "DEFAULT_PLACES", places())
    from synguard.cli.context import protected_here
    from synguard.policy.load import load_config

    config = load_config(host.config)
    ProtectedFile(host.state).write(protected_here(config))
    friends.unlink()
    known = protected_here(config)
    assert ip_network(FRIEND) in known.networks
    assert f"still protected: {FRIEND}" in known.problems[0]


def test_the_address_that_the_caller_is_logged_in_from_is_refused_and_its_want_of_protection_is_reported(
    host: CliHost,
) -> None:
    """`sudo` takes SSH_CONNECTION away: a ban of her own address passed, and the doctor was content."""
    from synguard.operator.enablement import Login

    host.login = Login(ssh=f"{FRIEND} 50022 192.0.2.1 22")
    assert f"you are logged in from {FRIEND}" in host.run("ban", "203.0.113.0/24").err
    assert f"your own address {FRIEND} is not protected" in host.run("doctor").out


@pytest.mark.usefixtures("agent")
def test_logins_that_cannot_be_known_are_said_by_ban_why_and_doctor(host: CliHost) -> None:
    gap = "who is logged in through dropbear cannot be known"
    ProtectedFile(host.state).write(Protected({}, gaps=(gap,), parts={}))
    assert gap in host.run("ban", FRIEND).err
    assert host.run("why", FRIEND, "--json").json["warnings"] == [gap]
    assert gap in host.run("doctor").out


@pytest.mark.usefixtures("agent")
def test_a_container_of_this_host_is_not_cut_off_by_hand_without_insisting_but_its_new_connections_may_be_stopped(
    host: CliHost,
) -> None:
    containers = {ip_network("172.17.0.2"): "own address of web-1"}
    ProtectedFile(host.state).write(Protected({}, never_cut_off=containers))
    refused = host.run("ban", "172.17.0.0/24")
    assert refused.code == 3
    assert "172.17.0.2 is protected (container of this host, own address of web-1)" in refused.err
    assert host.run("ban", "172.17.0.2", "--scope", "new").code == 0
    assert host.run("ban", "172.17.0.2", "--force").code == 0
