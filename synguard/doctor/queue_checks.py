"""What the doctor says of SYN cookies and of the queues that a flood fills, each with the command that mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from synguard.doctor.findings import Finding, Level
from synguard.enforcer.sysctl import ALWAYS
from synguard.enforcer.sysctl_note import SysctlNoteFile, note_directories
from synguard.model import Mode
from synguard.policy.models import Config
from synguard.readings import Listener
from synguard.units import format_ports

_ENOUGH: Final = 4096
"""What the kernel allows a listener by itself since 5.4."""
_PERSIST: Final = "/etc/sysctl.d/60-synguard.conf"
"""Where a setting stands so that it survives a reboot."""

_BACKLOG_OF: Final = {
    "nginx": "in every `listen {port}` of nginx's config: listen {port} backlog=4096; then systemctl restart nginx",
    "apache2": "in apache's config: ListenBackLog 4096; then systemctl restart apache2",
    "httpd": "in apache's config: ListenBackLog 4096; then systemctl restart httpd",
    "haproxy": "in the frontend of haproxy's config: backlog 4096; then systemctl restart haproxy",
    "lighttpd": "in lighttpd's config: server.listen-backlog = 4096; then systemctl restart lighttpd",
    "redis-server": "in redis.conf: tcp-backlog 4096; then systemctl restart redis-server",
    "sshd": "sshd always asks for 128: allow port {port} only from where people log in",
    "systemd": "in the socket unit: Backlog=4096; then systemctl daemon-reload and restart the socket",
}
"""Process → how it is told to ask for a longer queue; a running listener keeps its own until it is restarted."""


def queue_findings(config: Config, exposed: Sequence[Listener], sysctls: Path) -> Iterator[Finding]:
    """Yield what is to be said of SYN cookies, and of the limits on the queues of listeners that others can reach."""
    yield _cookies(config, sysctls)
    yield _somaxconn(exposed, sysctl_value(sysctls, "core/somaxconn"))
    cookies = bool(sysctl_value(sysctls, "ipv4/tcp_syncookies"))
    yield _max_syn_backlog(exposed, sysctl_value(sysctls, "ipv4/tcp_max_syn_backlog"), cookies)


def longer_queue(listener: Listener) -> str:
    """Return how to have a listener ask for a longer queue."""
    name = listener.process.partition("[")[0]
    how = _BACKLOG_OF.get(name, "raise the backlog that the program gives to listen(), to 4096, and restart it")
    return how.format(port=listener.port)


def _cookies(config: Config, sysctls: Path) -> Finding:
    value = sysctl_value(sysctls, "ipv4/tcp_syncookies")
    if value is None:
        return Finding("SYN cookies", Level.WARN, "net.ipv4.tcp_syncookies cannot be read", "mount /proc")
    if value == 0:
        return _no_cookies(config)
    note = SysctlNoteFile(note_directories(config)).read()
    if note and value == note.made and not note.before:
        reason = "turned on by synguard for an incident; the value before, 0, comes back at calm"
        fix = f"to keep them on, after the incident: {_setting('net.ipv4.tcp_syncookies', 1)}"
        return Finding("SYN cookies", Level.WARN, reason, fix)
    return Finding("SYN cookies", Level.OK, "always on" if value == ALWAYS else "on when a queue is full")


def _no_cookies(config: Config) -> Finding:
    fix = _setting("net.ipv4.tcp_syncookies", 1)
    if config.mode is Mode.ENFORCE and config.countermeasure.syn_cookies == "auto":
        reason = "off: clients fail at the onset of every flood, until an agent turns them on for its length"
        return Finding("SYN cookies", Level.WARN, reason, fix)
    reason = "off: a flood of forged addresses shuts out everybody, and no ban helps against it"
    return Finding("SYN cookies", Level.BAD, reason, fix)


def _somaxconn(exposed: Sequence[Listener], value: int | None) -> Finding:
    if value is None:
        return Finding("somaxconn", Level.WARN, "net.core.somaxconn cannot be read", "mount /proc")
    fix = _setting("net.core.somaxconn", _ENOUGH)
    cut = sorted({one.port for one in exposed if one.backlog >= value})
    if value < _ENOUGH and cut:
        reason = f"{value}, and the queue of port {format_ports(cut)} is cut to it: a small flood fills that"
        return Finding("somaxconn", Level.WARN, reason, f"{fix}; then restart what listens there")
    if value < _ENOUGH:
        return Finding("somaxconn", Level.WARN, f"{value}: no listener's queue can be longer", fix)
    return Finding("somaxconn", Level.OK, str(value))


def _max_syn_backlog(exposed: Sequence[Listener], value: int | None, cookies: bool) -> Finding:
    """Say whether ``tcp_max_syn_backlog`` cuts a queue: it does so only while cookies are off, at three quarters."""
    name, key = "tcp_max_syn_backlog", "net.ipv4.tcp_max_syn_backlog"
    if value is None:
        return Finding(name, Level.WARN, f"{key} cannot be read", "mount /proc")
    longest = max(exposed, key=lambda one: one.backlog, default=None)
    usable = value - value // 4
    if cookies or longest is None or longest.backlog <= usable:
        return Finding(name, Level.OK, f"{value}, without effect while SYN cookies are on" if cookies else str(value))
    reason = (
        f"{value}: without SYN cookies, unknown clients are turned away from {usable} half-open connections on, "
        f"though port {longest.port} holds {longest.backlog}"
    )
    enough = 1 << (4 * longest.backlog // 3).bit_length()
    return Finding(name, Level.WARN, reason, _setting(key, enough))


def _setting(key: str, value: int) -> str:
    """Return the command that sets a value now and after every boot."""
    return f"sysctl -w {key}={value} && echo '{key} = {value}' >> {_PERSIST}"


def sysctl_value(sysctls: Path, name: str) -> int | None:
    """Return the value of one setting under ``net.``, or None where it cannot be read."""
    try:
        return int((sysctls / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
