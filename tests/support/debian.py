"""A fresh Debian to install into: its own files, and for what touches a kernel its own network and its own systemd.

The base system is fetched once, by mmdebstrap from where this machine's apt gets its packages, and kept as a tar file
under ``build/``. Packages are installed with the machine's network, since they come from there; everything after that
happens in network, process, mount, control group and host name namespaces.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final
from zlib import crc32

from tests.support.lab.namespaces import REPOSITORY, LabError
from tests.support.lab.programs import wait_for
from tests.support.lab.service_host import cgroup2

BUILD: Final = REPOSITORY / "build"
_PATIENCE_S: Final = 30.0
_ENVIRONMENT: Final[dict[str, str]] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "TERM": "dumb",
}
_PASSED_ON: Final = ("PIP_DEFAULT_TIMEOUT", "http_proxy", "https_proxy", "no_proxy")
_TRUSTED: Final = "/etc/ssl/machine.crt"
"""In it, the certificates that this machine's pip trusts, which may be more than Debian's."""
_DEVICES: Final = "null zero full random urandom tty net/tun"
_TARGETS: Final = ("sysinit", "basic", "network", "shutdown", "umount", "emergency", "rescue")
_MOUNTS: Final = f"""\
set -e
root=$1; shift
mount --make-rprivate /
mount --bind $root $root
mkdir -p $root/dev/net $root/dev/pts $root/dev/shm
for node in {_DEVICES}; do touch $root/dev/$node; mount --bind /dev/$node $root/dev/$node; done
mount -t devpts -o ptmxmode=666 devpts $root/dev/pts
mount -t tmpfs tmpfs $root/dev/shm
"""
_SHELL: Final = f"""\
{_MOUNTS}
mount -t proc proc $root/proc
mount -t sysfs -o ro sysfs $root/sys
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
exec chroot $root "$@"
"""
_INIT: Final = f"""\
{_MOUNTS}
mount -t tmpfs -o mode=755 tmpfs $root/run
mkdir -p $root/run/units
ln -s /lib/systemd/system/synguard.service /lib/systemd/system/modprobe@.service $root/run/units/
for target in {" ".join(_TARGETS)} multi-user; do
  printf '[Unit]\\nDefaultDependencies=no\\n' >$root/run/units/$target.target
done
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
umount -l $root/sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
ip link set lo up
hostname newcomer
export container=lab SYSTEMD_UNIT_PATH=/run/units:/etc/systemd/system
exec chroot $root /lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=0 </dev/null
"""
"""Only our own units are known, and what is enabled: Debian's usual ones would set sysctls and load modules of the
machine."""


def why_no_debian() -> str:
    """Return why no Debian can be made here; empty where one can."""
    if os.geteuid() != 0:
        return "only root can make one"
    return "" if shutil.which("mmdebstrap") else "there is no mmdebstrap: install it"


def _here() -> tuple[str, str]:
    """Return the release of this machine, and where its apt gets the main archive from."""
    wanted = "$(CODENAME) $(REPO_URI)"
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages", "Origin: Debian", "Component: main"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    suite, _, uri = next(line for line in listed if "-" not in line.split(" ")[0]).partition(" ")
    return suite, uri


def _base(suite: str, packages: tuple[str, ...]) -> Path:
    """Return the base system with some packages, made where it is not there yet."""
    base = BUILD / f"debian-{suite}-{crc32(' '.join(packages).encode()):08x}.tar"
    if not base.exists():
        BUILD.mkdir(exist_ok=True)
        made = base.with_suffix(".new.tar")
        include = [f"--include={','.join(packages)}"] if packages else []
        make: list[str | Path] = [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--mode=root",
            '--aptopt=Acquire::Check-Valid-Until "false"',  # a mirror may be weeks behind
            *include,
            suite,
            made,
            _source(suite),
        ]
        done = subprocess.run(make, check=False, capture_output=True, text=True)
        if done.returncode:
            raise LabError(f"{' '.join(map(str, make))}: {done.stderr[-2000:]}")
        made.replace(base)
    return base


def _source(suite: str) -> str:
    return f"deb {_here()[1]} {suite} main"


@contextmanager
def _in_memory(directory: Path) -> Iterator[Path]:
    """Give an empty directory in memory: dpkg waits for the disk after each file, which takes most of its time."""
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)
        directory.rmdir()


class Debian:
    """A minimal Debian in a directory; a context manager that removes it.

    It is of this machine's release unless another one is named.
    """

    def __init__(self, root: Path, suite: str = "", packages: Iterable[str] = ()) -> None:
        self.root = root
        self.suite = suite or _here()[0]
        self._packages = tuple(packages)
        self._init: subprocess.Popen[bytes] | None = None
        self._group = cgroup2() / f"debian-{os.getpid()}"
        self._memory = ExitStack()
        self._pid = 0

    def __enter__(self) -> Debian:
        self._memory.enter_context(_in_memory(self.root))
        subprocess.run(["tar", "-C", self.root, "-xf", _base(self.suite, self._packages)], check=True)
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", self.root / "etc" / name)
        if trusted := os.environ.get("PIP_CERT"):
            (self.root / "etc/ssl").mkdir(exist_ok=True)
            shutil.copy(trusted, self.root / _TRUSTED.lstrip("/"))
        self.add_source(self.suite)
        return self

    def add_source(self, suite: str) -> None:
        """Have its apt know a release too."""
        path = self.root / f"etc/apt/sources.list.d/{suite}.list"
        path.write_text(_source(suite) + "\n", encoding="utf-8")
        (self.root / "etc/apt/sources.list").unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        with self._memory:
            self.halt()

    def run(self, command: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a line of shell in it: on its own systemd and network once it is booted, with the machine's before.

        Raises:
            LabError: It failed, and ``check``.
        """
        words = ["sh", "-c", f"cd /root && {{ {command}\n}}"]
        if self._pid:
            argv = ["nsenter", "-t", str(self._pid), "-a", "-r", *words]
        else:
            unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc"]
            argv = [*unshare, "sh", "-c", _SHELL, "shell", str(self.root), *words]
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        if (self.root / _TRUSTED.lstrip("/")).exists():
            passed |= dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), _TRUSTED)
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            env=_ENVIRONMENT | passed,
        )
        if done.returncode and check:
            raise LabError(f"{command}: exit {done.returncode}: {(done.stdout + done.stderr)[-3000:]}")
        return done

    def boot(self) -> None:
        """Start its systemd, which knows no units but ours, in a network of its own that has a loopback and no more."""
        self._group.mkdir()
        join = f'echo $$ >{self._group}/cgroup.procs; exec "$@"'
        unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc", "--kill-child"]
        log = (self.root.parent / "systemd.log").open("wb")
        argv = ["sh", "-c", join, "join", *unshare, "sh", "-c", _INIT, "init", str(self.root)]
        self._init = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=_ENVIRONMENT)
        log.close()
        wait_for(self._answers, "systemd to answer", _PATIENCE_S)

    def halt(self) -> None:
        """Kill its systemd with all that it started."""
        if self._init is None:
            return
        self._init.send_signal(signal.SIGKILL)
        self._init.wait(_PATIENCE_S)
        self._init, self._pid = None, 0
        events = self._group / "cgroup.events"
        wait_for(lambda: "populated 0" in events.read_text(encoding="ascii"), "its processes to be gone", _PATIENCE_S)
        for group in sorted(self._group.rglob("*"), reverse=True):
            if group.is_dir():
                group.rmdir()
        self._group.rmdir()

    def _answers(self) -> bool:
        if self._init is None or self._init.poll() is not None:
            raise LabError(f"systemd ended: {(self.root.parent / 'systemd.log').read_text(encoding='utf-8')[-2000:]}")
        with suppress(OSError, ValueError, IndexError, LabError):
            children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text(encoding="ascii")
            pid = int(children.split()[0])
            if Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() != "systemd":
                return False
            self._pid = pid
            return bool(self.run("systemctl is-system-running", check=False).stdout.strip() not in ("", "offline"))
        return False
