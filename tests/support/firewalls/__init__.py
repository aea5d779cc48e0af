"""Firewalls as operators have them, each with the obstacles to challenges that it is.

``python -m tests.support.firewalls`` (as root) loads each in a network namespace and writes down what the tools list.
``ufw.rules`` is what ufw 0.36.2 loads with `ufw allow 22/tcp; ufw limit 2222/tcp; ufw allow http; ufw deny 25/tcp`;
``firewalld.nft`` is what firewalld 1.3.3 loads with the services ssh and http, and port 8080 forwarded to 80.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
LISTINGS: Final = HERE / "listings.json"

Expected = dict[str, tuple[int, ...] | None]
"""Code of an obstacle → its ports; None for all."""


@dataclass(frozen=True)
class Firewall:
    """One ruleset, and what stands in the way of challenges with it, for ports 22, 80 and 443."""

    name: str
    tool: str
    """``iptables-legacy``, ``iptables-nft`` or ``nft``: what loads it."""
    rules: str
    loose: Expected = field(default_factory=dict)
    strict: Expected = field(default_factory=dict)
    """With ``nf_conntrack_tcp_loose = 0``."""


def table(name: str, *lines: str, **policies: str) -> str:
    """Return a table in the words of ``iptables-restore``; chains that are not built in are declared by their rules."""
    built_in = {
        "filter": ("INPUT", "FORWARD", "OUTPUT"),
        "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
        "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
        "raw": ("PREROUTING", "OUTPUT"),
    }[name]
    own = dict.fromkeys(line.split()[0] for line in lines if line.split()[0] not in built_in)
    head = [f":{chain} {policies.get(chain, 'ACCEPT')} [0:0]" for chain in built_in] + [
        f":{one} - [0:0]" for one in own
    ]
    return "\n".join([f"*{name}", *head, *(f"-A {line}" for line in lines), "COMMIT", ""])


def chain(*rules: str, hook: str = "input", priority: str = "0", policy: str = "accept", more: str = "") -> str:
    """Return an ``inet`` table with one base chain."""
    kind = "nat" if priority == "dstnat" else "filter"
    body = "\n".join(("", *rules))
    head = f"table inet fw {{\n{more}\nchain base {{\n"
    return f"{head}type {kind} hook {hook} priority {priority}; policy {policy};{body}\n}}\n}}\n"


MUST_BE_SYN: Final[Expected] = {"new-must-be-syn": None}
LOOSE_OFF: Final[Expected] = {"loose-tracking-off": None}
ESTABLISHED: Final = "INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT"
NOT_SYN: Final = "INPUT -p tcp ! --syn -m state --state NEW -j DROP"

_XTABLES: Final[dict[str, tuple[str, Expected, Expected]]] = {
    "drop INVALID": (table("filter", "INPUT -m conntrack --ctstate INVALID -j DROP"), {}, LOOSE_OFF),
    "drop INVALID in mangle": (table("mangle", "PREROUTING -m conntrack --ctstate INVALID -j DROP"), {}, LOOSE_OFF),
    "drop INVALID on the way out": (table("filter", "OUTPUT -m state --state INVALID -j DROP"), {}, LOOSE_OFF),
    "NEW must be SYN": (table("filter", NOT_SYN, ESTABLISHED), MUST_BE_SYN, {}),
    "NEW must be SYN, rejected in mangle": (
        table(
            "mangle", "PREROUTING -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW -j DROP"
        ),
        MUST_BE_SYN,
        {},
    ),
    "NEW must be SYN in a chain of its own, for 443": (
        table("filter", "INPUT -p tcp -j bad", "bad -p tcp --dport 443 ! --syn -m state --state NEW -j REJECT"),
        {"new-must-be-syn": (443,)},
        {},
    ),
    "NEW must be SYN, with 80 let in before": (
        table("filter", "INPUT -p tcp -m multiport --dports 80,81 -j ACCEPT", NOT_SYN),
        {"new-must-be-syn": (22, 443)},
        {},
    ),
    "only SYNs of new connections are let in": (
        table("filter", ESTABLISHED, "INPUT -p tcp --syn -m state --state NEW --dport 80 -j ACCEPT", INPUT="DROP"),
        {"new-must-be-syn": (80,)},
        {"loose-tracking-off": (80,)},
    ),
    "new connections are let in": (
        table("filter", "INPUT -i lo -j ACCEPT", ESTABLISHED, "INPUT -p tcp --dport 80 -j ACCEPT", INPUT="DROP"),
        {},
        {},
    ),
    "new connections are let in by their state": (
        table("filter", ESTABLISHED, "INPUT -p tcp --dport 80 -m state --state NEW -j ACCEPT", INPUT="DROP"),
        {},
        {"loose-tracking-off": (80,)},
    ),
    "some sources may not come, and logs": (
        table("filter", ESTABLISHED, "INPUT -s 198.51.100.0/24 -j DROP", "INPUT -p tcp ! --syn -j LOG", INPUT="ACCEPT"),
        {},
        {},
    ),
    "NEW must be SYN on another interface": (
        table("filter", "INPUT -i tun+ -p tcp ! --syn -m state --state NEW -j DROP", "INPUT -i lo -j DROP"),
        {},
        {},
    ),
    "REDIRECT": (
        table("nat", "PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080"),
        {"redirected-port": (80,)},
        {"redirected-port": (80,)},
    ),
    "published by Docker": (
        table(
            "nat",
            "PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
            "DOCKER -i docker0 -j RETURN",
            "DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
        ),
        {"redirected-port": (8080,)},
        {"redirected-port": (8080,)},
    ),
    "DNAT of an address that is not ours": (
        table("nat", "PREROUTING -d 10.96.0.1/32 -p tcp --dport 443 -j DNAT --to-destination 10.0.0.5:6443"),
        {},
        {},
    ),
    "SYNPROXY": (
        table("raw", "PREROUTING -p tcp --syn --dport 80 -j CT --notrack")
        + table(
            "filter",
            "INPUT -p tcp --dport 80 -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --mss 1460",
            "INPUT -m state --state INVALID -j DROP",
        ),
        {"synproxy": (80,)},
        {"synproxy": (80,), "loose-tracking-off": (22, 443)},
    ),
}

_NFT: Final[dict[str, tuple[str, Expected, Expected]]] = {
    "not SYN and new": (chain("tcp flags & (fin|syn|rst|ack) != syn ct state new counter drop"), MUST_BE_SYN, {}),
    "not SYN and new, written shorter": (chain("tcp flags != syn ct state new log drop"), MUST_BE_SYN, {}),
    "no SYN among the flags": (chain("tcp flags ! syn ct state new reject"), MUST_BE_SYN, {}),
    "not SYN in a set": (chain("tcp flags { ack, fin } ct state { new, untracked } drop"), MUST_BE_SYN, {}),
    "not SYN, ahead of nat": (
        chain("tcp flags & syn == 0 ct state new drop", hook="prerouting", priority="-150"),
        MUST_BE_SYN,
        {},
    ),
    "not SYN for some ports": (
        chain(
            "ct state vmap { established : accept, new : jump fresh }",
            more="chain fresh {\ntcp dport 80-443 tcp flags != syn drop\n}",
        ),
        {"new-must-be-syn": (80, 443)},
        {},
    ),
    "invalid": (chain("ct state invalid drop", "ct state established,related accept"), {}, LOOSE_OFF),
    "invalid by a map": (
        chain("ct state vmap { established : accept, related : accept, invalid : drop }"),
        {},
        LOOSE_OFF,
    ),
    "all but invalid": (
        chain("ct state established accept", "ct state != invalid tcp dport { 80, 443 } accept", policy="drop"),
        {},
        {"loose-tracking-off": (80, 443)},
    ),
    "only SYNs are let in": (
        chain(
            "ct state established,related accept",
            "tcp flags & (fin|syn|rst|ack) == syn tcp dport 80 accept",
            policy="drop",
        ),
        {"new-must-be-syn": (80,)},
        {"loose-tracking-off": (80,)},
    ),
    "usual": (
        chain(
            "iif lo accept",
            "ct state established,related accept",
            "meta l4proto tcp th dport { 22, 80 } accept",
            policy="drop",
        ),
        {},
        {},
    ),
    "without tracking": (
        chain("tcp dport 80 notrack", hook="prerouting", priority="raw")
        + chain("ct state new tcp flags != syn drop", "ct state invalid drop").replace(
            "table inet fw", "table inet fw2"
        ),
        {"new-must-be-syn": (22, 443)},
        {"loose-tracking-off": (22, 443)},
    ),
    "redirect and dnat": (
        chain(
            "tcp dport 80 redirect to :8080",
            "dnat ip to tcp dport map { 83 : 10.0.0.9 }",
            "tcp dport vmap { 82 : goto elsewhere }",
            hook="prerouting",
            priority="dstnat",
            more="chain elsewhere {\ndnat ip to 10.0.0.2\n}",
        ),
        {"redirected-port": (80, 82, 83)},
        {"redirected-port": (80, 82, 83)},
    ),
    "other protocols, and other addresses": (
        chain(
            "ct state established accept",
            "icmpv6 type nd-router-advert accept",
            "udp dport 80 accept",
            "ip daddr 203.0.113.9 tcp dport 80 tcp flags syn accept",
            "ip6 daddr fd00::/8 tcp dport 80 tcp flags syn accept",
            policy="drop",
        ),
        {},
        {},
    ),
    "IPv6 alone": (
        "table ip6 six {\nchain in {\ntype filter hook input priority 0;\nct state new tcp flags != syn drop\n}\n}\n",
        MUST_BE_SYN,
        {},
    ),
    "at the device": (
        'table netdev dev {\nchain in {\ntype filter hook ingress device "lo" priority 0;\n'
        "tcp flags & (fin|syn) == fin|syn drop\n}\n}\n",
        {},
        {},
    ),
}

FIREWALLS: Final = (
    Firewall("none", "nft", ""),
    *(Firewall(name, tool, *one) for name, one in _XTABLES.items() for tool in ("iptables-legacy", "iptables-nft")),
    *(Firewall(name, "nft", *one) for name, one in _NFT.items()),
    *(
        Firewall("ufw", tool, (HERE / "ufw.rules").read_text(), {}, {"loose-tracking-off": (22, 80, 2222)})
        for tool in ("iptables-legacy", "iptables-nft")
    ),
    Firewall(
        "firewalld",
        "nft",
        (HERE / "firewalld.nft").read_text(),
        {"redirected-port": (8080,)},
        {"redirected-port": (8080,), "loose-tracking-off": (22, 80)},
    ),
)
