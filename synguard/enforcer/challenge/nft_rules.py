"""Reads what ``nft --json list`` prints, as rules of `packet_filter`; no I/O. Sample::

    {"nftables": [{"chain": {"family": "inet", "table": "fw", "name": "in", "type": "filter", "hook": "input", …}},
     {"rule": {"family": "inet", "table": "fw", "chain": "in", "handle": 7, "expr": [
      {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "invalid"}}, {"drop": null}]}}]}

Source: libnftables-json(5).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any, Final

from synguard.enforcer.challenge.packet_filter import (
    ALWAYS,
    NEVER,
    UNKNOWN,
    AllOf,
    AnyOf,
    BaseChain,
    Constant,
    FamilyFilter,
    FilterRule,
    Flags,
    Interface,
    LocalAddress,
    Not,
    Ports,
    RuleVerdict,
    States,
    Table,
    Test,
)

_FAMILIES: Final = {"ip": frozenset({4}), "ip6": frozenset({6}), "inet": frozenset({4, 6}), "netdev": frozenset({4, 6})}
_VERDICTS: Final = {
    "accept": RuleVerdict.ACCEPT,
    "drop": RuleVerdict.DROP,
    "reject": RuleVerdict.DROP,
    "return": RuleVerdict.RETURN,
    "jump": RuleVerdict.JUMP,
    "goto": RuleVerdict.GOTO,
    "notrack": RuleVerdict.NOTRACK,
    "redirect": RuleVerdict.REDIRECT,
    "dnat": RuleVerdict.REDIRECT,
    "tproxy": RuleVerdict.REDIRECT,
    "synproxy": RuleVerdict.PROXY,
    "queue": RuleVerdict.ACCEPT,
}
_ASKS: Final = frozenset({"limit", "quota", "ct count", "meter", "xt"})
"""Statements that end a rule for some packets."""
_EVERY_FLAG: Final = frozenset({"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"})
_OTHER_PROTOCOLS: Final = frozenset(
    {"udp", "udplite", "icmp", "icmpv6", "igmp", "sctp", "dccp", "esp", "ah", "comp", "gre", "arp"}
)
_IP: Final = {"ip": 4, "ip6": 6}
_OPPOSITE: Final = frozenset({"!=", "!"})

Key = tuple[str, str]
"""Family and name of a table."""


def read_ruleset(listing: str, ours: Key) -> tuple[dict[Key, Table], frozenset[Key]]:
    """Return the tables of a listing but ours, and which of them ``iptables-nft`` has written.

    What ``iptables`` matches shows as ``xt`` without its words: ask ``iptables-nft-save`` for those tables.

    Raises:
        ValueError: It is no such listing.
    """
    bases: dict[Key, list[BaseChain]] = {}
    rules: dict[Key, dict[str, list[FilterRule]]] = {}
    foreign: set[Key] = set()
    for entry in json.loads(listing)["nftables"]:
        kind, found = next(iter(entry.items()))
        if kind not in ("table", "chain", "rule") or found["family"] not in _FAMILIES:
            continue
        key = found["family"], found["name" if kind == "table" else "table"]
        if key == ours:
            continue
        chains = rules.setdefault(key, {})
        if kind == "chain":
            chains.setdefault(found["name"], [])
            if "hook" in found:
                bases.setdefault(key, []).append(_base(found))
        elif kind == "rule":
            if any("xt" in statement for statement in found["expr"]):
                foreign.add(key)
            chains.setdefault(found["chain"], []).extend(_rules(found))
    tables = {
        key: Table(tuple(bases.get(key, ())), {name: tuple(one) for name, one in chains.items()})
        for key, chains in rules.items()
    }
    return tables, frozenset(foreign)


def _base(found: Mapping[str, Any]) -> BaseChain:
    text = f"nft list chain {found['family']} {found['table']} {found['name']}"
    return BaseChain(
        found["name"],
        found["hook"],
        int(found.get("prio", 0)),
        _FAMILIES[found["family"]],
        text,
        nat=found.get("type") == "nat",
        drops=found.get("policy") == "drop",
    )


def _rules(found: Mapping[str, Any]) -> Iterator[FilterRule]:
    """Yield the rule, or one for each element of a verdict map; none where it decides nothing."""
    where = f"{found['family']} {found['table']} {found['chain']}"
    text = f"rule with handle {found['handle']} in nft chain {where}"
    removal = f"nft delete rule {where} handle {found['handle']}"
    tests: list[Test] = []
    for statement in found["expr"]:
        kind, value = next(iter(statement.items()))
        if kind == "match":
            tests.append(_test(value["left"], value["op"], value["right"]))
        elif kind == "vmap":
            for element, verdict in _elements(value["data"]):
                word, argument = next(iter(verdict.items()))
                if word in _VERDICTS:
                    key = _equal(value["key"], element)
                    yield FilterRule((*tests, key), _VERDICTS[word], _target(argument), text, removal)
        elif kind in _VERDICTS:
            if kind == "dnat":
                tests += _mapped(value)
            yield FilterRule(tuple(tests), _VERDICTS[kind], _target(value), text, removal)
        elif kind in _ASKS:
            tests.append(UNKNOWN)


def _target(argument: Any) -> str:
    return str(argument["target"]) if isinstance(argument, dict) and "target" in argument else ""


def _mapped(value: Any) -> list[Test]:
    """Return the test that DNAT by a map makes: elsewhere it does nothing."""
    mapping = value.get("addr") if isinstance(value, dict) else None
    if isinstance(mapping, dict) and "map" in mapping:
        keys = _elements(mapping["map"]["data"])
        return [AnyOf(tuple(_equal(mapping["map"]["key"], key) for key, _ in keys))] if keys else [UNKNOWN]
    return []


def _elements(data: Any) -> list[tuple[Any, Any]]:
    """Return the elements of an anonymous map; none of a named one, whose content is not listed."""
    if not isinstance(data, dict):
        return []
    return [
        (key["elem"]["val"] if isinstance(key, dict) and "elem" in key else key, value) for key, value in data["set"]
    ]


def _test(left: Any, op: str, right: Any) -> Test:
    """Return one ``match`` as a test, with the protocol that its field implies: the listing leaves that out."""
    implied = left.get("payload", {}).get("protocol") if isinstance(left, dict) else None
    if implied in _OTHER_PROTOCOLS:
        return NEVER
    test = _asked(left, op, right)
    return AllOf((FamilyFilter(_IP[implied]), test)) if implied in _IP else test


def _asked(left: Any, op: str, right: Any) -> Test:
    if op in (">", ">=", "<", "<="):
        return _compared(left, op, right)
    if _is_flags(left) or _is_state(left):
        return _bits(left, op, right)
    test = _equal(left, right)
    return Not(test) if op in _OPPOSITE else test


def _equal(left: Any, right: Any) -> Test:
    """Return the test that a key is a value, or one of a set of values."""
    if isinstance(right, dict) and "set" in right:
        return AnyOf(tuple(_equal(left, _plain(one)) for one in right["set"]))
    if isinstance(left, dict) and "concat" in left:
        values = right["concat"] if isinstance(right, dict) and "concat" in right else []
        tests = tuple(_equal(part, value) for part, value in zip(left["concat"], values, strict=False))
        return AllOf(tests) if tests else UNKNOWN
    if _is_flags(left) or _is_state(left):
        return _bits(left, "==", right)
    return UNKNOWN if isinstance(right, str) and right.startswith("@") else _same(*_key(left), right)


def _same(kind: str, key: str, right: Any) -> Test:
    """Return the test that a key of some kind is one value."""
    if kind == "port":
        ranges = _range(right)
        return Ports((ranges,), outgoing=key == "sport") if ranges else UNKNOWN
    if kind == "protocol":
        return Constant(right in ("tcp", 6))
    if kind == "interface":
        return Interface(str(right), outgoing=key.startswith("o"))
    if kind == "family":
        return FamilyFilter({"ipv4": 4, "ipv6": 6, "ip": 4, "ip6": 6}.get(str(right), 0))
    if kind == "translated":
        return NEVER if right in ("dnat", "snat") else UNKNOWN
    if kind == "local":
        return ALWAYS if right == "local" else NEVER
    if kind == "address":
        return _address(right)
    return UNKNOWN


def _key(left: Any) -> tuple[str, str]:
    """Return what kind of key it is, and its name."""
    if not isinstance(left, dict):
        return "", ""
    payload, meta, fib = left.get("payload", {}), left.get("meta", {}), left.get("fib", {})
    name = str(payload.get("field", "") or meta.get("key", ""))
    if payload.get("protocol") in ("tcp", "th") and name in ("dport", "sport"):
        return "port", name
    if payload.get("protocol") in ("ip", "ip6") and name == "daddr":
        return "address", name
    if name in ("l4proto", "nexthdr") or (payload.get("protocol") == "ip" and name == "protocol"):
        return "protocol", name
    if name in ("iif", "iifname", "oif", "oifname"):
        return "interface", name
    if name in ("nfproto", "protocol"):
        return "family", name
    if fib.get("result") == "type" and "daddr" in fib.get("flags", ()):
        return "local", name
    if left.get("ct", {}).get("key") == "status":
        return "translated", name  # of what is, the port is redirected
    return "", name


def _is_flags(left: Any) -> bool:
    if isinstance(left, dict) and "&" in left:
        left = left["&"][0]
    return isinstance(left, dict) and left.get("payload") == {"protocol": "tcp", "field": "flags"}


def _is_state(left: Any) -> bool:
    if isinstance(left, dict) and "&" in left:
        left = left["&"][0]
    return isinstance(left, dict) and left.get("ct", {}).get("key") == "state"


def _bits(left: Any, op: str, right: Any) -> Test:
    """Return a test of TCP flags or of the state, which are bit fields: ``in`` is "one of", ``!`` is "none of"."""
    if isinstance(right, str) and right.startswith("@"):
        return UNKNOWN
    if isinstance(right, dict) and "set" in right:
        found: Test = AnyOf(tuple(_bits(left, "==", _plain(one)) for one in right["set"]))
        return Not(found) if op in _OPPOSITE else found
    mask = _names(left["&"][1]) if "&" in left else _EVERY_FLAG
    names = _names(right)
    if _is_state(left):
        found = States(names or _names(left["&"][1]) if "&" in left else names)
        opposite = (op in _OPPOSITE) is bool(names)  # `& (new) != 0` asks for it, `!= new` for another
        return Not(found) if opposite else found
    if op == "in":
        return Not(Flags(names, frozenset()))
    if op == "!":
        return Flags(names, frozenset())
    found = Flags(mask, names)
    return Not(found) if op == "!=" else found


def _names(value: Any) -> frozenset[str]:
    """Return the names in ``"syn"``, ``["syn", "ack"]`` or ``{"|": ["syn", "ack"]}``; none of 0."""
    if isinstance(value, str):
        return frozenset({value})
    if isinstance(value, dict):
        value = value.get("|", [])
    return frozenset().union(*(_names(one) for one in value)) if isinstance(value, list) else frozenset()


def _compared(left: Any, op: str, right: Any) -> Test:
    kind, key = _key(left)
    if kind != "port" or not isinstance(right, int):
        return UNKNOWN
    ends = {">": (right + 1, 65535), ">=": (right, 65535), "<": (0, right - 1), "<=": (0, right)}[op]
    return Ports((ends,), outgoing=key == "sport")


def _plain(value: Any) -> Any:
    return value["elem"]["val"] if isinstance(value, dict) and "elem" in value else value


def _range(value: Any) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    ends = value.get("range") if isinstance(value, dict) else None
    return (ends[0], ends[1]) if isinstance(ends, list) and all(isinstance(end, int) for end in ends) else None


def _address(value: Any) -> Test:
    prefix = value.get("prefix") if isinstance(value, dict) else None
    text = f"{prefix['addr']}/{prefix['len']}" if isinstance(prefix, dict) else value
    try:
        return LocalAddress(ip_network(text, strict=False)) if isinstance(text, str) else UNKNOWN
    except ValueError:
        return UNKNOWN
