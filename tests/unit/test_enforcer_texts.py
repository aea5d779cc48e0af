"""What is written to the kernel's tools and read back from them, as text."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from synguard.addresses import parse_network
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.iptables.rules import set_rules, tables
from synguard.enforcer.iptables.set_members import (
    LONGEST_TIMEOUT_S,
    MAX_ELEMENTS,
    create_line,
    fits,
    frame_lines,
    headers,
    member_lines,
    parse_save,
)
from synguard.enforcer.names import (
    CHAIN,
    CHAIN_LIMIT,
    COMMENT_LIMIT,
    FAMILIES,
    REJECT_CHAIN,
    SET_LIMIT,
    SET_NAMES,
    SPARE_SET,
    Kind,
    frame_comment,
    is_ours,
    member_comment,
)
from synguard.enforcer.plane import Delta
from synguard.model import Action, Hits, KernelBan, Scope
from tests.support.bans import ban

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EXTRA = "hashsize 1024 maxelem 131072 timeout 0 counters comment bucketsize 12 initval 0xddde7ecb"


def test_nothing_loads_python_iptables_or_numpy_before_it_is_used() -> None:
    """Either costs a third of ``synguard bans``."""
    code = (
        "import sys, synguard.enforcer.choose, synguard.enforcer.flush, synguard.enforcer.verb_plane;"
        "sys.exit(bool({'iptc', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_python_iptables_is_loaded_without_setuptools_or_a_compiler() -> None:
    """It asks distutils for one path; where setuptools stands in for that, each verb took half as long again.

    And it has ``ctypes`` look for C libraries by running ldconfig, gcc and ld, which took as long once more.
    """
    code = (
        "import os, sys, subprocess; from synguard.enforcer.iptables import xtables;"
        "subprocess.Popen = lambda *a, **k: sys.exit(3);"
        "before = dict(os.environ, PATH=''); xtables._iptc();"
        "assert dict(os.environ, PATH='') == before;"
        "sys.exit(bool({'setuptools', 'pkg_resources'} & set(sys.modules)) or 'distutils' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_every_name_is_within_the_kernels_limits() -> None:
    assert all(len(name) <= SET_LIMIT for name in (*SET_NAMES, SPARE_SET))
    assert all(len(chain) <= CHAIN_LIMIT for chain in (CHAIN, REJECT_CHAIN))


def test_the_longest_comment_is_within_the_kernels_limit() -> None:
    assert len(member_comment("x" * 32, datetime.max.replace(tzinfo=UTC))) <= COMMENT_LIMIT


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "synguard",
        "somebody's synguard ban",
        "synguard banana",
        " synguard allow",
        "synguard ban A until never",
        "synguard ban x until never and more",
        "the synguard frame v1 allow",
    ],
)
def test_comments_of_others_are_not_ours(comment: str) -> None:
    assert not is_ours(comment)


@pytest.mark.parametrize(
    "comment",
    [
        "synguard allow 192.0.2.1",
        "synguard ban x until never new drop 192.0.2.0/24 ports 80,443",
        "synguard ban x until never all reject 192.0.2.1",
    ],
)
def test_what_early_releases_held_as_a_rule_for_each_ban_is_ours_to_remove(comment: str) -> None:
    assert is_ours(comment)


def test_a_rule_of_another_release_is_ours_but_not_the_one_wanted_now() -> None:
    old = frame_comment("allow").replace("v1", "v0")
    assert is_ours(old)
    assert old not in [rule.comment for table in tables(FAMILIES) for rule in set_rules(table)]


def test_chains_ask_exceptions_then_everything_then_handshakes_then_proven_then_syns() -> None:
    raw, *_ = tables((4,))
    assert [rule.match_set[0] for rule in set_rules(raw) if rule.match_set] == [
        "synguard-allow-4",
        "synguard-all-drop-4",
        "synguard-handshake-drop-4",
        "synguard-proven-4",
        "synguard-new-drop-4",
        "synguard-port-drop-4",
    ]


def test_a_change_is_written_exceptions_first_and_bans_before_their_exceptions_go() -> None:
    change = Delta(
        add=(ban("b", "192.0.2.0/24", ports=(80,), seconds=59.2, start=START),),
        remove=(KernelBan("a", parse_network("2001:db8::/64"), Scope.ALL, Action.REJECT),),
        allow_add=frozenset({parse_network("127.0.0.1")}),
        allow_remove=frozenset({parse_network("::1")}),
    )
    assert list(member_lines(change, START)) == [
        'add synguard-allow-4 127.0.0.1 timeout 0 comment "synguard allow"',
        "del synguard-all-reject-6 2001:db8::/64",
        "add synguard-port-drop-4 192.0.2.0/24,tcp:80 timeout 60"
        ' comment "synguard ban b until 2026-03-01T12:00:59.200000Z"',
        "del synguard-allow-6 ::1",
    ]


@pytest.mark.parametrize(
    ("seconds", "timeout"),
    [(0.001, 1), (1, 1), (1.001, 2), (90 * 86400, LONGEST_TIMEOUT_S), (None, 0)],
)
def test_a_timeout_is_rounded_up_and_never_the_kernels_forever_by_accident(seconds: float | None, timeout: int) -> None:
    (line,) = member_lines(Delta(add=(ban("b", "192.0.2.1", seconds=seconds, start=START),)), START)
    assert f" timeout {timeout} " in line


def test_a_saved_set_reads_back_as_bans_exceptions_and_strangers() -> None:
    text = f"""\
create synguard-port-drop-4 hash:net,port family inet {EXTRA}
add synguard-port-drop-4 192.0.2.0/24,tcp:80 timeout 20 packets 5 bytes 60 comment "synguard ban b until never"
add synguard-port-drop-4 192.0.2.0/24,tcp:443 timeout 20 packets 1 bytes 9 comment "synguard ban b until never"
create synguard-allow-6 hash:net family inet6 {EXTRA}
add synguard-allow-6 2001:db8::1 timeout 0 packets 0 bytes 0 comment "synguard allow"
add synguard-allow-6 2001:db8::2 timeout 0 packets 0 bytes 0
create other hash:net family inet {EXTRA}
add other 198.18.0.1 comment "synguard ban c until never"
"""
    saved = parse_save(text.splitlines())
    assert saved.bans == {
        "b": KernelBan("b", parse_network("192.0.2.0/24"), Scope.NEW, Action.DROP, (80, 443), None, Hits(6, 69))
    }
    assert saved.allow == {parse_network("2001:db8::1")}
    assert saved.foreign == ["2001:db8::2 in set synguard-allow-6"]
    assert len(saved.unfit) == len(SET_NAMES) - 2
    assert headers(text) == {**saved.headers, "other": f"create other hash:net family inet {EXTRA}"}


def test_members_that_an_interrupted_extension_left_apart_are_all_found() -> None:
    """One port has the new expiry and one the old: both must be seen, or the old one could never be removed."""
    text = f"""\
create synguard-port-drop-4 hash:net,port family inet {EXTRA}
add synguard-port-drop-4 192.0.2.1,tcp:80 timeout 20 comment "synguard ban b until 2026-03-01T12:00:00.000000Z"
add synguard-port-drop-4 192.0.2.1,tcp:443 timeout 20 comment "synguard ban b until 2026-03-01T13:00:00.000000Z"
"""
    bans = parse_save(text.splitlines()).bans
    assert [held.ban_id for held in bans.values()] == ["b", "b"]
    assert [held.key for held in bans.values()] == list(bans) == ["b", "b#2"]
    assert HeldBans(bans) == bans
    assert {held.ports for held in bans.values()} == {(80,), (443,)}


def test_a_set_with_other_parameters_is_exchanged_and_its_members_are_not_believed() -> None:
    small = f"create synguard-new-drop-4 hash:net family inet {EXTRA}".replace("131072", "10")
    saved = parse_save([small, 'add synguard-new-drop-4 192.0.2.1 timeout 9 comment "synguard ban b until never"'])
    assert saved.bans == {}
    assert saved.actual((), ()).outdated
    assert not parse_save([]).actual((), ()).outdated, "sets that are gone leave nothing to keep until others are full"
    lines = list(frame_lines(saved.headers))
    assert "swap synguard-spare synguard-new-drop-4" in lines
    assert lines.count("destroy synguard-spare") == 1


def test_a_set_that_evicts_bans_by_itself_does_not_fit() -> None:
    line = create_line(Kind.NEW_DROP, 4)
    assert fits(f"{line} bucketsize 12", Kind.NEW_DROP, 4)
    assert not fits(f"{line} forceadd", Kind.NEW_DROP, 4)
    assert f"maxelem {MAX_ELEMENTS}" in line
