"""What others could plant, replace or read is refused in a sentence; what we make is ours alone."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from synguard.errors import ConfigError, LedgerError, NotPermittedError, RefusedError, SynguardError
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.policy.load import load_config, load_policies
from synguard.private import (
    NotOursError,
    open_private,
    private_directory,
    read_private,
    replace_private,
    why_untrusted,
)
from synguard.readers import share
from synguard.sensors.allow_list import read_allow_networks
from synguard.status.model import STATUS_FILE, read_status

NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_what_we_make_is_ours_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    state = tmp_path / "a" / "state"
    if umask == 0o777 and os.geteuid() != 0:
        pytest.skip("nobody but root can look into a parent made with this umask")
    private_directory(state, "state_dir")
    replace_private(state / "x", "words")
    os.close(open_private(state / "lock", os.O_RDWR | os.O_CREAT))
    with Ledger.open(state / LEDGER_FILE) as ledger:
        ledger.changed()
        files = {path.name: mode(path) for path in state.iterdir()}
    assert mode(state) == 0o700
    assert mode(state.parent) & 0o022 == 0
    assert files.pop("ledger.db-shm", 0o600) == files.pop("ledger.db-wal", 0o600) == 0o600
    assert files == {"x": 0o600, "lock": 0o600, "ledger.db": 0o600}


@pytest.mark.parametrize("bits", [0o777, 0o1777, 0o703, 0o770])
@root_only
def test_a_directory_that_others_may_write_into_is_refused_and_left_as_it_is(tmp_path: Path, bits: int) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 0, NOBODY)
    state.chmod(bits)
    with pytest.raises(RefusedError, match=r"state_dir .* is not safe: others may write to .*; look at what is in it"):
        private_directory(state, "state_dir")
    assert mode(state) == bits
    assert list(state.iterdir()) == []


@root_only
def test_a_directory_of_another_user_is_refused_and_so_is_one_that_he_could_replace(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "ours").mkdir(0o700)
    os.chown(theirs, NOBODY, NOBODY)
    with pytest.raises(RefusedError, match=f"not safe: {theirs} belongs to nobody"):
        private_directory(theirs, "runtime_dir")
    with pytest.raises(RefusedError, match=f"not safe: {theirs} belongs to nobody"):
        private_directory(theirs / "ours", "runtime_dir")
    (tmp_path / "link").symlink_to(theirs / "ours")
    with pytest.raises(RefusedError, match=f"not safe: {theirs} belongs to nobody"):
        private_directory(tmp_path / "link", "runtime_dir")


def test_a_directory_below_one_that_all_may_write_into_is_safe_where_each_keeps_his_own(tmp_path: Path) -> None:
    common = tmp_path / "tmp"
    common.mkdir()
    common.chmod(0o1777)
    private_directory(common / "synguard", "state_dir")
    common.chmod(0o777)
    with pytest.raises(RefusedError, match=f"others may write to {common}"):
        private_directory(common / "synguard", "state_dir")


@root_only
def test_a_link_that_another_user_put_into_a_common_directory_is_not_followed(tmp_path: Path) -> None:
    common, target = tmp_path / "tmp", tmp_path / "etc"
    common.mkdir()
    common.chmod(0o1777)
    target.mkdir(0o700)
    (common / "synguard").symlink_to(target)
    os.lchown(common / "synguard", NOBODY, NOBODY)
    with pytest.raises(RefusedError, match="belongs to nobody"):
        private_directory(common / "synguard", "state_dir")
    assert list(target.iterdir()) == []


def test_a_path_that_is_no_directory_or_leads_nowhere_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    for name in ("file", "file/below", "loop", "gone"):
        with pytest.raises(SynguardError, match="state_dir"):
            private_directory(tmp_path / name, "state_dir")


def planted(directory: Path, name: str, kind: str) -> None:
    """Put something under a name of ours that is not ours."""
    path, victim = directory / name, directory.parent / "victim"
    if not victim.exists():
        victim.write_text("precious")
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "hard link":
        path.hardlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_text("{}")
        os.chown(path, NOBODY, NOBODY)


@root_only
@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "directory", "of nobody"])
@pytest.mark.parametrize("name", [LEDGER_FILE, f"{LEDGER_FILE}-wal", f"{LEDGER_FILE}-shm"])
def test_a_planted_ledger_is_refused_and_what_it_leads_to_stays_as_it_was(tmp_path: Path, name: str, kind: str) -> None:
    state = tmp_path / "state"
    state.mkdir(0o700)
    planted(state, name, kind)
    with pytest.raises(LedgerError, match=r"state/ledger\.db"):
        Ledger.open(state / LEDGER_FILE)
    assert (tmp_path / "victim").read_text() == "precious"


@root_only
@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "of nobody"])
def test_a_planted_status_is_not_believed_and_is_replaced_by_the_next_one(tmp_path: Path, kind: str) -> None:
    planted(tmp_path, STATUS_FILE, kind)
    with pytest.raises(SynguardError, match=STATUS_FILE):
        read_status(tmp_path)
    replace_private(tmp_path / STATUS_FILE, "new")
    assert read_private(tmp_path / STATUS_FILE, 100) == "new"
    assert (tmp_path.parent / "victim").read_text() == "precious"
    (tmp_path.parent / "victim").unlink()


def test_a_planted_draft_is_neither_followed_nor_written_into(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / f".x.{os.getpid()}").symlink_to(tmp_path / "victim")
    replace_private(tmp_path / "x", "new")
    assert (tmp_path / "victim").read_text() == "precious"
    assert [path.name for path in tmp_path.glob(".x*")] == []


def test_a_file_that_others_could_read_or_lock_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("")
    path.chmod(0o666)
    os.close(open_private(path, os.O_RDONLY | os.O_CREAT))
    assert mode(path) == 0o600


def test_a_file_that_is_too_long_to_be_ours_is_not_read_into_memory(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(NotOursError, match="larger than 100 bytes"):
        read_private(tmp_path / "x", 100)


@root_only
def test_root_goes_by_no_config_and_no_pack_that_another_user_may_change(tmp_path: Path) -> None:
    config, pack = tmp_path / "synguard.toml", tmp_path / "mine.toml"
    pack.write_text('[[policy]]\nname = "mine"\nports = "80"\n')
    config.write_text('policies = ["mine.toml"]\n')
    assert load_policies(load_config(config), tmp_path)[0].name == "mine"
    for path in (config, pack):
        for spoil in (lambda one: one.chmod(0o666), lambda one: os.chown(one, NOBODY, 0)):
            spoil(path)
            with pytest.raises(ConfigError, match=f"{path}: not safe for root to go by"):
                load_policies(load_config(config), tmp_path)
            path.chmod(0o644)
            os.chown(path, 0, 0)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write to"):
        load_config(config)


@root_only
def test_an_allow_list_that_everybody_may_write_into_is_as_good_as_unreadable(tmp_path: Path) -> None:
    """So automatic bans stop, loudly, rather than spare whoever wrote himself in. A chosen user may keep the list."""
    path = tmp_path / "allow.txt"
    path.write_text("192.0.2.1\n")
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o664)
    assert len(read_allow_networks(path)) == 1
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="every user may write to it"):
        read_allow_networks(path)


def test_the_way_of_a_file_that_is_safe_is_safe() -> None:
    assert why_untrusted(Path("/etc/passwd")) == ""


@root_only
def test_another_user_is_told_that_the_directory_is_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with pytest.raises(NotPermittedError, match="belongs to root: run as root"):
        private_directory(tmp_path, "state_dir")


@root_only
def test_what_is_for_readers_is_open_to_their_group_and_nothing_else(tmp_path: Path) -> None:
    state, gid = tmp_path / "state", grp.getgrnam("games").gr_gid
    private_directory(state, "state_dir")
    replace_private(state / "secret", "words")
    with Ledger.open(state / LEDGER_FILE):
        share(state, "games")
        replace_private(state / "status.json", "words", alone=True, shared=True)
        modes = {path.name: (mode(path), path.stat().st_gid) for path in state.iterdir()}
    assert (mode(state), state.stat().st_gid) == (0o2710, gid)
    assert modes.pop("secret")[0] == 0o600
    assert set(modes.values()) == {(0o640, gid)}
    share(state, "games")
    share(state, "no-such-group")
    assert mode(state) & 0o077 == 0
    replace_private(state / "status.json", "words", alone=True, shared=True)
    assert mode(state / "status.json") == 0o600
