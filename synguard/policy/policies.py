"""What a policy is: limits, holds, ban times and prefixes for some local ports; a pack is a file of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from ipaddress import IPv6Network
from typing import Final, Literal, TypeAlias

from pydantic import Field, PrivateAttr, field_validator, model_validator

from synguard.addresses import EMBEDDED, EMBEDDING, Network, embedded
from synguard.model import Signal
from synguard.policy.values import Base, Duration, Limit, Name, Number, Ports, Whole
from synguard.units import parse_ports

LONGEST_BAN_S: Final = 2_147_483.0
"""ipset counts a member's timeout in milliseconds in 32 bits: 24 days 20 hours is the longest it can hold."""


class Limits(Base):
    """One limit per signal; a signal without a limit is not judged."""

    # The default limits are in rules/*.toml, each with its argument.

    half_open: Limit | None = Field(None, description="sockets in SYN_RECV")
    syn_rate: Limit | None = Field(None, description="SYNs a second, sampled on the wire")
    connections: Limit | None = Field(None, description="sockets past the handshake, TIME_WAIT not counted")
    connection_rate: Limit | None = Field(None, description="completed handshakes a second")

    def of(self, signal: Signal) -> float | None:
        """Return the limit of one signal, or None where it is not judged."""
        limit: float | None = getattr(self, signal.value)
        return limit


class Holds(Base):
    """How long a source may stay at twice its limit before action; at ten times the limit, a ninth of that."""

    half_open: Duration = Field(1.0, ge=0.01, le=3600, description="hold of half_open")
    syn_rate: Duration = Field(0.4, ge=0.01, le=3600, description="hold of syn_rate")
    connections: Duration = Field(5.0, ge=0.01, le=3600, description="hold of connections")
    connection_rate: Duration = Field(5.0, ge=0.01, le=3600, description="hold of connection_rate")

    def of(self, signal: Signal) -> float:
        """Return the hold of one signal in seconds."""
        hold: float = getattr(self, signal.value)
        return hold


StepName: TypeAlias = Literal["challenge", "limit", "header", "drop"]
MILD_TO_GRAVE: Final[tuple[StepName, ...]] = ("challenge", "limit", "header", "drop")


class Steps(Base):
    """What is done on evidence that can be forged, mildest first; ``["drop"]`` refuses at once."""

    half_open: tuple[StepName, ...] = Field(
        MILD_TO_GRAVE,
        min_length=1,
        description="steps on half_open: challenge (SYNs are answered with cookies), limit (only a few), header "
        "(beside those, SYNs of one exact header that no served client sends are dropped), drop",
    )
    syn_rate: tuple[StepName, ...] = Field(MILD_TO_GRAVE, min_length=1, description="steps on syn_rate")

    @field_validator("half_open", "syn_rate")
    @classmethod
    def _in_order(cls, steps: tuple[StepName, ...]) -> tuple[StepName, ...]:
        if list(steps) != [step for step in MILD_TO_GRAVE if step in steps]:
            raise ValueError('must go from mild to grave, each once, like ["challenge", "limit", "header", "drop"]')
        return steps

    def of(self, signals: Iterable[Signal]) -> tuple[StepName, ...]:
        """Return the steps on evidence of all these signals; one that any of them allows is taken."""
        allowed = {step for signal in signals for step in getattr(self, signal.value, ("drop",))}
        return tuple(step for step in MILD_TO_GRAVE if step in allowed)


class BanTimes(Base):
    """How long bans last, and how they grow for repeat offenders."""

    first: Duration = Field(600.0, ge=5, le=LONGEST_BAN_S, description="first ban on evidence that needs a handshake")
    first_forgeable: Duration = Field(
        120.0,
        ge=5,
        le=LONGEST_BAN_S,
        description="first ban on evidence that a forged source can raise; short",
    )
    growth: Number = Field(2.0, ge=1, le=10, description="a further ban within `memory` lasts this many times longer")
    cap: Duration = Field(86400.0, ge=5, le=LONGEST_BAN_S, description="no automatic ban lasts longer")
    cap_forgeable: Duration = Field(
        900.0, ge=5, le=LONGEST_BAN_S, description="no automatic ban on forgeable evidence lasts longer"
    )
    memory: Duration = Field(86400.0, ge=60, le=31 * 86400.0, description="how long an offender is remembered")
    jitter: Number = Field(0.1, ge=0, le=0.5, description="share by which a ban is randomly lengthened or shortened")

    @model_validator(mode="after")
    def _caps_hold_firsts(self) -> BanTimes:
        if self.cap < self.first or self.cap_forgeable < self.first_forgeable:
            raise ValueError("cap must not be below first, or the first ban would already break it")
        return self


class PrefixRules(Base):
    """Which prefixes may be judged and banned as one."""

    ipv4: tuple[Whole, ...] = Field(
        (32, 24, 20, 16), description="prefix lengths, narrowest first; the first is 'a source'"
    )
    ipv6: tuple[Whole, ...] = Field((64, 56, 48), description="the same for IPv6; one /128 is worthless to ban")
    min_sources: Whole = Field(
        8,
        ge=2,
        le=65536,
        description="fewest distinct offenders for which a prefix is banned; twice as many for each two bits wider",
    )
    min_share: Number = Field(
        0.5,
        ge=0,
        le=1,
        description="a wider prefix is taken only if at least this share of the next narrower ones in it offend",
    )

    @model_validator(mode="after")
    def _lengths_fall(self) -> PrefixRules:
        for family, lengths, low, high in (("ipv4", self.ipv4, 8, 32), ("ipv6", self.ipv6, 32, 128)):
            if not lengths or list(lengths) != sorted(set(lengths), reverse=True):
                raise ValueError(f"{family} must list prefix lengths from narrow to wide, like 32, 24, 16")
            if lengths[0] > high or lengths[-1] < low:
                raise ValueError(f"{family} prefix lengths must lie between {low} and {high}")
        return self

    _embedding: tuple[IPv6Network, ...] = PrivateAttr(EMBEDDING)

    @property
    def embedding(self) -> tuple[IPv6Network, ...]:
        """The prefixes whose last 32 bits are an IPv4 address."""
        return self._embedding

    def with_embedding(self, prefixes: Iterable[IPv6Network]) -> PrefixRules:
        """Return these rules with more prefixes that embed IPv4 addresses."""
        copy = self.model_copy()
        copy._embedding = (*EMBEDDING, *prefixes)
        return copy

    def family_of(self, target: Network) -> int:
        """Return by which prefix lengths a target is judged: 4, 6, or ``EMBEDDED``."""
        if target.version == 4:
            return 4
        return 6 if embedded(target, self._embedding) is None else EMBEDDED

    def lengths(self, version: int) -> tuple[int, ...]:
        """Return the prefix lengths of a family, narrowest first; IPv4's, behind the /96, where it is embedded."""
        if version == EMBEDDED:
            return tuple(96 + length for length in self.ipv4)
        return self.ipv4 if version == 4 else self.ipv6

    def is_prefix(self, target: Network) -> bool:
        """Return whether a target is wider than what sources are counted by: a prefix, which many may share."""
        return target.prefixlen < self.lengths(self.family_of(target))[0]

    def sources_for(self, prefixlen: int, version: int) -> int:
        """Return the fewest distinct sources that make a prefix an offender: ``min_sources`` for the narrowest one.

        A prefix wider than that by two bits needs twice as many: it holds that many more innocent people.
        """
        return math.ceil(self.min_sources * math.pow(2, (self.lengths(version)[1] - prefixlen) / 2))

    def narrower_for(self, narrow: int, wide: int) -> int:
        """Return how many prefixes of one length must offend for the next wider one to be taken: ``min_share``."""
        return max(2, round(self.min_share * math.pow(2, narrow - wide)))


class Policy(Base):
    """Limits, scope, action and ban times for some local ports."""

    name: Name = Field(description="name of the policy in reports")
    about: str = Field("", max_length=400, description="what the policy is for")
    ports: Ports = Field("any", description='local TCP ports: "any", "22", "80,443" or "8000-8100"')
    action: Literal["drop", "reject"] = Field("drop", description="drop, or reject with a TCP reset")
    scope: Literal["auto", "new"] = Field(
        "auto", description="auto: evidence decides reach; new: never stop existing connections"
    )
    limits: Limits = Field(Limits(), description="limits for single sources")
    prefix_limits: Limits = Field(
        Limits(),
        description="limits for the second prefix length (/24, /56), not counting sources that are over their own; "
        "a prefix two bits wider may carry twice as much",
    )
    pressed: Number = Field(
        0.25,
        gt=0,
        le=1,
        description="half_open and syn_rate limits are multiplied by this while a listener's SYN queue overflows",
    )
    hold: Holds = Field(Holds(), description="how long twice a limit is tolerated")
    steps: Steps = Field(Steps(), description="what is done on evidence that can be forged")
    bans: BanTimes = Field(BanTimes(), description="how long bans last")
    prefixes: PrefixRules = Field(PrefixRules(), description="which prefixes may be judged")

    @cached_property
    def port_ranges(self) -> tuple[range, ...]:
        """The ports it judges."""
        return parse_ports(self.ports)

    def judges(self, port: int) -> bool:
        """Return whether a local port falls under this policy."""
        return any(port in ports for ports in self.port_ranges)

    def limit_of(self, signal: Signal, prefixlen: int, version: int) -> float | None:
        """Return the limit of one signal for a target of this width and family, or None where it is not judged.

        The first prefix length is a source; `prefix_limits` hold as they are for the second, and a prefix wider than
        that by two bits may carry twice as much.
        """
        lengths = self.prefixes.lengths(version)
        if prefixlen >= lengths[0]:
            return self.limits.of(signal)
        base = self.prefix_limits.of(signal)
        return None if base is None else base * math.pow(2, (lengths[1] - prefixlen) / 2)

    def limit_for(self, signal: Signal, target: Network) -> float | None:
        """Return the limit of one signal for a target, or None where it is not judged."""
        return self.limit_of(signal, target.prefixlen, self.prefixes.family_of(target))


class Pack(Base):
    """A policy file: one or more policies; for a port, the first that names it judges."""

    policy: tuple[Policy, ...] = Field(min_length=1, max_length=64, description="policies, first match judges")
