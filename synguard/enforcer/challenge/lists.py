"""Which bans concern which network, port and header: overlaps are resolved here, so that one look-up is enough."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from synguard.addresses import Network
from synguard.enforcer.challenge.layout import BANS_AT_ONCE, PROTECTED, Family, ProgramStep
from synguard.model import Action, Ban, KernelBan
from synguard.syn_header import SynHeader

Places: TypeAlias = tuple[int, ...]
"""Places of bans; of those that concern a SYN the first is carried out."""
HeaderKey: TypeAlias = tuple[int, int, int, int, int]
"""Options, window, MSS, length, family."""

_STEPS: Final = {
    Action.CHALLENGE: ProgramStep.CHALLENGE,
    Action.LIMIT: ProgramStep.LIMIT,
    Action.DROP: ProgramStep.DROP,
    Action.REJECT: ProgramStep.LEAVE,
}


@dataclass(frozen=True, slots=True)
class Lists:
    """What the program looks up."""

    networks: Mapping[Network, Places] = field(default_factory=dict)
    """Target or protected network → bans of it and of wider ones; the longest prefix alone is looked at."""
    everybody: Mapping[Family, Places] = field(default_factory=dict)
    """All bans of the whole family, whatever their ports and however many."""
    headers: Mapping[HeaderKey, Places] = field(default_factory=dict)


def step_of(ban: Ban | KernelBan) -> ProgramStep:
    """Return what the program does to the SYNs of a ban."""
    return _STEPS[ban.action]


def family_of(network: Network) -> Family:
    """Return the family of a network."""
    return Family.V4 if network.version == 4 else Family.V6


def header_key(header: SynHeader, family: Family) -> HeaderKey:
    """Return what a header is looked up by; its TTL band is compared afterwards."""
    return header.options, header.window, header.mss, header.length, family


def lists(bans: Mapping[int, Ban | KernelBan], protected: Collection[Network]) -> Lists:
    """Return the lists for bans by place. Of more bans than fit one list, those of the hardest step, the narrowest
    target and the most ports stay; those are left out first that others in it make needless.
    """
    everybody: dict[Family, list[int]] = {}
    headers: dict[HeaderKey, list[int]] = {}
    targets: dict[Network, list[int]] = {}
    for place, ban in bans.items():
        family = family_of(ban.target)
        if ban.header is not None:
            headers.setdefault(header_key(ban.header, family), []).append(place)
        elif ban.target.prefixlen == 0:
            everybody.setdefault(family, []).append(place)
        else:
            targets.setdefault(ban.target, []).append(place)

    shielded, wider = _Covering(protected), _Covering(targets)
    networks: dict[Network, Places] = dict.fromkeys(protected, (PROTECTED,))
    for target in targets:
        if any(True for _ in shielded.of(target)):
            networks[target] = (PROTECTED,)
        else:
            networks[target] = _fitting(bans, [place for network in wider.of(target) for place in targets[network]])
    return Lists(
        networks,
        {family: _ordered(bans, places) for family, places in everybody.items()},
        {key: _ordered(bans, places)[:BANS_AT_ONCE] for key, places in headers.items()},
    )


def _ordered(bans: Mapping[int, Ban | KernelBan], places: Iterable[int]) -> Places:
    return tuple(sorted(places, key=lambda place: (*_rank(bans[place]), place)))


def _fitting(bans: Mapping[int, Ban | KernelBan], places: Iterable[int]) -> Places:
    found = _ordered(bans, places)
    if len(found) > BANS_AT_ONCE:
        needed: list[int] = []
        for place in found:
            if not any(_makes_needless(bans[one], bans[place]) for one in needed):
                needed.append(place)
        found = tuple(needed)
    return found[:BANS_AT_ONCE]


def _rank(ban: Ban | KernelBan) -> tuple[int, int, bool, int]:
    return -step_of(ban), -ban.target.prefixlen, bool(ban.ports), -len(ban.ports)


def _makes_needless(one: Ban | KernelBan, later: Ban | KernelBan) -> bool:
    """Return whether a ban does to each SYN what a ``later`` one in the order would do, or more, and for as long."""
    lasts = one.expires_at is None or (later.expires_at is not None and one.expires_at >= later.expires_at)
    return lasts and (not one.ports or (bool(later.ports) and set(later.ports) <= set(one.ports)))


class _Covering:
    """Which of many networks cover one, itself included."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._found = {
            (network.version, network.prefixlen, int(network.network_address)): network for network in networks
        }
        self._lengths = sorted({(version, length) for version, length, _ in self._found})

    def of(self, network: Network) -> Iterable[Network]:
        """Yield those that cover a network, the widest first."""
        start, most = int(network.network_address), network.max_prefixlen
        for version, length in self._lengths:
            if version == network.version and length <= network.prefixlen:
                found = self._found.get((version, length, start >> (most - length) << (most - length)))
                if found is not None:
                    yield found
