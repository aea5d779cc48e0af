"""Addresses of people who are logged in over SSH, by whichever memory of logins this host keeps.

Anyone may open a connection to port 22; only a login counts. In this order, each adding to the one before:
``SSH_CONNECTION`` of this process; the sshd session processes; utmp, through psutil; the session files of
systemd-logind. sshd gives its process the title ``sshd: alice@pts/0``, ``sshd: alice@notty`` (``ssh -T``) or
``sshd: alice`` (``ssh -N``) only after authentication, and the session holds its connection. Neither utmp nor logind
knows everybody: Debian 13 has no utmp, and with ``UsePAM no`` logind hears of no login.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from synguard.addresses import Address, parse_address
from synguard.socket_table import TcpState

_MAX_SESSIONS: Final = 4096
_MAX_DESCRIPTORS: Final = 256
_SCREEN: Final = re.compile(r":S\.\d+$")
_SESSION_TITLE: Final = re.compile(r"^sshd(?:-session)?: ([^\s@\[]+)(?:@(\S+))?\s*$")
"""Before authentication, since OpenSSH 7.5, there are brackets: ``sshd: [accepted]``, ``sshd: alice [priv]``."""
_SSHD_NAMES: Final = frozenset({"sshd", "sshd-session"})
_OTHER_DAEMONS: Final = frozenset({"dropbear", "tinysshd", "in.telnetd", "telnetd", "mosh-server"})
"""Serve logins without showing which of their connections are any."""
_PIDFD_GETFD: Final = 438  # the same number on every architecture
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PROC: Final = Path("/proc")
_LOGIND_SESSIONS: Final = Path("/run/systemd/sessions")
NAMES_KEPT_S: Final = 60.0
_APART_S: Final = 2.0
"""Two looks that say something about a name that stays."""


def read_ssh_peers(
    environ: Mapping[str, str] = os.environ, sessions: Path = _LOGIND_SESSIONS, proc: Path = _PROC
) -> dict[Address, str]:
    """Return address → ``SSH session of alice (pts/0)``; at most 4,096.

    A login that utmp knows by host name (``UseDNS yes``) counts by the connection its session process holds; records
    that a user's own program wrote there do not count. Nothing is looked up in DNS. Who else may be logged in is said
    by ``read_login_gaps``.

    Raises:
        OSError: A memory of logins exists and cannot be read.
        SensorError: Listening ports cannot be read, which only a session known by its process asks for.
    """
    peers: dict[Address, str] = {}
    own = _address(environ.get("SSH_CONNECTION", ""))
    if own is not None:
        peers[own] = "SSH session that started synguard"
    peers.update(_by_processes(proc))
    peers.update(_by_utmp())
    peers.update(_by_logind(sessions))
    return peers


def read_login_gaps(proc: Path = _PROC) -> tuple[str, ...]:
    """Return a sentence for each kind of login that may exist here and cannot be known; empty where all are known."""
    names = process_names(proc)
    gaps: list[str] = []
    advice = "put the addresses that you log in from into [allow]"
    others = sorted(_OTHER_DAEMONS & set(names.values()))
    if others:
        gaps.append(f"who is logged in through {' and '.join(others)} cannot be known: {advice}")
    if "1" not in names:
        gaps.append(f"processes are hidden from this user, so logins over SSH cannot be seen: {advice}")
    elif any(name in _SSHD_NAMES and not _may_look_at(proc / pid) for pid, name in names.items()):
        gaps.append(f"sshd's processes may not be looked at, so logins that utmp or logind miss are unknown: {advice}")
    return tuple(gaps)


def process_names(proc: Path = _PROC) -> dict[str, str]:
    """Return process id → name, empty where it cannot be read.

    A process that bore the same name at two looks, seconds apart, is believed to keep it for a minute: it would have to
    run another program in place of its own, which daemons do when they start.
    """
    known = _KNOWN.setdefault(proc, _KnownNames())
    now = time.monotonic()
    if now - known.since > NAMES_KEPT_S:
        known.since, known.settled = now, {}
    pids = [name for name in os.listdir(proc) if name.isdigit()]
    names = {pid: known.settled.get(pid) or _name_of(f"{proc}/{pid}/comm") for pid in pids}
    known.settled = {pid: name for pid, name in known.settled.items() if pid in names}
    if now - known.looked_at >= _APART_S:
        known.settled |= {pid: name for pid, name in names.items() if name and known.last.get(pid) == name}
        known.last, known.looked_at = names, now
    return names


@dataclass(slots=True)
class _KnownNames:
    """What processes were called at the last calls."""

    last: dict[str, str] = field(default_factory=dict)
    settled: dict[str, str] = field(default_factory=dict)
    looked_at: float = float("-inf")
    since: float = field(default_factory=time.monotonic)


_KNOWN: Final[dict[Path, _KnownNames]] = {}


def _name_of(comm: str) -> str:
    try:
        with open(comm, errors="replace") as file:
            return file.read(64).strip()
    except OSError:
        return ""


def _may_look_at(process: Path) -> bool:
    try:
        os.readlink(process / "exe")
    except PermissionError:
        return False
    except OSError:  # gone meanwhile
        return True
    return True


def _by_utmp() -> Iterator[tuple[Address, str]]:
    for user, _ in zip(psutil.users(), range(_MAX_SESSIONS), strict=False):
        if user.pid and not _made_by_root(int(user.pid)):
            continue
        reason = f"SSH session of {user.name} ({user.terminal or 'no terminal'})"
        address = _address(user.host or "")
        if address is not None:
            yield address, reason
        elif user.pid and _looks_like_a_name(user.host):
            for peer in _peers_of_session(int(user.pid)):
                yield peer, reason


def _made_by_root(pid: int) -> bool:
    """Return whether a record of a login is of a process that root runs, or that root's sshd has made for a user.

    Terminal programs let any user write records with whatever address (utempter), which would be immunity for the
    asking. Those name his own process. What is gone has logged out.
    """
    parent, uid = _parent_and_user(pid)
    return uid == 0 or (_is_sshd(pid) and _is_sshd(parent) and _parent_and_user(parent)[1] == 0)


def _parent_and_user(pid: int) -> tuple[int, int]:
    """Return a process's parent and real user id; (0, -1) where it is gone or hidden."""
    try:
        with open(f"/proc/{pid}/status", errors="replace") as status:
            fields = dict(line.split(":", 1) for line in status if ":" in line)
        return int(fields["PPid"]), int(fields["Uid"].split()[0])
    except (OSError, KeyError, ValueError):
        return 0, -1


def _is_sshd(pid: int) -> bool:
    """Return whether a process runs root's sshd program, also one that an upgrade has replaced since.

    The link is read for the name and followed for the owner: its text names no file once that is deleted, or where sshd
    has a root directory of its own.
    """
    program = f"/proc/{pid}/exe"
    try:
        name = os.path.basename(os.readlink(program)).removesuffix(" (deleted)")
        return name in _SSHD_NAMES and os.stat(program).st_uid == 0
    except OSError:
        return False


def _address(text: str) -> Address | None:
    """Return the address that a host field begins with; ``192.0.2.7 via mosh [81]``, ``192.0.2.7:S.0`` of screen."""
    words = text.split(maxsplit=1)
    if not words:
        return None
    try:
        return parse_address(_SCREEN.sub("", words[0]))
    except ValueError:
        return None


def _looks_like_a_name(host: str | None) -> bool:
    """Return whether a host field is a machine's name, rather than ``:0``, ``tmux(81).%0`` or a kernel version."""
    return bool(host) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", host or "") is not None


def _by_logind(sessions: Path) -> Iterator[tuple[Address, str]]:
    r"""Read logind's session files, ``REMOTE=1\nUSER=alice\nREMOTE_HOST=192.0.2.7\nTTY=pts/0\n…``.

    The same files that libsystemd's ``sd_session_get_remote_host`` reads, as ``who`` does on hosts without utmp.
    """
    if not sessions.is_dir():
        return
    for path, _ in zip(sessions.iterdir(), range(_MAX_SESSIONS), strict=False):
        if path.suffix:  # 12.ref is a pipe that logind holds open
            continue
        try:
            lines = path.read_text(errors="replace").splitlines()
        except FileNotFoundError:  # logged out meanwhile
            continue
        fields = dict(line.split("=", 1) for line in lines if "=" in line)
        address = _address(fields.get("REMOTE_HOST", ""))
        if address is not None and fields.get("STATE") != "closing":
            yield address, f"SSH session of {fields.get('USER', 'unknown')} ({fields.get('TTY', 'no terminal')})"


def _by_processes(proc: Path) -> Iterator[tuple[Address, str]]:
    """Find authenticated sshd sessions by their process titles."""
    for name, comm in process_names(proc).items():
        title = _session_title(name) if comm in _SSHD_NAMES else None
        if title:
            for peer in _peers_of_session(int(name)):
                yield peer, f"SSH session of {title[1]} ({title[2] or 'no terminal'})"


def _session_title(pid: str) -> re.Match[str] | None:
    """Return the parts of an sshd session's title; None for any other process, also one that only pretends to be.

    A local user may give a program any name and title, root's sshd too if he starts it himself; but not its parent.
    """
    try:
        if not _is_sshd(int(pid)) or not _made_by_root(int(pid)):
            return None
        with open(f"/proc/{pid}/cmdline", errors="replace") as cmdline:
            return _SESSION_TITLE.match(cmdline.read(256).split("\0", 1)[0])
    except OSError:  # gone meanwhile, or hidden from us
        return None


def _peers_of_session(pid: int) -> set[Address]:
    """Return whom an sshd session was called by: the peers of its connections to a port that others listen on.

    What it forwards is left out: outgoing connections (``-L``, ``-D``) leave from ports that no one listens on, and
    those accepted for ``-R`` come to a port that the session itself listens on. The session's descriptors are borrowed
    (``pidfd_getfd``), since finding their inodes would mean reading the host's whole socket table during a flood.
    """
    try:
        connections, own_ports = _tcp_of(pid)
    except OSError:  # gone meanwhile, or hidden from us
        return set()
    if not connections:
        return set()
    from synguard.sensors.sockets import SocketTables

    with closing(SocketTables()) as sockets:
        listening = set(sockets.tcp([TcpState.LISTEN]).local_port.tolist())
    return {peer for port, peer in connections if port in listening - own_ports}


def _tcp_of(pid: int) -> tuple[list[tuple[int, Address]], set[int]]:
    """Return (local port, peer) of a process's TCP connections, and the ports it listens on itself."""
    connections: list[tuple[int, Address]] = []
    own_ports: set[int] = set()
    pidfd = os.pidfd_open(pid)
    try:
        for descriptor in sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))[:_MAX_DESCRIPTORS]:
            if not os.readlink(f"/proc/{pid}/fd/{descriptor}").startswith("socket:"):
                continue
            with socket.socket(fileno=_borrow(pidfd, descriptor)) as borrowed:
                if borrowed.family not in (socket.AF_INET, socket.AF_INET6) or borrowed.type != socket.SOCK_STREAM:
                    continue
                port = borrowed.getsockname()[1]
                if borrowed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    own_ports.add(port)
                elif (peer := _peer_of(borrowed)) is not None:
                    connections.append((port, peer))
    finally:
        os.close(pidfd)
    return connections, own_ports


def _borrow(pidfd: int, descriptor: int) -> int:
    """Return our own descriptor of another process's open file."""
    ours: int = _LIBC.syscall(_PIDFD_GETFD, pidfd, descriptor, 0)
    if ours < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return ours


def _peer_of(connection: socket.socket) -> Address | None:
    try:
        return _address(connection.getpeername()[0])
    except OSError:  # not connected any more
        return None
