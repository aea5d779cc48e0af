"""A newcomer's path: what the quick start has its reader type, typed on a fresh Debian, counted and timed.

``make newcomer``. Packages come from wherever this machine gets them, so the seconds say how long it takes beside that.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.debian import Debian, why_no_debian
from tests.support.lab.namespaces import REPOSITORY
from tests.support.lab.snapshot import differences, firewall_snapshot
from tests.support.page_steps import whole_commands

pytestmark = [pytest.mark.deb, pytest.mark.timeout(1200)]

QUICK_START, INSTALL = REPOSITORY / "docs/quick-start.md", REPOSITORY / "docs/install.md"
GIVEN = "apt-get update -qq && apt-get install -qq --no-install-recommends git make python3 ca-certificates"
"""What the README asks for: Debian 12 with git, make and python3."""
SHOWN = "(dry-run: nothing is changed"
"""What ``make run`` says once it watches."""
CTRL_C = f"""\
set -m
{{line}} >/root/run.log 2>&1 &
until grep -qF '{SHOWN}' /root/run.log; do kill -0 $! || {{{{ cat /root/run.log; exit 1; }}}}; sleep 0.2; done
sleep 1
kill -INT -$!
wait
"""


@dataclass
class Typed:
    """What was typed, and how long each line took."""

    name: str
    took: list[tuple[str, float]]

    def __str__(self) -> str:
        lines = [f"\n{self.name}: {len(self.took)} commands, {sum(s for _, s in self.took):.0f} s to the first report"]
        return "\n".join(lines + [f"  {seconds:6.1f} s  {line}" for line, seconds in self.took])


def section(page: Path, title: str) -> list[str]:
    """The lines that a section of a page has its reader type."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found, f"{page.name} has no section {title}"
    blocks = re.findall(r"^```sh\n(.*?)^```$", found[1], re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in whole_commands(block.splitlines())]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Debian]:
    if trouble := why_no_debian():
        pytest.skip(trouble)
    before = firewall_snapshot(())
    with Debian(tmp_path / "root") as debian:
        yield debian
    assert not differences(before, firewall_snapshot(()))


def with_the_repository(debian: Debian) -> None:
    """Let ``git clone https://example.org/synguard.git`` find this repository as it is committed."""
    bare = debian.root / "srv" / "synguard.git"
    subprocess.run(["git", "clone", "-q", "--bare", REPOSITORY, bare], check=True)
    # What HEAD is here, detached or not, is what a reader clones.
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    subprocess.run(["git", "-C", bare, "branch", "-f", "reader", head.stdout.strip()], check=True)
    subprocess.run(["git", "-C", bare, "symbolic-ref", "HEAD", "refs/heads/reader"], check=True)
    debian.run("git config --global url.file:///srv/.insteadOf https://example.org/")
    debian.run("git config --global --add safe.directory '*'")


def typed(debian: Debian, lines: list[str], path: Typed, where: str = "/root") -> str:
    """Type lines one after the other; return what the last one said, and where the reader stands then."""
    said = ""
    for line in lines:
        began = time.monotonic()
        if line.startswith("cd "):
            where = f"{where}/{line[3:]}"
        elif line == "make run":
            script = CTRL_C.format(line=line)
            (debian.root / "root/typed.sh").write_text(script, encoding="utf-8")
            debian.run(f"cd {where} && bash /root/typed.sh", timeout=900)
        else:
            done = debian.run(f"cd {where} && {line}", check=not re.match(r"synguard doctor", line), timeout=900)
            said = done.stdout
        path.took.append((line, time.monotonic() - began))
    return said


def test_from_the_package(fresh: Debian, capsys: pytest.CaptureFixture[str]) -> None:
    [package] = (REPOSITORY / "dist").glob("synguard_*.deb")
    (fresh.root / "root" / package.name).write_bytes(package.read_bytes())
    fresh.run("apt-get update -qq && apt-get install -qq --no-install-recommends systemd kmod iproute2")
    path = Typed("package", [])
    lines = section(QUICK_START, "From the package")
    install = [line for line in lines if line.startswith("apt-get")]
    typed(fresh, install, path)
    fresh.boot()  # a machine in which it is installed has systemd running, and it is started there and then
    report = typed(fresh, lines[len(install) :], path)
    with capsys.disabled():
        print(path)
    assert "would" in report or "nobody" in report.lower(), report
    assert len(path.took) == len(lines)


def test_from_a_clone(fresh: Debian, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's first command too: on a Debian with only git, make and python3."""
    fresh.run(GIVEN)
    with_the_repository(fresh)
    path = Typed("clone", [])
    report = typed(fresh, section(QUICK_START, "From a clone"), path)
    with capsys.disabled():
        print(path)
    assert "would" in report or "nobody" in report.lower(), report


def test_the_wheel_with_pipx_and_what_it_says_without_a_compiler(
    fresh: Debian, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheels = tmp_path / "wheels"
    how = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(wheels)]
    build = [sys.executable, "-m", "pip", "wheel", *how]
    subprocess.run([*build, REPOSITORY], check=True)
    [wheel] = wheels.glob("synguard-*.whl")
    (fresh.root / "root" / wheel.name).write_bytes(wheel.read_bytes())
    fresh.run("apt-get update -qq && apt-get install -qq --no-install-recommends python3-venv ca-certificates")
    refused = fresh.run(f"python3 -m venv /tmp/v && /tmp/v/bin/pip install --no-cache-dir ./{wheel.name}", check=False)
    assert refused.returncode
    told = refused.stdout + refused.stderr
    said = re.findall(r"error: command '(\S+)' failed: No such file or directory", told)
    assert said, told[-3000:]
    assert said[0] in INSTALL.read_text("utf-8")
    path = Typed("wheel, pipx", [])
    lines = [line for line in section(INSTALL, "Wheel") if line.startswith(("apt-get", "PIPX"))]
    typed(fresh, [*lines, "synguard run --for 5s", "synguard report"], path)
    with capsys.disabled():
        print(path)
    assert fresh.run("ls /opt/pipx/venvs/synguard/share/man/man8/synguard-ban.8").stdout
    assert fresh.run("synguard policy show").stdout
