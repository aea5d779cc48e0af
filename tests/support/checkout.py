"""This checkout on a fresh Debian, without what only developers need: the wheel, its tests, and what runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.debian import Debian
from tests.support.lab.namespaces import REPOSITORY

_RUNTIME: Final = ("gcc", "ipset", "iptables", "libbpf1", "libc6-dev", "libxtables-dev", "nftables", "python3-dev")
PACKAGES: Final = (*_RUNTIME, "ca-certificates", "iproute2", "kmod", "procps", "python3-venv")
_MARKED: Final = "$(grep -rl mark.smoke tests/contract tests/netns)"
SMOKE: Final = f"venv/bin/python -m pytest --color=no -p no:cacheprovider --rootdir=. -m smoke {_MARKED}"
"""To be run in ``/root``; other tests need what is not carried over."""
_TOOLS: Final = "pytest pytest-timeout pytest-rerunfailures hypothesis"
_CARRIED: Final = ("tests", "rules", "pyproject.toml")


def install(debian: Debian) -> None:
    """Install the wheel and carry the tests over; the package itself is not among what is carried."""
    home = debian.root / "root"
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        home,
        REPOSITORY,
    ]
    subprocess.run(build, check=True, capture_output=True)
    for name in _CARRIED:
        _copy(REPOSITORY / name, home / name)
    debian.run(f"python3 -m venv venv && venv/bin/pip install --quiet --no-compile ./synguard-*.whl {_TOOLS}")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
