"""This checkout on other releases of Debian: set up as its reader would, with the tests that say what works there.

``make debians``; ``SHORT=1`` is the wheel and the smoke tests on the newest release alone.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.checkout import PACKAGES, SMOKE, install
from tests.support.debian import Debian, why_no_debian
from tests.support.lab.namespaces import REPOSITORY

pytestmark = [pytest.mark.debians, pytest.mark.timeout(3000)]

SUITES = ("bookworm", "trixie")


@pytest.mark.parametrize("suite", SUITES)
def test_what_must_work_works_on_this_debian(suite: str, tmp_path: Path) -> None:
    if trouble := why_no_debian():
        pytest.skip(trouble)
    with Debian(tmp_path / "root", suite, PACKAGES) as debian:
        install(debian)
        print(debian.run(f"SYNGUARD_KERNEL_TESTS=required {SMOKE} -q", timeout=1200).stdout)


@pytest.mark.parametrize("suite", SUITES)
def test_a_clone_is_set_up_and_its_tests_pass_on_this_debian(suite: str, tmp_path: Path) -> None:
    if trouble := why_no_debian():
        pytest.skip(trouble)
    with Debian(tmp_path / "root", suite, ("ca-certificates", "git", "make", "python3")) as debian:
        subprocess.run(["git", "clone", "-q", REPOSITORY, debian.root / "root/synguard"], check=True)
        debian.run("cd synguard && make setup", timeout=1800)
        tests = "tests/unit tests/property tests/scenario tests/contract tests/netns/test_plane_packets.py"
        print(debian.run(f"cd synguard && .venv/bin/python -m pytest -q {tests}", timeout=2400).stdout)
