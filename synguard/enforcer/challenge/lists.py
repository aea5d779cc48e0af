"""Which bans concern which network, port and header: chains of bans, so that one look-up finds all, however many."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Final, TypeAlias

from synguard.addresses import Network
from synguard.enforcer.challenge.layout import PROTECTED, Family, ProgramStep
from synguard.model import Action, Ban, KernelBan
from synguard.syn_header import SynHeader

Places: TypeAlias = tuple[int, ...]
"""Places of bans."""
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
    """What the program looks up: where a chain of bans begins, and how it goes on.

    A chain leads from the narrowest target to ever wider ones, so that targets share what follows; the program carries
    out the hardest step of those that concern a SYN.
    """

    networks: Mapping[Network, int] = field(default_factory=dict)
    """Target or protected network → its first ban; the longest prefix alone is looked at. A target that lies in a
    protected network is not there."""
    everybody: Mapping[Family, Places] = field(default_factory=dict)
    """All bans of the whole family, in order, whatever their ports."""
    headers: Mapping[HeaderKey, int] = field(default_factory=dict)
    after: Mapping[int, int] = field(default_factory=dict)
    """Ban → the next one; the last of a chain is absent."""

    @property
    def reached(self) -> set[int]:
        """All bans of all chains."""
        everybody = chain.from_iterable(self.everybody.values())
        return self.along(chain(self.networks.values(), self.headers.values(), everybody))

    @property
    def protected(self) -> frozenset[Network]:
        """Networks no ban concerns."""
        return frozenset(network for network, place in self.networks.items() if place == PROTECTED)

    def along(self, first: Iterable[int]) -> set[int]:
        """Return these bans and all that their chains lead to."""
        found = set[int]()
        for place in first:
            while place and place not in found:
                found.add(place)
                place = self.after.get(place, 0)
        return found - {PROTECTED}


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
    """Return the lists for bans by place."""
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

    shielded = _Covering(protected)
    for target in [target for target in targets if any(True for _ in shielded.of(target))]:
        del targets[target]  # the look-up finds the protected network
    chains = {key: _ordered(bans, places) for of in (everybody, headers, targets) for key, places in of.items()}
    after = {one: following for places in chains.values() for one, following in pairwise(places)}
    wider = _Covering(targets)
    networks = dict.fromkeys(protected, PROTECTED)
    for target in targets:
        networks[target] = chains[target][0]
        *_, around = (None, *wider.of(target))[:-1]
        if around is not None:
            after[chains[target][-1]] = chains[around][0]
    return Lists(
        networks,
        {family: chains[family] for family in everybody},
        {key: chains[key][0] for key in headers},
        after,
    )


def _ordered(bans: Mapping[int, Ban | KernelBan], places: Iterable[int]) -> Places:
    return tuple(sorted(places, key=lambda place: (*_rank(bans[place]), place)))


def _rank(ban: Ban | KernelBan) -> tuple[int, int, bool, int]:
    return -ban.target.prefixlen, -step_of(ban), bool(ban.ports), -len(ban.ports)


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
