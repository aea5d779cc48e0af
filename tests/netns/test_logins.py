"""A real sshd: who is logged in is known whatever it tells utmp and logind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import pytest

from synguard.sensors.logged_in import read_ssh_peers
from tests.support.lab.namespaces import REPOSITORY
from tests.support.own_network import in_own_network, wait_until

pytestmark = pytest.mark.kernel

PORT: Final = "2222"
USER: Final = "alice"
CONFIG: Final = """
UsePAM no
PidFile none
StrictModes no
PermitRootLogin yes
ListenAddress 127.0.0.22:2222
HostKey {home}/host
AuthorizedKeysFile {home}/key.pub
"""
OWN_RUN: Final = """
set -e
mount -t tmpfs none /run
mkdir /run/sshd
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/shadow" /etc/shadow
exec /usr/sbin/sshd -D -e -f "$1/sshd_config"
"""
"""A user of our own and an empty ``/run``, in a mount namespace of its own: nothing of the host is changed."""


@contextmanager
def sshd(home: Path) -> Iterator[None]:
    """Serve logins by key on 127.0.0.22, without PAM."""
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)], check=True)
    (home / "sshd_config").write_text(CONFIG.format(home=home))
    (home / "passwd").write_text(f"{Path('/etc/passwd').read_text()}{USER}:x:4711:4711::/:/bin/sh\n")
    (home / "shadow").write_text(f"root:*:1::::::\nsshd:*:1::::::\n{USER}:*:1::::::\n")
    for place in (home, *home.parents):
        if place.owner() == "root" and place != Path("/") and place.is_relative_to("/tmp"):  # pytest's
            os.chmod(place, place.stat().st_mode | 0o055)
    server = subprocess.Popen(["unshare", "--mount", "sh", "-c", OWN_RUN, "sh", str(home)], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: subprocess.run(["ss", "-Hltn", f"sport = :{PORT}"], capture_output=True).stdout != b"")
        yield
    finally:
        server.terminate()
        server.communicate()


@contextmanager
def session(home: Path, source: str, user: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Log in from one address; ``ssh`` of the client side runs as long as the block."""
    command = [
        "ssh", "-F", "none", "-i", str(home / "key"), "-p", PORT, "-b", source, "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", *options[:-1],
        f"{user}@127.0.0.22", *([options[-1]] if options[-1] else []),
    ]  # fmt: skip
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield client
    finally:
        client.terminate()
        client.communicate()


def peers(home: Path) -> set[str]:
    """Return who is known to be logged in on a host without utmp whose logind hears of nobody."""
    sessions = home / "sessions"
    sessions.mkdir(exist_ok=True)
    return {str(one) for one in read_ssh_peers({}, sessions) if one in subnet()}


def subnet() -> set[object]:
    return {ip_address(f"127.0.0.{n}") for n in range(60, 99)}


@in_own_network
@pytest.mark.parametrize("user", ["root", USER])
def test_a_person_is_known_by_sshds_process_and_its_socket_where_utmp_and_logind_are_silent(
    tmp_path: Path, user: str
) -> None:
    """With `UsePAM no`, without utmp, `/run/systemd/sessions` there but empty: a ban of her address passed."""
    assert shutil.which("sshd") or Path("/usr/sbin/sshd").exists()
    with sshd(tmp_path):
        for source, options in (
            ("127.0.0.81", ("-T", "sleep 60")),
            ("127.0.0.82", ("-tt", "sleep 60")),
            ("127.0.0.83", ("-N", "")),
        ):
            with session(tmp_path, source, user, *options):
                wait_until(lambda: peers(tmp_path) == {source}, 15)  # noqa: B023
            wait_until(lambda: peers(tmp_path) == set())


@in_own_network
def test_who_only_opens_a_connection_to_sshd_is_not_logged_in(tmp_path: Path) -> None:
    with sshd(tmp_path), session(tmp_path, "127.0.0.84", "nobody-of-this-name", "-T", "true"):
        probe = subprocess.Popen(
            [sys.executable, "-c", "import socket, time; s = socket.create_connection(('127.0.0.22', 2222), 5, "
             "('127.0.0.85', 0)); print(s.recv(99), flush=True); time.sleep(60)"],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            assert probe.stdout is not None
            assert b"SSH-2.0" in probe.stdout.readline()
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline:
                assert peers(tmp_path) == set()
        finally:
            probe.kill()
            probe.communicate()


@in_own_network
def test_the_address_of_who_orders_is_found_behind_a_sudo_that_drops_ssh_connection(tmp_path: Path) -> None:
    """`sudo synguard ban` has no SSH_CONNECTION; an ancestor of it does."""
    asks = tmp_path / "asks.py"
    asks.write_text("from synguard.operator.login import login_here\nprint(login_here())\n")
    forgets = "env -u SSH_CONNECTION -u SSH_CLIENT"
    command = f"{forgets} PYTHONPATH={REPOSITORY} {sys.executable} {asks}; true"
    with sshd(tmp_path), session(tmp_path, "127.0.0.86", "root", "-T", command) as client:
        assert client.stdout is not None
        assert "ssh='127.0.0.86 " in client.stdout.read().decode()
