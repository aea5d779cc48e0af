"""Debian's kernels under software emulation: a Debian with this checkout in memory, booted, and one line of shell run.

The whole system is the initial one that the kernel unpacks, so it needs no driver to start. What it says goes over a
serial line.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.debian import Debian
from tests.support.lab.namespaces import LabError

_MEMORY_MB: Final = 3072
_PATIENCE_S: Final = 2700.0
_ENDED: Final = "ended with"
_LEFT_OUT: Final = ("usr/share/doc", "usr/share/locale", "usr/share/man", "usr/lib/gcc", "usr/include", "var", "boot")
_INIT: Final = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /var/tmp
ip link set lo up
cd /root
sh -c '{command}'
echo "{ended} $?"
echo o >/proc/sysrq-trigger
sleep 60
"""


@dataclass(frozen=True)
class Kernel:
    """One kernel of a Debian release, unpacked into its file system."""

    release: str
    image: Path


def why_no_kernels() -> str:
    """Return why no kernel can be booted here; empty where one can."""
    missing = [tool for tool in ("qemu-system-x86_64", "cpio") if not shutil.which(tool)]
    return f"there is no {missing[0]}: make kernels installs it" if missing else ""


def unpack_kernel(debian: Debian, suite: str) -> Kernel:
    """Fetch the newest kernel for virtual machines of a release, and lay its modules where it looks for them."""
    debian.add_source(suite)
    debian.run("apt-get update -qq -o Acquire::Check-Valid-Until=false")  # a mirror may be weeks behind
    wanted = "linux-image-cloud-amd64"
    script = f"""\
set -e
image=$(apt-cache show {wanted}/{suite} | grep -o 'linux-image-[0-9][^ ,]*' | head -1)
rest=$(apt-cache depends "$image" | grep -oE 'linux-(binary|modules)-.*' || true)
cd /tmp
apt-get download -qq "$image" $rest 2>/dev/null
for package in linux-*.deb; do dpkg-deb -x "$package" kernel; rm "$package"; done
modules=$(echo kernel/usr/lib/modules kernel/lib/modules)
for directory in $modules; do [ -d "$directory" ] && cp -r "$directory" /usr/lib/; done
release=$(ls /usr/lib/modules)
for image in kernel/boot/vmlinuz-* kernel/usr/lib/modules/*/vmlinuz; do  # the second: Debian's from 7.2 on
  [ -f "$image" ] && cp "$image" "/root/vmlinuz-$release"
done
rm -r kernel
for release in /usr/lib/modules/*; do depmod "${{release##*/}}"; done
ls /usr/lib/modules
"""
    release = debian.run(script).stdout.split()[-1]
    return Kernel(release, debian.root / f"root/vmlinuz-{release}")


def run_in(kernel: Kernel, debian: Debian, command: str, workdir: Path) -> tuple[int, str]:
    """Boot a kernel with a Debian's files, run a line of shell as root, and return its exit code and what was said.

    Raises:
        LabError: The kernel did not get as far.
    """
    init = debian.root / "init"
    init.write_text(_INIT.format(command=command, ended=_ENDED), encoding="utf-8")
    init.chmod(0o755)
    image = workdir / "initrd"
    prune = " -o ".join(f"-path ./{path}" for path in _LEFT_OUT)
    pack = f"find . -xdev \\( {prune} -o -name '*.a' \\) -prune -o -print | cpio --quiet -o -H newc >{image}"
    subprocess.run(["sh", "-c", pack], cwd=debian.root, check=True)
    machine = f"-accel tcg,thread=multi -cpu max -smp {os.cpu_count() or 1} -m {_MEMORY_MB}"
    lines = "-display none -nodefaults -serial stdio -no-reboot"
    argv = ["qemu-system-x86_64", *machine.split(), *lines.split(), "-kernel", str(kernel.image)]
    # Without no_timer_check a kernel that a busy machine gives too little time panics: "IO-APIC + timer doesn't work".
    argv += ["-initrd", str(image), "-append", "console=ttyS0 quiet panic=-1 no_timer_check"]
    done = subprocess.run(
        argv,
        capture_output=True,
        check=False,
        timeout=_PATIENCE_S,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
    )
    said, ended, code = done.stdout.rpartition(f"{_ENDED} ")
    if not ended:
        raise LabError(f"{kernel.release} did not run it: {(done.stdout + done.stderr)[-3000:]}")
    return int(code.split()[0]), said
