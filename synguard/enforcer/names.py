"""What our kernel objects are called, and how a fresh process knows that one is ours.

Chains and sets are ours by name. Rules and set members are ours by their comment, which begins with ``synguard``;
the text of a rule is never compared, because the kernel's tools do not give back what was put in. The comments::

    synguard frame v1 all-drop                                         a fixed rule, or a jump into our chain
    synguard allow                                                     an exception checked before every drop
    synguard proven                                                    an exception checked before most drops of SYNs
    synguard ban 7f3a-1 until 2026-03-01T12:00:00.250000Z              a member of a ban's set

Early releases could hold each ban as a rule; what they left is recognised, so that it can be removed::

    synguard ban 7f3a-1 until never new drop 192.0.2.0/24 ports 80,443
    synguard allow 192.0.2.1
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from synguard.addresses import Network
from synguard.model import FIREWALL_ACTIONS, Action, Ban, KernelBan, Scope

Family: TypeAlias = Literal[4, 6]
FAMILIES: Final[tuple[Family, ...]] = (4, 6)

CHAIN_LIMIT: Final = 28
"""``XT_EXTENSION_MAXNAMELEN`` less the terminator: a chain name is also a target name."""
SET_LIMIT: Final = 31
"""``IPSET_MAXNAMELEN`` less the terminator."""
COMMENT_LIMIT: Final = 255
"""Both of ``IPSET_MAX_COMMENT_SIZE`` and of ``XT_MAX_COMMENT_LEN`` less the terminator."""

CHAIN: Final = "SYNGUARD"
REJECT_CHAIN: Final = "SYNGUARD-REJECT"
SET_PREFIX: Final = "synguard-"
SPARE_SET: Final = "synguard-spare"
"""A set under this name lives for one transaction, while one with old parameters is exchanged."""

FRAME_VERSION: Final = "v1"
"""Counted up when a fixed rule changes its meaning, so that an upgrade replaces the old ones."""

_FRAME: Final = re.compile(r"synguard frame (v\d+) (\S+)")
_EXCEPTION: Final = re.compile(r"synguard (allow|proven)(?: (\S+))?")
_MEMBER: Final = re.compile(r"synguard ban ([a-z0-9-]{1,32}) until (never|\S+Z)")
_RULE: Final = re.compile(_MEMBER.pattern + r" (new|all) (drop|reject) (\S+)(?: ports (\d+(?:,\d+)*))?")
_SIZE: Final = re.compile(r"[0-9]{1,10}")


def size_of(word: str) -> int:
    """Return the size of a set as its tool tells it; 0 for what is no size that a set could have."""
    return int(word) if _SIZE.fullmatch(word) else 0


class Kind(StrEnum):
    """What a set holds, in the order in which the chains ask."""

    ALLOW = "allow"
    ALL_DROP = "all-drop"
    ALL_REJECT = "all-reject"
    HANDSHAKE_DROP = "handshake-drop"
    """As ``port-drop``, of bans that ``Ban.refuses_proven`` names."""
    HANDSHAKE_REJECT = "handshake-reject"
    PROVEN = "proven"
    NEW_DROP = "new-drop"
    NEW_REJECT = "new-reject"
    PORT_DROP = "port-drop"
    """``new`` bans that name ports: members are pairs of network and local TCP port."""
    PORT_REJECT = "port-reject"

    @property
    def by_port(self) -> bool:
        """Whether members carry a port."""
        return self.scope is Scope.NEW and self not in (Kind.NEW_DROP, Kind.NEW_REJECT)

    @property
    def refuses_proven(self) -> bool:
        """Whether it is asked before the exceptions of proven peers, though only SYNs are dropped."""
        return self in (Kind.HANDSHAKE_DROP, Kind.HANDSHAKE_REJECT)

    @property
    def action(self) -> Action | None:
        """What befalls a packet that matches; None for exceptions."""
        return _SHAPES[self][1]

    @property
    def scope(self) -> Scope | None:
        """The scope of the bans it holds; None for exceptions."""
        return _SHAPES[self][0]


_SHAPES: Final[dict[Kind, tuple[Scope | None, Action | None]]] = {
    Kind.ALLOW: (None, None),
    Kind.ALL_DROP: (Scope.ALL, Action.DROP),
    Kind.ALL_REJECT: (Scope.ALL, Action.REJECT),
    Kind.HANDSHAKE_DROP: (Scope.NEW, Action.DROP),
    Kind.HANDSHAKE_REJECT: (Scope.NEW, Action.REJECT),
    Kind.PROVEN: (None, None),
    Kind.NEW_DROP: (Scope.NEW, Action.DROP),
    Kind.NEW_REJECT: (Scope.NEW, Action.REJECT),
    Kind.PORT_DROP: (Scope.NEW, Action.DROP),
    Kind.PORT_REJECT: (Scope.NEW, Action.REJECT),
}


_KINDS: Final = {
    (scope, action, by_port): Kind(f"{'port' if by_port else scope}-{action}")
    for scope in Scope
    for action in FIREWALL_ACTIONS
    for by_port in (False, True)
    if not (by_port and scope is Scope.ALL)
}

_ON_HANDSHAKES: Final = {action: Kind(f"handshake-{action}") for action in FIREWALL_ACTIONS}


def family_of(network: Network) -> Family:
    """Return 4 or 6."""
    return 4 if network.version == 4 else 6


def kind_of(ban: Ban | KernelBan) -> Kind:
    """Return which kind of set holds a ban."""
    if ban.refuses_proven:
        return _ON_HANDSHAKES[ban.action]
    return _KINDS[ban.scope, ban.action, bool(ban.ports)]


def set_name(kind: Kind, family: Family) -> str:
    """Return the set's name: ``synguard-all-drop-4``."""
    return f"{SET_PREFIX}{kind}-{family}"


SET_NAMES: Final = {set_name(kind, family): (kind, family) for family in FAMILIES for kind in Kind}
"""Name → what it holds, for every set of the frame."""


def frame_comment(part: str) -> str:
    """Return the comment of a fixed rule or jump."""
    return f"synguard frame {FRAME_VERSION} {part}"


def exception_comment(kind: Kind) -> str:
    """Return the comment of an exception."""
    return f"synguard {kind}"


def member_comment(ban_id: str, expires_at: datetime | None) -> str:
    """Return the comment of one member of a ban's set."""
    return f"synguard ban {ban_id} until {_format_expiry(expires_at)}"


def is_ours(comment: str) -> bool:
    """Return whether a rule or member with this comment is ours to change or remove."""
    pattern = (_FRAME, _EXCEPTION, _MEMBER, _RULE)
    return any(form.fullmatch(comment) for form in pattern)


def parse_member(comment: str) -> tuple[str, datetime | None] | None:
    """Return ban id and expiry of a ban's set member, or None if it is not one."""
    match = _MEMBER.fullmatch(comment)
    try:
        return (match[1], _parse_expiry(match[2])) if match else None
    except ValueError:  # ours by form, but not a time that we wrote
        return None


@lru_cache(maxsize=256)
def _format_expiry(moment: datetime | None) -> str:
    if moment is None:
        return "never"
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@lru_cache(maxsize=256)
def _parse_expiry(text: str) -> datetime | None:
    return None if text == "never" else datetime.fromisoformat(text)
