"""Reads what ``iptables-legacy-save`` and ``iptables-nft-save`` print, as rules of `packet_filter`; no I/O. Sample::

    *filter
    :INPUT DROP [0:0]
    :web - [0:0]
    -A INPUT -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m state --state NEW -j DROP
    COMMIT

Options that are not known here stand for "it depends".
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Final

from synguard.enforcer.challenge.packet_filter import (
    ALWAYS,
    NEVER,
    UNKNOWN,
    BaseChain,
    Constant,
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

_HOOKS: Final = {"PREROUTING": "prerouting", "INPUT": "input", "OUTPUT": "output"}
_PRIORITY: Final = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
_VERDICTS: Final = {
    "ACCEPT": RuleVerdict.ACCEPT,
    "DROP": RuleVerdict.DROP,
    "REJECT": RuleVerdict.DROP,
    "TARPIT": RuleVerdict.DROP,
    "RETURN": RuleVerdict.RETURN,
    "NOTRACK": RuleVerdict.NOTRACK,
    "REDIRECT": RuleVerdict.REDIRECT,
    "DNAT": RuleVerdict.REDIRECT,
    "TPROXY": RuleVerdict.REDIRECT,
    "SYNPROXY": RuleVerdict.PROXY,
    "NFQUEUE": RuleVerdict.ACCEPT,
}
_ALL: Final = frozenset({"fin", "syn", "rst", "psh", "ack", "urg"})
_SAYS_NOTHING: Final = frozenset({"-m", "--match", "--comment"})
"""Options with one word behind them that ask nothing: which match follows, and remarks."""


def read_saved(text: str, tool: str, family: int, ours: Callable[[str], bool]) -> tuple[Table, ...]:
    """Return the tables of a listing.

    ``tool`` is the command that shows them; the rules of chains that are ``ours`` are left out.
    """
    tables = []
    name, bases, rules = "", list[BaseChain](), dict[str, list[FilterRule]]()
    for line in text.splitlines():
        if line.startswith("*"):
            name, bases, rules = line[1:].strip(), [], {}
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            rules[chain] = []
            if chain in _HOOKS and name in _PRIORITY:
                bases.append(_base(chain, name, policy, f"{tool} -t {name} -L {chain} -n", family))
        elif line.startswith("-A "):
            words = shlex.split(line)
            rule = _rule(words, rules, f"{tool} -t {name}", line)
            if rule is not None and words[1] in rules and not ours(words[1]):
                rules[words[1]].append(rule)
        elif line == "COMMIT":
            tables.append(Table(tuple(bases), {chain: tuple(found) for chain, found in rules.items()}))
    return tuple(tables)


def _base(chain: str, table: str, policy: str, text: str, family: int) -> BaseChain:
    drops = policy == "DROP"
    return BaseChain(chain, _HOOKS[chain], _PRIORITY[table], frozenset({family}), text, nat=table == "nat", drops=drops)


def _rule(words: list[str], chains: Mapping[str, object], tool: str, line: str) -> FilterRule | None:
    """Return the rule of one line; None for one that decides nothing."""
    at = next((place for place, word in enumerate(words) if word in ("-j", "-g")), None)
    if at is None or at + 1 >= len(words):
        return None
    target = words[at + 1]
    verdict = _VERDICTS.get(target)
    if target in chains:
        verdict = RuleVerdict.JUMP if words[at] == "-j" else RuleVerdict.GOTO
    elif target == "CT" and "--notrack" in words[at:]:
        verdict = RuleVerdict.NOTRACK
    if verdict is None:
        return None
    return FilterRule(
        tuple(_tests(words[2:at])), verdict, target, f"{tool} {line}", f"{tool} {line.replace('-A', '-D', 1)}"
    )


def _tests(words: list[str]) -> Iterator[Test]:
    negated = False
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if word == "!":
            negated = True
            continue
        values: list[str] = []
        while place < len(words) and not words[place].startswith("-") and words[place] != "!":
            values.append(words[place])
            place += 1
        if word not in _SAYS_NOTHING:
            test = _test(word, values)
            yield Not(test) if negated else test
        negated = False


def _test(option: str, values: list[str]) -> Test:
    reader = _READERS.get(option)
    try:
        return reader(values) if reader else UNKNOWN
    except (ValueError, IndexError):  # written in a way that is not known here
        return UNKNOWN


def _flags(values: list[str]) -> Test:
    mask, value = values
    return Flags(_flag_set(mask), _flag_set(value))


def _flag_set(word: str) -> frozenset[str]:
    if word == "ALL":
        return _ALL
    return frozenset() if word == "NONE" else frozenset(word.lower().split(","))


def _ports(values: list[str], *, outgoing: bool = False) -> Test:
    return Ports(tuple(_range(word) for word in values[0].split(",")), outgoing)


def _range(word: str) -> tuple[int, int]:
    low, colon, high = word.partition(":")
    first = int(low or 0)
    return first, int(high or 65535) if colon else first


def _protocol(values: list[str]) -> Test:
    return Constant(values[0] in ("tcp", "6", "all", "0"))


def _interface(values: list[str], *, outgoing: bool = False) -> Test:
    name = values[0]
    return Interface(f"{name[:-1]}*" if name.endswith("+") else name, outgoing)


def _local(values: Iterable[str]) -> Test:
    return ALWAYS if "LOCAL" in next(iter(values)).split(",") else NEVER


_READERS: Final[Mapping[str, Callable[[list[str]], Test]]] = {
    "-p": _protocol,
    "-f": lambda values: NEVER,
    "-i": _interface,
    "-o": lambda values: _interface(values, outgoing=True),
    "-d": lambda values: LocalAddress(ip_network(values[0], strict=False)),
    "--tcp-flags": _flags,
    "--syn": lambda values: Flags(frozenset({"fin", "syn", "rst", "ack"}), frozenset({"syn"})),
    "--state": lambda values: States(frozenset(values[0].lower().split(","))),
    "--ctstate": lambda values: States(frozenset(values[0].lower().split(","))),
    "--dport": _ports,
    "--dports": _ports,
    "--sport": lambda values: _ports(values, outgoing=True),
    "--sports": lambda values: _ports(values, outgoing=True),
    "--dst-type": _local,
}
