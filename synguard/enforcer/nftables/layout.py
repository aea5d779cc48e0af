"""What stands in our nf_tables table besides members: chains, their fixed rules, and one set per prefix length.

::

    prerouting (raw - 10)  ─ drop-4 ─┬─ allow-4       accept   ip saddr & MASK @allow-4-LENGTH
                                     ├─ all-drop-4    drop     ip saddr & MASK @all-drop-4-LENGTH
                                     ├─ drop-syn-4 ──┬─ handshake-drop-4  drop   ip saddr & MASK . tcp dport @…
                                     │  (SYNs only)  ├─ proven-4          accept
                                     │               ├─ new-drop-4        drop
                                     │               └─ port-drop-4       drop   ip saddr & MASK . tcp dport @…
                                     └─ drop-frag-4 ── drop-syn-4
                                        (first fragments too short to show that they are SYNs)
    input, forward (filter - 10)  ─ reject-4 ─ the same with all-reject, handshake-reject, … → answer

and the same for IPv6. A chain per kind of member holds one rule per prefix length in use, because a set that could
hold overlapping networks does not exist in nf_tables: see docs/decisions/0013-nftables-sets-by-length.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeAlias

from synguard.addresses import Network
from synguard.enforcer.names import FAMILIES, Family, Kind, family_of, frame_comment, kind_of
from synguard.model import FIREWALL_ACTIONS, Action, Ban, KernelBan

NAME: Final = "synguard"
TABLE: Final = f"inet {NAME}"
MAX_ELEMENTS: Final = 131_072
"""Members a set may hold, as in the plane with ipsets."""

_SET: Final = re.compile(r"([a-z-]+)-([46])-(\d{1,3})")
_SYN: Final = "tcp flags & (fin | syn | rst | ack) == syn"
_NO_SYN: Final = "tcp flags & (fin | syn | rst | ack) != syn"
"""Not matched either by what is too short to have flags."""
_FIRST_FRAGMENT: Final[Mapping[Family, str]] = {4: "ip frag-off & 0x3fff == 0x2000", 6: "frag frag-off 0"}
"""The first of several (IPv4), the first or only one (IPv6). Without it the kernel puts nothing together."""
_ANSWER: Final = "answer"
BASES: Final[Mapping[str, tuple[str, int]]] = {
    "prerouting": ("prerouting", -310),
    "input": ("input", -10),
    "forward": ("forward", -10),
}
"""Base chain → hook and priority.

``raw`` is -300 and connection tracking -200: a dropped packet costs neither. Defragmentation, where it is on, comes
before, at -400. A reset can be sent from ``input`` and ``forward`` only. An ``accept`` in somebody else's chain ends
that chain and no other, so no one lets packets past us, whatever their priority.
"""


@dataclass(frozen=True, slots=True, order=True)
class SetId:
    """Which set: what it holds, for which family, of which prefix length."""

    kind: Kind
    family: Family
    length: int

    @property
    def name(self) -> str:
        """The set's name: ``new-drop-4-24``."""
        return f"{self.chain}-{self.length}"

    @property
    def chain(self) -> str:
        """The chain whose rules ask it: ``new-drop-4``."""
        return f"{self.kind}-{self.family}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What stands in the braces when it is created, beside its size."""
        address = "ipv4_addr" if self.family == 4 else "ipv6_addr"
        member = f"{address} . inet_service" if self.kind.by_port else address
        return f"type {member}", "flags timeout", "counter"

    @property
    def rule(self) -> FixedRule:
        """The rule that asks it."""
        network = (IPv4Network if self.family == 4 else IPv6Network)((0, self.length))
        source = "ip saddr" if self.family == 4 else "ip6 saddr"
        masked = source if self.length == network.max_prefixlen else f"{source} & {network.netmask}"
        key = f"{masked} . tcp dport" if self.kind.by_port else masked
        return FixedRule(f"{key} @{self.name} {_verdict(self.kind)}", frame_comment(self.name))


@dataclass(frozen=True, slots=True)
class FixedRule:
    """One rule of ours: its text, and the comment by which it is known again."""

    text: str
    comment: str

    def __str__(self) -> str:
        return f'{self.text} comment "{self.comment}"'


Slot: TypeAlias = tuple[SetId, str]
"""One element: its set and its key as text."""


def set_for(ban: Ban | KernelBan) -> SetId:
    """Return which set holds a ban."""
    return _known(kind_of(ban), family_of(ban.target), ban.target.prefixlen)


def exception_set(kind: Kind, network: Network) -> SetId:
    """Return which set holds an exception."""
    return _known(kind, family_of(network), network.prefixlen)


@cache
def _known(kind: Kind, family: Family, length: int) -> SetId:
    """Return the same object for the same set: a hundred thousand bans share a dozen."""
    return SetId(kind, family, length)


def set_id(name: str) -> SetId | None:
    """Return which set a name of ours means, or None."""
    match = _SET.fullmatch(name)
    if match is None or match[1] not in set(Kind):
        return None
    family: Family = 4 if match[2] == "4" else 6
    known = SetId(Kind(match[1]), family, int(match[3]))
    return known if known.name == name and 0 < known.length <= (32 if family == 4 else 128) else None


def kind_chains() -> Iterator[str]:
    """Yield the names of the chains that ask sets."""
    for family in FAMILIES:
        yield from (f"{kind}-{family}" for kind in Kind)


def fixed_chains() -> dict[str, tuple[FixedRule, ...]]:
    """Return the chains whose rules never change, with their rules in order; a jump's target comes before it."""
    chains: dict[str, list[str]] = {
        _ANSWER: ["meta l4proto tcp reject with tcp reset", "reject with icmpx type port-unreachable"]
    }
    for family in FAMILIES:
        for action in FIREWALL_ACTIONS:
            news = (Kind(f"handshake-{action}"), Kind.PROVEN, Kind(f"new-{action}"), Kind(f"port-{action}"))
            chains[f"{action}-syn-{family}"] = [f"jump {kind}-{family}" for kind in news]
            chains[f"{action}-frag-{family}"] = [
                f"{_NO_SYN} return",
                f"meta l4proto tcp jump {action}-syn-{family}",
            ]
            chains[f"{action}-{family}"] = [
                f"jump {Kind.ALLOW}-{family}",
                f"jump all-{action}-{family}",
                f"{_SYN} jump {action}-syn-{family}",
                f"{_FIRST_FRAGMENT[family]} jump {action}-frag-{family}",
            ]
    for base, action in (("prerouting", Action.DROP), ("input", Action.REJECT), ("forward", Action.REJECT)):
        chains[base] = [f"meta nfproto {name} jump {action}-{family}" for name, family in (("ipv4", 4), ("ipv6", 6))]
    return {
        chain: tuple(FixedRule(text, frame_comment(f"{chain}-{place}")) for place, text in enumerate(texts, 1))
        for chain, texts in chains.items()
    }


FIXED: Final = fixed_chains()
CHAINS: Final = (*kind_chains(), *FIXED)
"""All our chains, in an order in which they can be made."""


def _verdict(kind: Kind) -> str:
    if kind.action is None:
        return "accept"
    return "drop" if kind.action is Action.DROP else f"jump {_ANSWER}"
