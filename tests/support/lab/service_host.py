"""systemd as the first process of a namespace: the shipped unit is started by what will start it on a host.

It has process, mount, control group and host name namespaces of its own, and the network of the lab. The machine's own
files are there read-only; ``/run``, ``/tmp``, ``/var``, ``/dev`` and ``/usr/local/sbin`` are file systems of its own.
It knows no units but those it is given: the usual ones would set the machine's sysctls and clean its ``/tmp``.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.support.lab.namespaces import REPOSITORY, LabError, Namespace
from tests.support.lab.programs import wait_for

SYSTEMD: Final = Path("/lib/systemd/systemd")
INSIDE: Final = Path("/run/work")
"""Where the host sees the directory that is shared with the test."""

_TARGETS: Final = ("sysinit", "basic", "network", "shutdown", "umount", "emergency", "rescue")
_PATIENCE_S: Final = 20.0
_INIT: Final = """\
set -e
work=$1 repository=$2 python=$3
mount --make-rslave /
stage=$work/stage
mkdir -p $stage
mount -t tmpfs -o mode=755 tmpfs $stage
mkdir $stage/repository $stage/work $stage/dev $stage/netns
mount --bind $repository $stage/repository
mount --bind $work $stage/work
mount --rbind $stage /run
mount -o remount,bind,ro /
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /var
mkdir /var/lib /var/tmp /var/log /var/cache
mount -t tmpfs -o mode=755 tmpfs /usr/local/sbin
case $repository in /tmp/*|/var/*) mkdir -p $repository; mount --bind /run/repository $repository;; esac
ln -s $(dirname $python)/synguard /usr/local/sbin/synguard
mount -t tmpfs -o mode=755 tmpfs /run/dev
for node in null zero full random urandom tty; do touch /run/dev/$node; mount --bind /dev/$node /run/dev/$node; done
mkdir /run/dev/pts /run/dev/shm /run/dev/mqueue /run/dev/hugepages
mount -t devpts -o ptmxmode=666 devpts /run/dev/pts
ln -s pts/ptmx /run/dev/ptmx
ln -s /proc/self/fd /run/dev/fd
mount -t tmpfs tmpfs /run/dev/shm
mount --rbind /run/dev /dev
mount -t proc proc /proc
mountpoint -q /sys/fs/cgroup && umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cd /
export container=lab SYSTEMD_UNIT_PATH=/run/work/units
exec /lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=0 </dev/null
"""


def why_no_service_manager() -> str:
    """Return why systemd cannot be started in a namespace here; empty where it can."""
    if not SYSTEMD.exists():
        return f"there is no {SYSTEMD}: install the package systemd"
    return "" if cgroup2() != Path() else "no cgroup2 file system is mounted"


class ServiceHost:
    """A running systemd that is about to start one service; a context manager."""

    def __init__(self, namespace: Namespace, home: Path, unit: Path, drop_in: str = "") -> None:
        """``drop_in`` is added to the unit as a file of ``synguard.service.d``."""
        self.name = unit.name
        self.home = home
        self._namespace = namespace
        units = home / "units"
        (units / f"{unit.name}.d").mkdir(parents=True)
        shutil.copy(unit, units)
        (units / f"{unit.name}.d" / "test.conf").write_text(drop_in, encoding="utf-8")
        for target in _TARGETS:
            (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n", encoding="utf-8")
        wants = f"[Unit]\nDefaultDependencies=no\nWants={unit.name}\nAfter={unit.name}\n"
        (units / "multi-user.target").write_text(wants, encoding="utf-8")
        self._group = cgroup2() / namespace.name
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0
        """The first process of the host, as seen from outside."""

    def __enter__(self) -> ServiceHost:
        self._group.mkdir()
        join = f'echo $$ >{self._group}/cgroup.procs; exec "$@"'
        unshare = ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc", "--kill-child"]
        init = ["sh", "-c", _INIT, "init", str(self.home), str(REPOSITORY), sys.executable]
        with (self.home / "systemd.log").open("wb") as output:
            # It joins its group first: `ip netns exec` mounts another /sys, without control groups.
            inside = self._namespace.command([*unshare, *init])
            self._process = subprocess.Popen(
                ["sh", "-c", join, "join", *inside],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=REPOSITORY,
            )
        try:
            wait_for(self._answers, "systemd to answer", _PATIENCE_S)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill it with all that it started, and remove its control groups."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(_PATIENCE_S)
        wait_for(lambda: not self._populated(), "the host to be gone", _PATIENCE_S)
        for group in sorted(self._group.rglob("*"), reverse=True):
            if group.is_dir():
                group.rmdir()
        self._group.rmdir()

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command on the host and return what it printed.

        Raises:
            LabError: It failed.
        """
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "-r", *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode and check:
            raise LabError(f"{' '.join(command)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def properties(self) -> dict[str, str]:
        """Return what systemd knows of the service: ``ActiveState``, ``StatusText``, ``NRestarts``, …"""
        lines = self.run("systemctl", "show", self.name).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def main_pid(self) -> int:
        """Return the service's process as the host numbers it; 0 where there is none."""
        return int(self.properties()["MainPID"])

    def proc(self, file: str) -> str:
        """Return a file of the service's process under ``/proc``: ``status``, ``mounts``."""
        return self.run("cat", f"/proc/{self.main_pid()}/{file}")

    def in_service(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command that sees the files as the service does, whatever its exit code."""
        inside = ["nsenter", "-t", str(self.main_pid()), "-m", "-r", *command]
        return subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "-r", *inside],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def wait_active(self, within_s: float = _PATIENCE_S) -> None:
        """Return once the service has said that it is ready.

        Raises:
            LabError: It did not in time; carries what systemd says of it.
        """
        try:
            wait_for(lambda: self.properties()["ActiveState"] == "active", "the service", within_s, every=0.1)
        except LabError as error:
            known = self.properties()
            words = {name: known.get(name) for name in ("ActiveState", "SubState", "Result", "ExecMainStatus")}
            raise LabError(f"{error}: {words}") from error

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise LabError(f"systemd ended: {(self.home / 'systemd.log').read_text(encoding='utf-8')[-2000:]}")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with suppress(OSError, ValueError, IndexError, LabError):
            self.pid = int(children.read_text(encoding="ascii").split()[0])
            return Path(f"/proc/{self.pid}/comm").read_text().strip() == "systemd" and bool(self.properties())
        return False

    def _populated(self) -> bool:
        with suppress(OSError):
            return "populated 1" in (self._group / "cgroup.events").read_text(encoding="ascii")
        return False


def cgroup2() -> Path:
    """Return where the machine's cgroup2 hierarchy is mounted, or the empty path."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return Path()
