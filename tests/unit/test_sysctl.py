"""Kernel settings in files like those of /proc/sys."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from synguard.enforcer.sysctl import SYN_COOKIES, DryRunSysctl, Sysctl
from synguard.errors import PlaneError
from tests.support.fake_sysctl import FakeSysctl


@pytest.fixture
def setting(tmp_path: Path) -> Path:
    path = tmp_path / "net/ipv4/tcp_syncookies"
    path.parent.mkdir(parents=True)
    path.write_text("0\n")
    return path


def test_what_is_written_is_read_back(tmp_path: Path, setting: Path) -> None:
    Sysctl(tmp_path).write(SYN_COOKIES, 1)
    assert Sysctl(tmp_path).read(SYN_COOKIES) == 1
    assert setting.read_text() == "1\n"


def test_a_kernel_without_the_setting_is_told_of_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(PlaneError, match=r"reading net\.ipv4\.tcp_syncookies: this kernel has no such setting"):
        Sysctl(tmp_path).read(SYN_COOKIES)
    with pytest.raises(PlaneError, match="this kernel has no such setting"):
        Sysctl(tmp_path).write(SYN_COOKIES, 1)
    assert list(tmp_path.iterdir()) == []


def test_something_that_is_no_number_is_told_of(tmp_path: Path, setting: Path) -> None:
    setting.write_text("often\n")
    with pytest.raises(PlaneError, match="it is not a whole number"):
        Sysctl(tmp_path).read(SYN_COOKIES)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "/proc/sys is read-only here; in a service of systemd, set ProtectKernelTunables=no"),
        (errno.EPERM, "not permitted; it takes CAP_NET_ADMIN"),
        (errno.EACCES, "not permitted; it takes CAP_NET_ADMIN"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_each_refusal_says_what_to_do(
    tmp_path: Path, setting: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        import os

        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PlaneError) as told:
        Sysctl(tmp_path).write(SYN_COOKIES, 1)
    assert str(told.value) == f"setting net.ipv4.tcp_syncookies to 1: {words}"


def test_a_dry_run_reads_what_it_wrote_and_leaves_the_kernel_alone() -> None:
    kernel = FakeSysctl(0)
    settings = DryRunSysctl(kernel)
    assert settings.read(SYN_COOKIES) == 0
    settings.write(SYN_COOKIES, 1)
    assert settings.read(SYN_COOKIES) == 1
    assert (kernel.cookies, kernel.tries) == (0, 0)


def test_in_dry_run_too_an_operator_s_change_shows() -> None:
    kernel = FakeSysctl(0)
    settings = DryRunSysctl(kernel)
    settings.write(SYN_COOKIES, 1)
    kernel.cookies = 2
    assert settings.read(SYN_COOKIES) == 2
