"""Debian's kernels under software emulation, each with the programs of its release around it: ``make kernels``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.checkout import PACKAGES, SMOKE, install
from tests.support.debian import Debian
from tests.support.kernels import run_in, unpack_kernel, why_no_kernels

pytestmark = [pytest.mark.kernels, pytest.mark.timeout(3000)]

LOADED = 'code=$?; cut -d" " -f1 /proc/modules | sort | xargs echo modules:; exit $code'
"""Prints which modules the tests had the kernel load, for the table of docs/systems.md."""


KERNELS = {"bookworm": "bookworm", "trixie": "trixie", "backports": "trixie"}
"""Where a kernel is from, and the Debian around it; of Debian's backports comes the newest."""


@pytest.mark.parametrize("of", KERNELS)
def test_what_must_work_works_in_this_kernel(of: str, tmp_path: Path) -> None:
    if trouble := why_no_kernels():
        pytest.skip(trouble)
    suite = KERNELS[of]
    with Debian(tmp_path / "root", suite, PACKAGES) as debian:
        install(debian)
        kernel = unpack_kernel(debian, suite if of == suite else f"{suite}-{of}")
        code, said = run_in(kernel, debian, f"{SMOKE} -q --timeout 900; {LOADED}", tmp_path)
    print(f"\n{kernel.release}\n{said}")
    assert code == 0
