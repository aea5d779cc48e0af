"""This checkout on releases of Debian, each with its own Python: set up as its reader would, and everything run there.

``make debians``, hours; ``SUITE=forky`` for one release; ``SHORT=1`` is the wheel and the smoke tests on Debian 13.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.checkout import PACKAGES, SMOKE, install
from tests.support.debian import Debian, why_no_debian
from tests.support.lab.namespaces import REPOSITORY

pytestmark = [pytest.mark.debians, pytest.mark.timeout(14_400)]

SUITES = ("bookworm", "trixie", "forky")
"""Debian 12, 13 and testing: Python 3.11, 3.13, 3.14."""
WITHOUT_CROWDSEC = frozenset({"forky"})
"""Releases that lack a package of the fleet's tests, which then take that of this checkout."""
VERSIONS = "python3 --version; iptables --version; nft --version; dpkg-query -W libbpf1"
RUN = "unshare -n timeout -s INT 30 make -C synguard run 2>&1 || true"


@pytest.mark.parametrize("suite", SUITES)
def test_what_must_work_works_on_this_debian(suite: str, tmp_path: Path) -> None:
    if trouble := why_no_debian():
        pytest.skip(trouble)
    with Debian(tmp_path / "root", suite, PACKAGES) as debian:
        install(debian)
        if suite not in WITHOUT_CROWDSEC:
            shutil.copytree(REPOSITORY / ".ci", debian.root / "root/checkout/.ci")
            debian.run("checkout/.ci/unpacked-packages && ls checkout/.venv/unpacked/usr/bin/promtool", timeout=300)
        print(debian.run(f"SYNGUARD_KERNEL_TESTS=required {SMOKE} -q", timeout=1200).stdout)


@pytest.mark.parametrize("suite", SUITES)
def test_a_clone_runs_and_all_of_make_test_passes_on_this_debian(suite: str, tmp_path: Path) -> None:
    if trouble := why_no_debian():
        pytest.skip(trouble)
    with Debian(tmp_path / "root", suite, ("ca-certificates", "git", "make", "python3")) as debian:
        clone = debian.root / "root/synguard"
        subprocess.run(["git", "clone", "-q", REPOSITORY, clone], check=True)
        if suite in WITHOUT_CROWDSEC:
            shutil.copytree(REPOSITORY / ".venv/unpacked", clone / ".venv/unpacked", symlinks=True)
        debian.run("cd synguard && make setup", timeout=1800)
        assert "(dry-run: nothing is changed" in debian.run(RUN).stdout
        print(debian.run(f"{VERSIONS}; cd synguard && SYNGUARD_KERNEL_TESTS=required make test", timeout=12_000).stdout)
