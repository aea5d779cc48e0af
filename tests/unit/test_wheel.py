"""The wheel: what an operator installs holds all that the program reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    how = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(directory)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", str(ROOT), *how], check=True, cwd=directory)
    [built] = directory.glob("synguard-*.whl")
    return built


def test_the_wheel_carries_the_packs_as_they_are_and_no_tests(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        packs = {name: archive.read(name) for name in archive.namelist() if name.startswith("synguard/rules/")}
        others = {name.split("/")[0] for name in archive.namelist()}
    assert packs == {f"synguard/rules/{path.name}": path.read_bytes() for path in (ROOT / "rules").iterdir()}
    assert {name.partition("-")[0] for name in others} == {"synguard"}  # the package, and its .dist-info and .data


def test_the_wheel_puts_man_pages_and_completions_where_they_are_looked_for(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    data = {name.partition(".data/data/")[2] for name in names if ".data/data/" in name}
    man = {f"share/man/{path.parent.name}/{path.name}" for path in (ROOT / "synguard/share/man").glob("man?/*")}
    assert len(man) > 20
    assert data == man | {
        "share/bash-completion/completions/synguard",
        "share/zsh/site-functions/_synguard",
        "share/fish/vendor_completions.d/synguard.fish",
    }


def test_the_wheel_carries_the_unit_and_the_example_config(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        for name in ("systemd/synguard.service", "config/synguard.toml", "completions/synguard.bash"):
            assert archive.read(f"synguard/share/{name}") == (ROOT / "synguard/share" / name).read_bytes()


def test_an_installed_synguard_finds_its_packs(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    config = tmp_path / "synguard.toml"
    config.write_text('policies = ["web", "default"]\n', encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "SYNGUARD_CONFIG": str(config)}
    program = "import synguard.cli.main as main, sys; print(main.__file__, file=sys.stderr); main.run()"
    ran = subprocess.run(
        [sys.executable, "-c", program, "policy", "show", "--policy", "web"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert ran.stderr.startswith(str(tmp_path / "site"))
    assert "web" in ran.stdout.splitlines()[0]
