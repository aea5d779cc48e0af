"""Moving in: files as csf, fail2ban, ddos-deflate, ufw, ipset and nft write them."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synguard.errors import SynguardError
from synguard.operator.importing.plan import ImportPlan
from synguard.operator.importing.tools import READERS, read_tool
from synguard.policy.load import load_pack
from synguard.sensors.added_allow import read_added
from tests.support.cli_host import GATEWAY, CliHost

NOW = 1_772_366_400.0

CSF_CONF = """
# ConfigServer
TESTING = "0"
TCP_IN = "22,80,443"
CT_LIMIT = "300"
CT_BLOCK_TIME = "1800"
CT_PORTS = "80,443"
CONNLIMIT = "22;5,80;20"
SYNFLOOD = "1"
PORTFLOOD = "22;tcp;5;300"
"""


RULESET = """
table inet f {
    set bad {
        type ipv4_addr
        flags interval,timeout
        elements = { 203.0.113.0/24 timeout 1h expires 59m2s744ms comment "one, two", 192.0.2.1-192.0.2.2,
                     192.0.2.9 }
    }
    set p {
        type inet_service
        elements = { 22, 80 }
    }
}
table inet synguard {
    set x {
        type ipv4_addr
        elements = { 192.0.2.77 }
    }
}
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    host = CliHost(tmp_path, monkeypatch)
    host.state.mkdir(mode=0o700)
    return host


def plan_of(tool: str, path: Path) -> ImportPlan:
    return read_tool(tool, path, NOW)


def read(tool: str, tmp_path: Path, name: str, text: str) -> ImportPlan:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return plan_of(tool, path)


def allowed(plan: ImportPlan) -> dict[str, str]:
    return {str(network): comment for network, comment in plan.allow.items()}


def banned(plan: ImportPlan) -> list[tuple[str, float | None, tuple[int, ...], str]]:
    return [(str(ban.target), ban.lasts_s, ban.ports, ban.reason) for ban in plan.bans]


def test_csf_by_its_directory(tmp_path: Path) -> None:
    (tmp_path / "csf.conf").write_text(CSF_CONF)
    (tmp_path / "csf.allow").write_text(
        "203.0.113.20 # office - Mon Mar  2\n198.51.100.0/24\ntcp|in|d=22|s=203.0.113.9\nInclude /etc/csf/more\n"
    )
    (tmp_path / "csf.deny").write_text(
        "192.0.2.7 # lfd: (sshd) Failed SSH login # do not delete\n"
        "tcp|in|d=22,80|s=192.0.2.8\ntcp|out|d=25|d=192.0.2.9\n"
    )
    (tmp_path / "csf.tempban").write_text(
        f"{NOW - 60:.0f}|192.0.2.10||in|3600|lfd - 5 logins\n{NOW - 7200:.0f}|192.0.2.11||in|3600|over\n"
    )
    plan = plan_of("csf", tmp_path)
    assert allowed(plan) == {"203.0.113.20/32": "office - Mon Mar  2", "198.51.100.0/24": ""}
    assert banned(plan) == [
        ("192.0.2.7/32", None, (), "lfd: (sshd) Failed SSH login # do not delete"),
        ("192.0.2.8/32", None, (22, 80), ""),
        ("192.0.2.10/32", 3540.0, (), "lfd - 5 logins"),
    ]
    assert [(one.ports, one.connections, one.first_s) for one in plan.limits] == [
        ("80", 20, 1800.0), ("22", 5, 1800.0), ("80,443", 300, 1800.0),
    ]  # fmt: skip
    left_out = "\n".join(plan.left_out)
    for words in (
        "csf.conf:4: TCP_IN",
        "SYNFLOOD",
        "PORTFLOOD",
        "Include",
        "|s=203.0.113.9",
        "it has ended",
    ):
        assert words in left_out


def test_the_limits_are_a_pack_that_is_understood(tmp_path: Path) -> None:
    plan = read("csf", tmp_path, "csf.conf", CSF_CONF)
    path = tmp_path / "imported.toml"
    path.write_text("\n".join(plan.pack()))
    pack = load_pack(path)
    assert [(one.ports, one.limits.connections) for one in pack.policy] == [("80", 20), ("22", 5), ("80,443", 300)]


def test_fail2ban_jails_and_database(tmp_path: Path) -> None:
    plan = read(
        "fail2ban",
        tmp_path,
        "jail.local",
        "[DEFAULT]\nignoreip = 127.0.0.1/8 ::1, 203.0.113.0/24\n  198.51.100.7 friend.example\nbantime = 10m\n"
        "action = %(action_)s\n[sshd]\nenabled = true\n[nginx]\nenabled = false\nignoreip = 192.0.2.1\n",
    )
    assert set(allowed(plan)) == {"127.0.0.0/8", "::1/128", "203.0.113.0/24", "198.51.100.7/32", "192.0.2.1/32"} - {
        "127.0.0.0/8"
    }
    left_out = "\n".join(plan.left_out)
    assert "friend.example" in left_out
    assert "[sshd]: jail: it reads logs" in left_out
    path = tmp_path / "fail2ban.sqlite3"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bips(ip TEXT, jail TEXT, timeofban INTEGER, bantime INTEGER, bancount INTEGER)")
        rows = [
            ("192.0.2.7", "sshd", NOW - 60, 600),
            ("192.0.2.8", "sshd", NOW - 900, 600),
            ("2001:db8::1", "x", 1, -1),
        ]
        database.executemany("INSERT INTO bips VALUES (?, ?, ?, ?, 1)", rows)
    database.close()
    plan = plan_of("fail2ban", path)
    assert sorted(banned(plan)) == [
        ("192.0.2.7/32", 540.0, (), "fail2ban sshd"),
        ("2001:db8::1/128", None, (), "fail2ban x"),
    ]
    assert "it has ended" in plan.left_out[0]


def test_a_limit_that_no_policy_can_have_is_left_out_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "csf.conf").write_text(
        'CT_LIMIT = "300"\nCT_PORTS = "80,99999"\nCT_BLOCK_TIME = "172800"\nCONNLIMIT = "0;5,80;20"\n'
    )
    plan = plan_of("csf", tmp_path)
    for said, port in zip(plan.left_out, ("99999", "0"), strict=True):
        assert f'ports: "{port}" is not a port' in said
    (tmp_path / "pack.toml").write_text("\n".join(plan.pack()))
    (policy,) = load_pack(tmp_path / "pack.toml").policy
    assert (policy.ports, policy.bans.first, policy.bans.cap) == ("80", 172800.0, 172800.0)


def test_ddos_deflate(tmp_path: Path) -> None:
    (tmp_path / "ddos.conf").write_text(
        'PROGDIR="/usr/local/ddos"\nNO_OF_CONNECTIONS=150\nBAN_PERIOD=600\nPORT_CONNECTIONS="80:100:900 443:100:900"\n'
    )
    (tmp_path / "ignore.ip.list").write_text("127.0.0.1\n203.0.113.7\n")
    (tmp_path / "ignore.host.list").write_text("example.net\n")
    plan = plan_of("ddos-deflate", tmp_path)
    assert set(allowed(plan)) == {"127.0.0.1/32", "203.0.113.7/32"}
    assert [(one.ports, one.connections, one.first_s) for one in plan.limits] == [
        ("80", 100, 900.0), ("443", 100, 900.0), ("any", 150, 600.0),
    ]  # fmt: skip
    assert "example.net: a host name" in plan.left_out[0]


def test_ufw(tmp_path: Path) -> None:
    plan = read(
        "ufw",
        tmp_path,
        "user.rules",
        "*filter\n:ufw-user-input - [0:0]\n### RULES ###\n"
        "### tuple ### deny any any 0.0.0.0/0 any 203.0.113.5 in comment=7370616d\n"
        "-A ufw-user-input -s 203.0.113.5 -j DROP\n"
        "### tuple ### deny tcp 22,80 0.0.0.0/0 any 203.0.113.6 in\n"
        "### tuple ### allow any any 0.0.0.0/0 any 198.51.100.0/24 in comment=6f6666696365\n"
        "### tuple ### allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 in\n"
        "### tuple ### limit tcp 22 0.0.0.0/0 any 203.0.113.7 in\n",
    )
    assert allowed(plan) == {"198.51.100.0/24": "office"}
    assert banned(plan) == [("203.0.113.5/32", None, (), "spam"), ("203.0.113.6/32", None, (22, 80), "")]
    assert len(plan.left_out) == 2


def test_ipset_and_nft(tmp_path: Path) -> None:
    plan = read(
        "ipset",
        tmp_path,
        "sets",
        'create bad hash:net family inet timeout 0 comment\nadd bad 203.0.113.0/24 timeout 60 comment "ssh, again"\n'
        "add bad 192.0.2.7 timeout 0\nadd bad 192.0.2.0/28 nomatch\nadd ports 192.0.2.9,tcp:80\n",
    )
    assert banned(plan) == [("203.0.113.0/24", 60.0, (), "ssh, again"), ("192.0.2.7/32", None, (), "ipset bad")]
    assert len(plan.left_out) == 2
    plan = read(
        "nft",
        tmp_path,
        "rules.nft",
        RULESET,
    )
    assert [(target, reason) for target, _, _, reason in banned(plan)] == [
        ("203.0.113.0/24", "one, two"),
        ("192.0.2.1/32", "nft set bad"),
        ("192.0.2.2/32", "nft set bad"),
        ("192.0.2.9/32", "nft set bad"),
    ]
    assert plan.bans[0].lasts_s == pytest.approx(59 * 60 + 2.744)
    assert [line.rpartition(": ")[2] for line in plan.left_out] == [
        "a set of something else than addresses", "it is synguard's own",
    ]  # fmt: skip


BRACES = """
table inet f {
    set none {
        type ipv4_addr
        size 65535\t# count 0
    }

    set bad {
        type ipv4_addr
        size 131072\t# count 3, of { them }
        flags interval,timeout
        auto-merge
        counter
        comment "of the { feed"
        elements = { 203.0.113.0/24 counter packets 5 bytes 300 timeout 1d expires 2m58s136ms comment "a } # b, c",
                 192.0.2.1 counter packets 0 bytes 0 timeout never }
    }
    set last { type ipv4_addr; }
}
table inet synguard {
    set allow-4 {
        type ipv4_addr
        elements = { 198.51.100.200 comment "synguard allow" }
    }
}
"""


def test_sets_without_elements_and_braces_in_comments_do_not_mix_sets_up(tmp_path: Path) -> None:
    """Behind an empty set our own table's list of allowed addresses was imported as bans; nft 1.1.7 lists counts."""
    plan = read("nft", tmp_path, "rules.nft", BRACES)
    assert banned(plan) == [
        ("203.0.113.0/24", 178.136, (), "a } # b, c"),
        ("192.0.2.1/32", None, (), "nft set bad"),
    ]
    assert [line.rpartition(": ")[2] for line in plan.left_out] == ["it is synguard's own"]


def test_an_import_allows_bans_and_says_what_it_leaves_out(host: CliHost) -> None:
    (host.base / "csf.allow").write_text("203.0.113.20 # office\n0.0.0.0/0\n")
    (host.base / "csf.deny").write_text(f"192.0.2.7 # bad\n{GATEWAY}\n203.0.113.20\n")
    (host.base / "csf.tempban").write_text(f"{datetime.now(UTC).timestamp():.0f}|192.0.2.10||in|3600|five logins\n")
    shown = host.run("import", "csf", str(host.base), "--dry-run", "--json").json
    assert [one["target"] for one in shown["bans"]] == ["192.0.2.7", "192.0.2.10"]
    assert host.records() == []
    assert host.run("import", "csf", str(host.base)).code == 2  # nobody can be asked
    told = host.run("import", "csf", str(host.base), "--yes", "--for", "30m")
    assert told.code == 0, told.err
    assert host.active_bans() == host.held() == {"192.0.2.7/32", "192.0.2.10/32"}
    by_target = {str(one.ban.target): one.ban for one in host.records()}
    assert by_target["192.0.2.7/32"].reason == "bad"
    for ban in by_target.values():
        assert ban.expires_at is not None
        assert ban.expires_at <= datetime.now(UTC) + timedelta(hours=1, seconds=2)
    assert [str(one.network) for one in read_added(host.base / "allow.added.txt")] == ["203.0.113.20/32"]
    assert "0.0.0.0/0: no one in it can be banned" in told.out
    assert f"{GATEWAY} is protected" in told.out


def test_an_ipset_of_friends_is_allowed(host: CliHost) -> None:
    path = host.base / "friends"
    path.write_text("create friends hash:ip\nadd friends 203.0.113.20\n")
    assert host.run("import", "ipset", str(path), "--allow", "--yes").code == 0
    assert [str(one.network) for one in read_added(host.base / "allow.added.txt")] == ["203.0.113.20/32"]
    assert host.records() == []


@pytest.mark.parametrize(
    ("tool", "text", "said"),
    [
        ("nothing", "", '"nothing" cannot be imported from: name one of csf, fail2ban'),
        ("csf", "203.0.113.7\n", "its name ends in none of csf.conf"),
        ("fail2ban", "no ini at all\n", "is no jail file"),
        ("ddos-deflate", "X=1\n", "is no ddos.conf"),
        ("ufw", "-A INPUT -j DROP\n", "has no rules of ufw"),
        ("ipset", "hello\n", "is not what ipset save prints"),
        ("nft", "table inet x { }\n", "holds no set with elements"),
        ("nft", "\0", "is no text"),
    ],
)
def test_what_is_something_else_is_refused_in_a_sentence(host: CliHost, tool: str, text: str, said: str) -> None:
    path = host.base / "file"
    path.write_text(text)
    told = host.run("import", tool, str(path), "--yes")
    assert (told.code, said in told.err) == (2, True), told.err


@pytest.mark.parametrize("tool", READERS)
def test_a_directory_that_is_not_there_is_said(tool: str, tmp_path: Path) -> None:
    with pytest.raises(SynguardError, match="cannot be read: No such file"):
        plan_of(tool, tmp_path / "nowhere")


@pytest.mark.parametrize("tool", READERS)
def test_a_file_that_is_not_there_and_a_damaged_one_are_sentences(tmp_path: Path, tool: str) -> None:
    for make in (lambda path: None, lambda path: path.write_bytes(b"SQLite format 3\0garbage")):
        path = tmp_path / "csf.deny"
        make(path)
        with pytest.raises(SynguardError, match=str(path)):
            plan_of(tool, path)


@pytest.mark.parametrize("comment", ["until monday", "name server"])
def test_a_comment_that_looks_like_our_own_words_is_a_comment(host: CliHost, comment: str) -> None:
    """The list could not be read afterwards, or had a host name in it that no one gave."""
    deny = host.base / "csf.allow"
    deny.write_text(f"192.0.2.7 # {comment}\n")
    assert host.run("import", "csf", str(deny), "--yes").code == 0
    (entry,) = read_added(host.base / "allow.added.txt")
    assert (entry.until, entry.name, entry.comment) == (None, "", f"says {comment}")


def test_no_ban_covers_whom_the_same_files_allow(host: CliHost) -> None:
    (host.base / "csf.allow").write_text("203.0.113.20 # office\n")
    (host.base / "csf.deny").write_text("203.0.113.0/24\n192.0.2.7\n")
    host.run("ban", "203.0.113.20")
    told = host.run("import", "csf", str(host.base), "--yes")
    assert told.code == 0, told.err
    assert host.active_bans() == {"192.0.2.7/32"}
    assert "203.0.113.20 is protected" in told.out


def test_nothing_is_allowed_where_the_bans_cannot_be_made(host: CliHost) -> None:
    (host.base / "csf.allow").write_text("203.0.113.20 # office\n")
    (host.base / "csf.deny").write_text("192.0.2.7\n")
    host.plane.permitted = False
    assert host.run("import", "csf", str(host.base), "--yes").code == 4
    assert not (host.base / "allow.added.txt").exists()
