"""What the kernel must have and allow for the challenge, looked at without loading anything."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from synguard.capabilities import how_to_get
from synguard.enforcer.challenge import libbpf
from synguard.enforcer.challenge.obstacles import Obstacle
from synguard.errors import PlaneUnavailableError

BTF: Final = Path("/sys/kernel/btf/vmlinux")
LOCKDOWN: Final = Path("/sys/kernel/security/lockdown")
SELF: Final = Path("/proc/thread-self/status")

_HELPERS: Final = (
    *(f"bpf_tcp_raw_{does}_syncookie_ipv{version}" for does in ("gen", "check") for version in (4, 6)),
    "bpf_loop",
)
_LARGEST: Final = 1 << 26
"""Bytes of BTF that are read; kernels have 5 to 10 MiB."""
_CAPABILITIES: Final = {"CAP_NET_ADMIN": 12, "CAP_BPF": 39}
_SYS_ADMIN: Final = 21
"""Stands for CAP_BPF. Source: linux/capability.h."""


def kernel_obstacles(btf: Path = BTF, lockdown: Path = LOCKDOWN, status: Path = SELF) -> Iterator[Obstacle]:
    """Yield what the kernel lacks or refuses. Distributions port helpers back, so its version says little."""
    yield from _btf(btf)  # megabytes, which do not change while the kernel runs
    yield from _rights(status)
    try:
        libbpf.library()
    except PlaneUnavailableError as error:
        yield Obstacle("libbpf", str(error), "apt-get install libbpf1")
    if "[confidentiality]" in _text(lockdown):
        text = "kernel lockdown is at `confidentiality`, which keeps BPF programs from reading the kernel's memory"
        yield Obstacle("lockdown", text, "boot with lockdown=integrity, or without it")


@cache
def _btf(path: Path) -> tuple[Obstacle, ...]:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST)
    except OSError:
        text = f"the kernel describes no types: {path} cannot be read (CONFIG_DEBUG_INFO_BTF)"
        fix = "boot a kernel with BTF: those of Debian 12, Ubuntu 22.04 and RHEL 9 have it"
        return (Obstacle("btf", text, fix),)
    missing = [name for name in _HELPERS if f"\0{name}\0".encode() not in data]
    if not missing:
        return ()
    text = f"the kernel lacks {' and '.join(missing)}, which Linux has since 6.0"
    return (Obstacle("helpers", text, "boot Linux 6.0 or later"),)


def _rights(status: Path) -> Iterator[Obstacle]:
    mask = 0
    for line in _text(status).splitlines():
        if line.startswith("CapEff:"):
            mask = int(line.split()[1], 16)
    held = mask | (mask >> _SYS_ADMIN & 1) << _CAPABILITIES["CAP_BPF"]
    missing = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if missing:
        text = f"this process lacks {' and '.join(missing)}: it cannot load BPF programs"
        yield Obstacle("rights", text, how_to_get(missing))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
