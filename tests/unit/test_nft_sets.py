"""Named sets and maps of nftables, in the place of the anonymous ones that the rules could have had."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synguard.enforcer.challenge.handshakes import Entrance
from synguard.enforcer.challenge.nft_rules import read_ruleset
from synguard.enforcer.challenge.nft_sets import contents_of, short_sets, with_contents
from synguard.enforcer.challenge.obstacles import rule_obstacles
from synguard.enforcer.challenge.ruleset import OURS, Ruleset

STATE = {"ct": {"key": "state"}}
PORT = {"payload": {"protocol": "tcp", "field": "dport"}}
NOT_SYN = {
    "match": {
        "op": "!=",
        "left": {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["fin", "syn", "rst", "ack"]]},
        "right": "syn",
    }
}
NEW = {"match": {"op": "in", "left": STATE, "right": "new"}}


def named(kind: str, name: str, of: Any, elements: list[Any], **more: str) -> dict[str, Any]:
    return {kind: {"family": "inet", "table": "fw", "name": name, "type": of, "elem": elements, **more}}


def listing(rule: list[Any], *sets: dict[str, Any], hook: str = "input") -> str:
    kind = "nat" if hook == "prerouting" else "filter"
    at = {"family": "inet", "table": "fw"}
    base = {**at, "name": "in", "type": kind, "hook": hook, "prio": 0, "policy": "accept"}
    one = {**at, "chain": "in", "handle": 7, "expr": rule}
    return json.dumps(
        {"nftables": [{"table": {"family": "inet", "name": "fw"}}, *sets, {"chain": base}, {"rule": one}]}
    )


def obstacles(text: str) -> dict[str, tuple[int, ...] | None]:
    """Return code → ports of what is in the way, with every set listed that is short."""
    listed = [
        json.dumps({"nftables": [entry]})
        for entry in json.loads(text)["nftables"]
        if any((kind, found.get("name")) in short_sets(text) for kind, found in entry.items())
    ]
    tables, _ = read_ruleset(with_contents(text, contents_of(listed)), OURS)
    found = rule_obstacles(Ruleset(tuple(tables.values())), (80, 443), (Entrance(4, "eth0"),))
    return {one.code: one.ports for one in found}


@pytest.mark.parametrize("elements", [[443], [{"range": [400, 500]}], [{"elem": {"val": 443, "timeout": 60}}]])
def test_a_rule_for_the_ports_of_a_named_set_is_an_obstacle_for_these_alone(elements: list[Any]) -> None:
    """It was one for all ports, since what the set holds was not known: no one was challenged anywhere."""
    rule = [{"match": {"op": "==", "left": PORT, "right": "@open"}}, NOT_SYN, NEW, {"drop": None}]
    assert obstacles(listing(rule, named("set", "open", "inet_service", elements))) == {"new-must-be-syn": (443,)}


def test_a_named_verdict_map_of_states_is_followed() -> None:
    verdicts = [["new", {"drop": None}], ["established", {"accept": None}]]
    states = named("map", "states", "ct_state", verdicts, map="verdict")
    assert obstacles(listing([NOT_SYN, {"vmap": {"key": STATE, "data": "@states"}}], states)) == {
        "new-must-be-syn": None
    }


def test_dnat_by_a_named_map_redirects_the_ports_in_it() -> None:
    to = {"map": {"key": PORT, "data": "@to"}}
    where = named("map", "to", "inet_service", [[443, "192.0.2.9"]], map="ipv4_addr")
    rule = [{"dnat": {"family": "ip", "addr": to}}]
    assert obstacles(listing(rule, where, hook="prerouting")) == {"redirected-port": (443,)}


def test_sets_of_addresses_are_not_listed() -> None:
    blocked = named("set", "blocked", "ipv4_addr", [])
    pairs = named("map", "pairs", ["ipv4_addr", "inet_service"], [], map="verdict")
    text = listing([{"drop": None}], blocked, pairs, named("set", "open", "inet_service", []))
    assert short_sets(text) == [("set", "open")]


@pytest.mark.parametrize("text", ["", "{}", '{"nftables": [{"set": {}}]}', "[]"])
def test_what_is_no_listing_is_an_error_that_the_caller_expects(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        short_sets(text)
