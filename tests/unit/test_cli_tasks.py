"""What people want to do, each in one command that `--help` leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.sensors.added_allow import read_added
from tests.support.cli_host import CliHost

TARGET = "203.0.113.0/24"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    host = CliHost(tmp_path, monkeypatch)
    host.run("ban", TARGET, "--for", "5m", "--reason", "scanner, ticket 4711")
    monkeypatch.setattr("synguard.enforcer.flush.flush_kernel", host.plane.flush)
    monkeypatch.setattr("synguard.cli.panic.put_back_all", lambda *_: None)
    return host


@pytest.mark.parametrize(
    ("task", "words", "shown"),
    [
        (
            "ban a network for two hours with a reason",
            "ban 198.51.100.0/24 --for 2h --reason x",
            "banned 198.51.100.0/24",
        ),
        ("see the reason", "bans", "scanner, ticket 4711"),
        ("extend it", f"extend {TARGET} --for 2h", f"extended {TARGET} until "),
        ("make it permanent", f"extend {TARGET} --permanent", f"made permanent {TARGET}"),
        ("what expires in ten minutes", "bans --expiring 10m", TARGET),
        ("allow an office", "allow add 198.51.100.0/24 --comment office", "198.51.100.0/24: allowed"),
        ("who is protected", "allow list", "default gateway"),
        ("why banned", "why 203.0.113.7", f"is banned by the ban of {TARGET}"),
        ("which rule packets hit", "why 203.0.113.7", "stopped by the set, see "),
        ("stop everything", "panic --yes", "nothing is enforced now"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_one_command_each(host: CliHost, task: str, words: str, shown: str) -> None:
    told = host.run(*words.split())
    assert (told.code, shown in told.out) == (0, True), f"{task}: {told.out}{told.err}"


def test_a_deny_list_of_csf_is_one_command(host: CliHost, tmp_path: Path) -> None:
    (tmp_path / "csf.deny").write_text("198.51.100.7 # lfd: failed logins\n")
    (tmp_path / "csf.allow").write_text("198.51.100.9 # office\n")
    assert host.run("import", "csf", str(tmp_path), "--yes").code == 0
    assert "198.51.100.7/32" in host.held()
    assert [str(one.network) for one in read_added(host.base / "allow.added.txt")] == ["198.51.100.9/32"]
