"""Where a report goes: whole or not at all, and never over anything else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.cli_host import CliHost


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    return CliHost(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", ["report.html", "report.json", "report.txt"])
def test_the_file_s_name_says_the_form_and_a_report_is_written_over_by_the_next(host: CliHost, name: str) -> None:
    path = host.base / name
    for _ in range(2):
        ran = host.run("report", "-o", str(path))
        assert (ran.code, ran.out) == (0, ""), ran.err
    head = path.read_text(encoding="utf-8")[:20]
    assert head.startswith({"html": "<!DOCTYPE html>", "json": "{\n", "txt": "synguard report"}[name.split(".")[1]])
    assert [one.name for one in host.base.iterdir() if one.name.startswith(".")] == []


def test_another_file_is_left_alone_unless_one_insists(host: CliHost) -> None:
    path = host.base / "notes.html"
    path.write_text("mine")
    ran = host.run("report", "-o", str(path))
    assert ran.code == 3
    assert "is no report" in ran.err
    assert path.read_text() == "mine"
    assert host.run("report", "-o", str(path), "--force").code == 0
    assert path.read_text().startswith("<!DOCTYPE")


def test_a_report_that_cannot_be_written_leaves_the_old_one_whole(
    host: CliHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = host.base / "report.txt"
    assert host.run("report", "-o", str(path)).code == 0
    before = path.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    ran = host.run("report", "-o", str(path))
    assert ran.code == 1
    assert "No space left" in ran.err
    assert path.read_text() == before
    assert [one.name for one in host.base.iterdir() if "report" in one.name] == ["report.txt"]


def test_a_link_stays_a_link_and_a_mode_stays(host: CliHost) -> None:
    real, link = host.base / "real.txt", host.base / "latest.txt"
    real.touch(mode=0o600)
    link.symlink_to(real)
    assert host.run("report", "-o", str(link)).code == 0
    assert link.is_symlink()
    assert real.read_text().startswith("synguard report")
    assert real.stat().st_mode & 0o777 == 0o600


def test_a_dash_is_stdout_and_a_device_is_written_to(host: CliHost) -> None:
    assert host.run("report", "-o", "-").out.startswith("synguard report")
    assert json.loads(host.run("report", "-o", "-", "--json").out)["mode"] == "dry-run"
    assert host.run("report", "--format", "html", "-o", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()


def test_a_directory_and_two_forms_at_once_are_refused_in_a_sentence(host: CliHost) -> None:
    ran = host.run("report", "-o", str(host.base))
    assert ran.code == 3
    assert "is a directory" in ran.err
    ran = host.run("report", "--json", "--format", "html")
    assert ran.code == 2
    assert "exclude each other" in ran.err
