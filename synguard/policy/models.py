"""Config and policies as pydantic models; field descriptions become the reference page."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    model_validator,
)

from synguard.addresses import Network, parse_network
from synguard.model import Action, Mode, Signal
from synguard.units import exact_duration, parse_duration, parse_ports

LONGEST_BAN_S: Final = 2_147_483.0
"""ipset counts a member's timeout in milliseconds in 32 bits: 24 days 20 hours is the longest it can hold."""


def _seconds(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError(f'{value!r} has no unit: write "30s", "10m" or "1h"')
    return parse_duration(value)


def _ports(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError('ports are written as text: "any", "22", "80,443" or "8000-8100"')
    parse_ports(value)
    return value


def _network(value: Any) -> Network:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not an address or prefix, like 192.0.2.7 or 2001:db8::/64")
    return parse_network(value)


def _path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError(f"{value!r} is not a path, like /etc/synguard/allow.txt")
    return Path(value)


def _name(value: str) -> str:
    if not value.replace("-", "").replace("_", "").isalnum() or not value.isascii():
        raise ValueError(f'"{value}" is not a name: use letters, digits, - and _')
    return value


def _form(word: str) -> Any:
    """Return what tells the reference page how a value is written."""
    return Field(json_schema_extra={"form": word})


Duration = Annotated[
    float, BeforeValidator(_seconds), PlainSerializer(exact_duration, return_type=str), _form("duration")
]
Ports = Annotated[str, BeforeValidator(_ports), _form("ports")]
NetworkText = Annotated[
    Network, BeforeValidator(_network), PlainSerializer(str, return_type=str), _form("address or prefix")
]
Name = Annotated[str, Field(min_length=1, max_length=32), AfterValidator(_name)]
Number = Annotated[float, Strict()]
"""A TOML number; neither text nor true."""
Whole = Annotated[int, Strict()]
Limit = Annotated[Number, Field(gt=0, le=10_000_000)]
FilePath = Annotated[Path, BeforeValidator(_path), _form("path")]


class _Base(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Base):
    """One limit per signal; a signal without a limit is not judged."""

    half_open: Limit | None = Field(None, description="sockets in SYN_RECV")
    syn_rate: Limit | None = Field(None, description="SYNs a second, sampled on the wire")
    connections: Limit | None = Field(None, description="sockets past the handshake, TIME_WAIT not counted")
    connection_rate: Limit | None = Field(None, description="completed handshakes a second")

    def of(self, signal: Signal) -> float | None:
        """Return the limit of one signal, or None where it is not judged."""
        limit: float | None = getattr(self, signal.value)
        return limit


class Holds(_Base):
    """How long twice the limit is borne before action; ten times the limit is borne a ninth of it."""

    half_open: Duration = Field(1.0, ge=0.01, le=3600, description="hold of half_open")
    syn_rate: Duration = Field(0.4, ge=0.01, le=3600, description="hold of syn_rate")
    connections: Duration = Field(5.0, ge=0.01, le=3600, description="hold of connections")
    connection_rate: Duration = Field(5.0, ge=0.01, le=3600, description="hold of connection_rate")

    def of(self, signal: Signal) -> float:
        """Return the hold of one signal in seconds."""
        hold: float = getattr(self, signal.value)
        return hold


class BanTimes(_Base):
    """How long bans last and how they grow for those who come back."""

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


class PrefixRules(_Base):
    """Which prefixes may be judged and banned as one."""

    ipv4: tuple[Whole, ...] = Field(
        (32, 24, 20, 16), description="prefix lengths, narrowest first; the first is 'a source'"
    )
    ipv6: tuple[Whole, ...] = Field((64, 56, 48), description="the same for IPv6; one /128 is worthless to ban")
    min_sources: Whole = Field(
        8,
        ge=2,
        le=65536,
        description="fewest distinct offending sources that condemn a prefix; twice as many for each two bits wider",
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

    def lengths(self, version: int) -> tuple[int, ...]:
        """Return the prefix lengths of IP ``version`` 4 or 6, narrowest first."""
        return self.ipv4 if version == 4 else self.ipv6

    def sources_for(self, prefixlen: int, version: int) -> int:
        """Return the fewest distinct sources that condemn a prefix: ``min_sources`` for the narrowest one.

        A prefix wider than that by two bits needs twice as many: it holds that many more innocent people.
        """
        return math.ceil(self.min_sources * math.pow(2, (self.lengths(version)[1] - prefixlen) / 2))


class Policy(_Base):
    """Limits, scope, action and ban times for some local ports."""

    name: Name = Field(description="how reports call it")
    about: str = Field("", max_length=400, description="for whom it is")
    ports: Ports = Field("any", description='local TCP ports: "any", "22", "80,443" or "8000-8100"')
    action: Action = Field(Action.DROP, description="drop, or reject with a TCP reset")
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
    hold: Holds = Field(Holds(), description="how long twice a limit is borne")
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
        """Return the limit of one signal for a target of this width, or None where it is not judged.

        The first prefix length is a source; `prefix_limits` hold as they are for the second, and a prefix wider than
        that by two bits may carry twice as much.
        """
        lengths = self.prefixes.lengths(version)
        if prefixlen >= lengths[0]:
            return self.limits.of(signal)
        base = self.prefix_limits.of(signal)
        return None if base is None else base * math.pow(2, (lengths[1] - prefixlen) / 2)


class Pack(_Base):
    """A policy file: one or more policies; for a port, the first that names it judges."""

    policy: tuple[Policy, ...] = Field(min_length=1, max_length=64, description="policies, first match judges")


class Allow(_Base):
    """Who is never banned, beside those synguard finds out by itself."""

    addresses: tuple[NetworkText, ...] = Field((), description="addresses and prefixes")
    files: tuple[FilePath, ...] = Field(
        (),
        description="files of one address or prefix a line, # begins a comment; unreadable suspends automatic bans",
    )


class Budget(_Base):
    """Bounds on what the agent may do by itself; past them it stops adding, keeps reporting, and alarms once."""

    bans_per_minute: Whole = Field(600, ge=1, le=100_000, description="new automatic bans in any minute")
    active_bans: Whole = Field(20_000, ge=1, le=1_000_000, description="automatic bans standing at once")
    proven_share: Number = Field(
        0.05, ge=0, le=1, description="share of recently served clients that automatic bans may touch"
    )


class IncidentLevels(_Base):
    """When an attack is called one, and when it is over."""

    attack_above: Number = Field(0.5, gt=0, le=1, description="fill of the fullest SYN queue that starts an incident")
    calm_below: Number = Field(0.2, ge=0, le=1, description="fill below which it can end")
    calm_for: Duration = Field(30.0, ge=1, le=86400, description="how long it must stay below to end")

    @model_validator(mode="after")
    def _levels_differ(self) -> IncidentLevels:
        if self.calm_below >= self.attack_above:
            raise ValueError("calm_below must be below attack_above, or the incident would flap")
        return self


class Cadence(_Base):
    """How often sensors are read; the agent reads less often where one read costs more than it should."""

    calm: Duration = Field(0.2, ge=0.02, le=60, description="time between ticks while calm")
    attack: Duration = Field(0.05, ge=0.02, le=60, description="time between ticks during an attack")
    connections: Duration = Field(1.0, ge=0.1, le=60, description="time between reads of completed connections")
    protected: Duration = Field(5.0, ge=1, le=3600, description="time between reads of who must be protected")
    cpu_share: Number = Field(
        0.25, gt=0, le=1, description="share of one core that reading may cost; bounds every cadence"
    )


class Proven(_Base):
    """Peers that recently completed handshakes."""

    lifetime: Duration = Field(600.0, ge=10, le=86400, description="how long a completed handshake counts")
    at_most: Whole = Field(65_536, ge=1, le=1_000_000, description="peers remembered; the oldest are forgotten first")


class Sampler(_Base):
    """The SYN sampler, which runs while a listener is under pressure."""

    enabled: bool = Field(True, description="whether SYNs may be sampled on the wire")
    kept_per_second: Whole = Field(20_000, ge=100, le=200_000, description="samples read a second; 1 in N adapts to it")
    linger: Duration = Field(10.0, ge=1, le=3600, description="how long it runs on after pressure has gone")


class Countermeasure(_Base):
    """What is done against floods that no ban can stop."""

    syn_cookies: Literal["auto", "never"] = Field(
        "auto",
        description="auto: net.ipv4.tcp_syncookies is turned on while a SYN queue overflows, and the old value put "
        "back at calm; never: it is left alone",
    )


class ContainerWatch(_Base):
    """Listeners in other network namespaces behind this host."""

    watch: Literal["auto", "off"] = Field(
        "auto", description="auto: those whose traffic this host forwards are read, or sampled where they cannot be"
    )


class LedgerLimits(_Base):
    """Bounds on the state database."""

    keep: Duration = Field(
        30 * 86400.0, ge=3600, le=3650 * 86400.0, description="age at which ended records are dropped"
    )
    rows: Whole = Field(200_000, ge=1000, le=10_000_000, description="rows a table may hold; the oldest go first")


class Config(_Base):
    """The whole configuration; every key is optional."""

    mode: Mode = Field(Mode.DRY_RUN, description="dry-run reports what would be banned; enforce bans")
    state_dir: FilePath = Field(Path("/var/lib/synguard"), description="where the ledger lives")
    runtime_dir: FilePath = Field(Path("/run/synguard"), description="where locks and the status file live")
    plane: Literal["auto", "iptables", "nftables"] = Field(
        "auto", description="which part of the kernel holds rules; auto: legacy iptables where it works, else nftables"
    )
    members: Literal["auto", "sets", "rules"] = Field(
        "auto", description="iptables: members in ipsets, or one rule per ban; auto prefers sets"
    )
    policies: tuple[str, ...] = Field(("default",), min_length=1, description="packs by name, files by path")
    on_exit: Literal["keep", "flush"] = Field("keep", description="keep: bans expire by themselves; flush: remove them")
    allow: Allow = Field(Allow(), description="who is never banned")
    budget: Budget = Field(Budget(), description="bounds on automatic bans")
    incident: IncidentLevels = Field(IncidentLevels(), description="when an attack is called one")
    cadence: Cadence = Field(Cadence(), description="how often sensors are read")
    proven: Proven = Field(Proven(), description="peers that completed handshakes")
    sampler: Sampler = Field(Sampler(), description="the SYN sampler")
    countermeasure: Countermeasure = Field(Countermeasure(), description="what else is done against floods")
    containers: ContainerWatch = Field(ContainerWatch(), description="listeners in other network namespaces")
    ledger: LedgerLimits = Field(LedgerLimits(), description="bounds on the state database")
