"""What stands in the way of challenges, judged from what the tools really list (``tests/support/firewalls``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path

import pytest

from synguard.enforcer.challenge import libbpf, ruleset
from synguard.enforcer.challenge.handshakes import Entrance
from synguard.enforcer.challenge.kernel_needs import kernel_obstacles
from synguard.enforcer.challenge.obstacles import Obstacle, rule_obstacles
from synguard.enforcer.challenge.preflight import LOOK_EVERY_S, READ_EVERY_S, ChallengePreflight
from synguard.enforcer.challenge.ruleset import Ruleset, read_rules
from synguard.errors import PlaneError
from tests.support.firewalls import FIREWALLS, LISTINGS, Expected, Firewall

PORTS = (22, 80, 443)
ENTRANCES = (
    Entrance(4, "eth0", (ip_network("192.0.2.2/32"),)),
    Entrance(6, "eth0", (ip_network("2001:db8::2/128"),)),
)
LISTED: dict[str, dict[str, str]] = json.loads(LISTINGS.read_text(encoding="utf-8"))


def key(firewall: Firewall) -> str:
    return f"{firewall.name}, {firewall.tool}"


def listing_of(monkeypatch: pytest.MonkeyPatch, firewall: Firewall, tmp_path: Path, *, loose: bool) -> Ruleset:
    printed = LISTED[key(firewall)]

    def output(command: Sequence[str], package: str) -> str:
        return printed[" ".join(command)]

    def existing(family: int) -> frozenset[str]:
        stem = "iptables" if family == 4 else "ip6tables"
        return frozenset(["filter"] if f"{stem}-legacy-save" in printed else [])

    monkeypatch.setattr(ruleset, "_output", output)
    monkeypatch.setattr(ruleset, "existing_tables", existing)
    monkeypatch.setattr(ruleset, "families_here", lambda: (4, 6))
    monkeypatch.setattr(ruleset, "find_tool", lambda name: f"/usr/sbin/{name}")
    (tmp_path / "netfilter").mkdir(exist_ok=True)
    (tmp_path / "netfilter/nf_conntrack_tcp_loose").write_text(f"{int(loose)}\n")
    return read_rules(tmp_path)


def expected_of(obstacles: Sequence[Obstacle]) -> Expected:
    found: dict[str, set[int] | None] = {}
    for one in obstacles:
        before = found.get(one.code, set())
        found[one.code] = None if one.ports is None or before is None else before | set(one.ports)
    return {code: None if ports is None else tuple(sorted(ports)) for code, ports in found.items()}


@pytest.mark.parametrize("loose", [True, False], ids=["loose", "strict"])
@pytest.mark.parametrize("firewall", FIREWALLS, ids=key)
def test_what_a_firewall_does_to_challenged_clients_is_known(
    firewall: Firewall, loose: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rules = listing_of(monkeypatch, firewall, tmp_path, loose=loose)
    obstacles = rule_obstacles(rules, PORTS, ENTRANCES)
    assert expected_of(obstacles) == (firewall.loose if loose else firewall.strict)
    assert all(one.text and one.fix for one in obstacles)


def test_every_firewall_that_is_loaded_in_kernel_tests_has_its_listing_here() -> None:
    assert set(LISTED) == {key(firewall) for firewall in FIREWALLS}


def test_the_sentence_names_the_rule_and_the_fix_removes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (legacy,) = obstacles_of("NEW must be SYN, iptables-legacy", monkeypatch, tmp_path)
    rule = "INPUT -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m state --state NEW -j DROP"
    assert f"iptables-legacy -t filter -A {rule}" in legacy.text
    assert legacy.fix == f"iptables-legacy -t filter -D {rule}"
    (native,) = obstacles_of("not SYN and new, nft", monkeypatch, tmp_path)
    assert native.fix.startswith("nft delete rule inet fw base handle ")
    (policy,) = obstacles_of("only SYNs are let in, nft", monkeypatch, tmp_path)
    assert "the policy of the chain that `nft list chain inet fw base` shows" in policy.text


def obstacles_of(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Obstacle]:
    firewall = next(one for one in FIREWALLS if key(one) == name)
    return rule_obstacles(listing_of(monkeypatch, firewall, tmp_path, loose=True), PORTS, ENTRANCES)


def test_rules_that_cannot_be_read_forbid_challenges_for_all_ports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(command: Sequence[str], package: str) -> str:
        raise PlaneError("reading firewall rules with nft", "it did not end within 5 s")

    firewall = next(one for one in FIREWALLS if one.name == "usual")
    listing_of(monkeypatch, firewall, tmp_path, loose=True)
    monkeypatch.setattr(ruleset, "_output", refused)
    (one,) = rule_obstacles(read_rules(tmp_path), PORTS, ENTRANCES)
    assert (one.code, one.ports) == ("rules-unread", None)
    assert "did not end within 5 s" in one.text


@pytest.mark.parametrize("listing", ["", "[]", '{"nftables": [{"rule": {"family": "inet"}}]}', '{"nftables": [{}]}'])
def test_a_listing_of_another_form_is_rules_that_cannot_be_read(
    listing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    firewall = next(one for one in FIREWALLS if one.name == "usual")
    listing_of(monkeypatch, firewall, tmp_path, loose=True)
    tables = LISTED[key(firewall)]["nft --json list tables"]
    monkeypatch.setattr(ruleset, "_output", lambda command, package: tables if command[-1] == "tables" else listing)
    assert "is not understood" in read_rules(tmp_path).unread


def test_an_output_that_is_too_long_or_takes_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ruleset, "MOST_BYTES", 1000)
    monkeypatch.setattr(ruleset, "find_tool", lambda name: f"/usr/bin/{name}")
    with pytest.raises(PlaneError, match="prints more than"):
        ruleset._output(["yes"], "coreutils")
    monkeypatch.setattr(ruleset, "TIMEOUT_S", 0.05)
    with pytest.raises(PlaneError, match="did not end within"):
        ruleset._output(["sleep", "60"], "coreutils")
    with pytest.raises(PlaneError, match="exit code 1"):
        ruleset._output(["false"], "coreutils")


def test_jumps_that_fan_out_are_walked_once_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sixteen chains that each jump to the next one twice are 65,536 ways through them."""
    monkeypatch.setattr(ruleset, "_output", lambda command, package: fan_out())
    monkeypatch.setattr(ruleset, "families_here", lambda: (4,))
    monkeypatch.setattr(ruleset, "existing_tables", lambda family: frozenset({"filter"}))
    monkeypatch.setattr(ruleset, "_native", lambda: iter(()))
    assert rule_obstacles(read_rules(tmp_path), PORTS, ENTRANCES)[0].code == "new-must-be-syn"


def fan_out() -> str:
    chains = [f"c{number}" for number in range(16)]
    jumps = [f"-A {one} -s 192.0.2.{n} -j {after}" for one, after in pairwise(chains) for n in (1, 2)]
    last = "-A c15 -p tcp ! --syn -m state --state NEW -j DROP"
    head = ["*filter", ":INPUT ACCEPT [0:0]", *(f":{one} - [0:0]" for one in chains), "-A INPUT -j c0"]
    return "\n".join([*head, *jumps, last, "COMMIT", ""])


def test_a_kernel_without_the_helpers_is_told_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "btf").write_bytes(b"\0bpf_loop\0")
    (tmp_path / "status").write_text("CapEff:\t000001ffffffffff\n")
    (one,) = kernel_obstacles(tmp_path / "btf", tmp_path / "lockdown", tmp_path / "status")
    assert one.code == "helpers"
    assert "bpf_tcp_raw_gen_syncookie_ipv4" in one.text
    assert "bpf_loop" not in one.text


def test_a_kernel_without_btf_rights_or_openness_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "lockdown").write_text("none integrity [confidentiality]\n")
    (tmp_path / "status").write_text("CapEff:\t0000000000003000\n")
    found = kernel_obstacles(tmp_path / "btf", tmp_path / "lockdown", tmp_path / "status")
    assert [one.code for one in found] == ["btf", "rights", "lockdown"]


def test_a_host_without_libbpf_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libbpf, "LIBRARY", "libbpf.so.none")
    libbpf.library.cache_clear()
    try:
        found = kernel_obstacles(tmp_path / "btf", tmp_path / "lockdown", tmp_path / "status")
        assert {one.code: one.fix for one in found}["libbpf"] == "apt-get install libbpf1"
    finally:
        libbpf.library.cache_clear()


def test_cap_sys_admin_stands_for_cap_bpf(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(f"CapEff:\t{1 << 12 | 1 << 21:016x}\n")
    codes = {one.code for one in kernel_obstacles(tmp_path / "btf", tmp_path / "lockdown", tmp_path / "status")}
    assert "rights" not in codes


class Rules:
    """A ruleset that is looked at in another thread, and how often it was."""

    def __init__(self) -> None:
        self.looks = 0
        self.state = b"first"

    def look(self) -> Ruleset:
        self.looks += 1
        return Ruleset()

    def fingerprint(self) -> bytes:
        return self.state


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> tuple[Rules, Callable[..., None]]:
    monkeypatch.setattr("synguard.enforcer.challenge.preflight.kernel_obstacles", lambda: ())
    rules = Rules()
    watched = ChallengePreflight(rules.look, rules.fingerprint)
    assert watched.obstacles is None

    def follow(now: float, ports: tuple[int, ...] = PORTS) -> None:
        watched.follow(ports, ENTRANCES, now)
        assert watched.wait(10)

    return rules, follow


def test_rules_are_read_at_first_and_again_when_they_change(followed: tuple[Rules, Callable[..., None]]) -> None:
    rules, follow = followed
    follow(0)
    follow(LOOK_EVERY_S / 2)
    follow(LOOK_EVERY_S)
    assert rules.looks == 1
    rules.state = b"second"
    follow(LOOK_EVERY_S * 1.5)
    assert rules.looks == 1, "not before it is due"
    follow(LOOK_EVERY_S * 2)
    assert rules.looks == 2


def test_rules_are_read_again_after_a_while_and_for_other_ports(followed: tuple[Rules, Callable[..., None]]) -> None:
    rules, follow = followed
    follow(0)
    follow(READ_EVERY_S)
    assert rules.looks == 2, "legacy tables have no generation"
    follow(READ_EVERY_S + 0.1, (22,))
    assert rules.looks == 3
