"""``python -m tests.fuzz.run [SECONDS]``: every target for its share of the time, the corpus kept under ``.fuzz``."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from synguard.units import parse_duration
from tests.fuzz.targets import TARGETS

ROOT: Final = Path(__file__).parents[2]
CORPUS: Final = ROOT / ".fuzz"
REGRESSIONS: Final = Path(__file__).with_name("regressions")
RSS_MB: Final = 2048
ATHERIS_STARTS_S: Final = 60
LONGEST: Final = 16384
"""Bytes of an input; a ledger of one page more is as long."""


def main() -> int:
    """Fuzz; return 1 where any target found what no input may do, which is then kept as a file."""
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    asked.add_argument("time", type=parse_duration, help="for all targets together: 10m")
    asked.add_argument("--target", action="append", choices=sorted(TARGETS), help="only these")
    words = asked.parse_args()
    names = words.target or sorted(TARGETS)
    share = max(1, round(words.time / len(names)))
    print(f"{'target':<12}  {'inputs':>9}  {'a second':>8}  {'edges':>6}  result", flush=True)
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        passed = list(workers.map(lambda name: _fuzzed(name, share), names))
    failed = [name for name, well in zip(names, passed, strict=True) if not well]
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _fuzzed(name: str, seconds: int) -> bool:
    corpus, found = CORPUS / name, CORPUS / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    known = list((REGRESSIONS / name).glob("*")) if (REGRESSIONS / name).is_dir() else []
    for data in [*TARGETS[name].seeds(), *(path.read_bytes() for path in known)]:
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    options = (f"-max_total_time={seconds}", f"-rss_limit_mb={RSS_MB}", f"-max_len={LONGEST}", "-timeout=30")
    command = [
        sys.executable, "-m", "tests.fuzz.one", name, str(corpus), f"-artifact_prefix={found}/{name}-",
        *options, "-print_final_stats=1",
    ]  # fmt: skip
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    try:
        with tempfile.TemporaryDirectory(prefix="synguard-fuzz-", dir=memory) as home:
            done = subprocess.run(
                command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=2 * seconds + ATHERIS_STARTS_S,
                check=False,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "FUZZ_HOME": home},
            )
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:
        output, code = str(error.stdout), 1
    runs = int((re.findall(r"number_of_executed_units: (\d+)", output) or ["0"])[-1])
    edges = (re.findall(r"cov: (\d+)", output) or ["0"])[-1]
    passed = code == 0 and runs > 0
    print(f"{name:<12}  {runs:>9,}  {runs // seconds:>8,}  {edges:>6}  {'ok' if passed else 'FAILED'}", flush=True)
    if not passed:
        print(output[-6000:], flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
