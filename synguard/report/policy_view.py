"""Policies as people and scripts see them: every value, and the ports that each really judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from synguard.model import Signal
from synguard.policy.models import Policy
from synguard.units import format_duration


def judged_ports(policies: Sequence[Policy]) -> list[str]:
    """Return for each policy the ports left to it by those before it, ``1-21,23-65535``; empty where none are."""
    taken: set[int] = set()
    texts = []
    for policy in policies:
        ports = {port for ports in policy.port_ranges for port in ports} - taken
        taken |= ports
        texts.append(",".join(_ranges(sorted(ports))))
    return texts


def pack_line(policies: Sequence[Policy]) -> str:
    """Return one line on a pack: how many policies, for which ports."""
    return "; ".join(f"{one.name} judges {one.ports}" for one in policies)


def policy_shape(policy: Policy, ports: str) -> dict[str, Any]:
    """Return every value of a policy as JSON, and ``judges``: the ports it is the first to name."""
    return policy.model_dump(mode="json") | {"judges": ports}


def policy_lines(policy: Policy, ports: str) -> list[str]:
    """Return a policy's values for people."""
    bans = policy.bans
    about = f": {policy.about}" if policy.about else ""
    return [
        f"{policy.name}{about}",
        f"  judges ports   {ports or 'none: earlier policies name all of its ports'}",
        f"  source limits  {limits_text(policy.limits.of)}",
        f"  prefix limits  {limits_text(policy.prefix_limits.of)}",
        f"  hold           {', '.join(f'{one} {format_duration(policy.hold.of(one))}' for one in Signal)}",
        f"  sources are    /{policy.prefixes.ipv4[0]} and /{policy.prefixes.ipv6[0]}; "
        f"prefixes to {_widths(policy.prefixes.ipv4)} and {_widths(policy.prefixes.ipv6)}, "
        f"from {policy.prefixes.min_sources} offenders",
        f"  scope          {policy.scope}; action {policy.action}",
        f"  bans           first {format_duration(bans.first)} (forgeable evidence "
        f"{format_duration(bans.first_forgeable)}), x{bans.growth:g} for who comes back within "
        f"{format_duration(bans.memory)}, at most {format_duration(bans.cap)} ({format_duration(bans.cap_forgeable)})",
        "",
    ]


def limits_text(limit_of: Callable[[Signal], float | None]) -> str:
    """Return ``half_open 64, connections 150``, or that nothing is judged."""
    limits = ((one, limit_of(one)) for one in Signal)
    parts = [f"{one} {limit:,.12g}{one.unit}" for one, limit in limits if limit is not None]
    return ", ".join(parts) or "none: not judged"


def _widths(lengths: Iterable[int]) -> str:
    return f"/{min(lengths)}"


def _ranges(ports: Sequence[int]) -> Iterator[str]:
    """Yield ``80`` and ``8000-8100`` for ports in rising order."""
    start = 0
    for index, port in enumerate(ports):
        if index + 1 == len(ports) or ports[index + 1] != port + 1:
            yield str(port) if start == index else f"{ports[start]}-{port}"
            start = index + 1
