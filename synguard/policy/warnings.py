"""What is allowed in policies but is hardly meant: one sentence each, for ``policy check`` and ``doctor``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from synguard.model import Signal
from synguard.policy.models import Config, Policy
from synguard.units import format_duration

_ALL_PORTS: Final = (1 << 65536) - 2
"""Sets of ports are integers here, bit n for port n: a pack may hold 64 policies of 65,535 ports each."""

_RANGES_SHOWN: Final = 8


def policy_warnings(
    policies: Sequence[Policy], config: Config | None = None, listening: Collection[int] | None = None
) -> tuple[str, ...]:
    """Return notes on policies that judge nothing, limits that contradict, and ports that no one judges.

    ``listening`` are the local ports in use; where they are not given, all ports that no policy judges are named.
    """
    return (*_hidden(policies), *_unjudged(policies, listening), *_limits(policies), *_memory(policies, config))


def _hidden(policies: Sequence[Policy]) -> Iterator[str]:
    taken = 0
    for position, policy in enumerate(policies):
        ports = _ports(policy)
        if ports & ~taken == 0:
            takers = [earlier.name for earlier in policies[:position] if ports & _ports(earlier)]
            yield (
                f"policy {policy.name} never judges: its ports are taken by {' and '.join(takers)} before it; "
                "list it earlier, since for a port the first policy that names it judges"
            )
        taken |= ports


def _unjudged(policies: Sequence[Policy], listening: Collection[int] | None) -> Iterator[str]:
    left = _ALL_PORTS if listening is None else sum(1 << port for port in set(listening))
    for policy in policies:
        left &= ~_ports(policy)
    if left:
        yield f"no policy judges port {_format_ranges(left)}: floods there are only reported; add the default pack last"


def _limits(policies: Sequence[Policy]) -> Iterator[str]:
    for policy in policies:
        if not any(policy.limits.of(signal) or policy.prefix_limits.of(signal) for signal in Signal):
            yield f"policy {policy.name} sets no limits: nothing on its ports is ever banned automatically"
        for signal in Signal:
            one, many = policy.limits.of(signal), policy.prefix_limits.of(signal)
            if one is not None and many is not None and many < one:
                yield (
                    f"policy {policy.name}: prefix_limits.{signal} ({many:g}) is below limits.{signal} ({one:g}), "
                    "so a prefix is judged more harshly than one source in it"
                )


def _memory(policies: Sequence[Policy], config: Config | None) -> Iterator[str]:
    for policy in policies:
        if config is not None and policy.bans.memory > config.ledger.keep:
            yield (
                f"policy {policy.name}: bans.memory ({format_duration(policy.bans.memory)}) is longer than ledger.keep "
                f"({format_duration(config.ledger.keep)}), so repeaters are forgotten earlier than it says"
            )


def _ports(policy: Policy) -> int:
    ports = 0
    for one in policy.port_ranges:
        ports |= ((1 << len(one)) - 1) << one.start
    return ports


def _format_ranges(ports: int) -> str:
    """Return ``1-21, 23, 80-90`` for a set of ports."""
    shown: list[str] = []
    first = 0
    while ports and len(shown) < _RANGES_SHOWN:
        gap = (ports & -ports).bit_length() - 1
        ports >>= gap
        length = (~ports & (ports + 1)).bit_length() - 1
        ports >>= length
        first += gap
        shown.append(f"{first}-{first + length - 1}" if length > 1 else str(first))
        first += length
    return ", ".join(shown) + (" and more" if ports else "")
