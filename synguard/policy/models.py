"""The config as pydantic models, and the entry to those of policies; descriptions become the reference page."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr, model_validator

from synguard.model import Mode
from synguard.policy.fleet import Bgp, CrowdSec
from synguard.policy.integrations import Log, Metrics, Notify
from synguard.policy.policies import LONGEST_BAN_S, BanTimes, Holds, Limits, Pack, Policy, PrefixRules, Steps
from synguard.policy.values import Base, Duration, FilePath, NetworkText, Number, Pref64, Whole

__all__ = [
    "LONGEST_BAN_S",
    "Allow",
    "BanTimes",
    "Budget",
    "Cadence",
    "Challenge",
    "Config",
    "ContainerWatch",
    "Countermeasure",
    "Holds",
    "IncidentLevels",
    "LedgerLimits",
    "Limits",
    "Log",
    "Metrics",
    "Notify",
    "Pack",
    "Policy",
    "PrefixRules",
    "Proven",
    "Sampler",
    "Steps",
]


class Allow(Base):
    """Who is never banned, beside those synguard finds out by itself."""

    addresses: tuple[NetworkText, ...] = Field((), description="addresses and prefixes")
    files: tuple[FilePath, ...] = Field(
        (),
        description="files of one address or prefix a line, # begins a comment; unreadable suspends automatic bans",
    )
    _added: Path | None = PrivateAttr(None)

    @property
    def added(self) -> Path | None:
        """The file that ``synguard allow`` keeps; None where no config was loaded."""
        return self._added

    def __eq__(self, other: object) -> bool:
        """Return whether both are written alike; where a config lies is no key of it."""
        return isinstance(other, Allow) and (self.addresses, self.files) == (other.addresses, other.files)

    def __hash__(self) -> int:
        return hash((self.addresses, self.files))

    def with_added(self, path: Path) -> Allow:
        """Return the same with the file that ``synguard allow`` keeps."""
        copy = self.model_copy()
        copy._added = path
        return copy


class Budget(Base):
    """Bounds on automatic bans; at a bound the agent adds no more, goes on reporting, and alerts once."""

    bans_per_minute: Whole = Field(
        600,
        ge=1,
        le=100_000,
        description="new automatic bans in any minute, on forgeable and on proven evidence each; a quarter more for "
        "targets worse than half of those banned",
    )
    active_bans: Whole = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="active automatic bans; a quarter is kept free for bans on proven evidence",
    )
    proven_share: Number = Field(
        0.05, ge=0, le=1, description="share of recently served clients that automatic bans may touch"
    )


class Ceilings(Base):
    """How much the kernel may hold; reported from 80 % on. Bans beyond wait for room, and are reported."""

    members: Whole = Field(
        131_072,
        ge=64,
        le=4_194_304,
        description="members of one kernel set: the bans of one family, scope and action (nftables: of one prefix "
        "length too), one for each port they name; about 200 bytes of kernel memory each, "
        "and some 450 bytes of the agent's for each ban",
    )

    retired = frozenset({"rules"})


class IncidentLevels(Base):
    """When an incident begins and ends."""

    attack_above: Number = Field(
        0.5,
        gt=0,
        le=1,
        description="fill of the fullest SYN queue that starts an incident; a queue of fewer than 64 counts as 64",
    )
    calm_below: Number = Field(0.2, ge=0, le=1, description="fill below which it can end")
    calm_for: Duration = Field(30.0, ge=1, le=86400, description="how long it must stay below to end")

    @model_validator(mode="after")
    def _levels_differ(self) -> IncidentLevels:
        if self.calm_below >= self.attack_above:
            raise ValueError("calm_below must be below attack_above, or the incident would flap")
        return self


class Cadence(Base):
    """How often sensors are read; the agent reads less often where one read costs more than it should."""

    calm: Duration = Field(0.2, ge=0.02, le=60, description="time between ticks while calm")
    attack: Duration = Field(
        0.05,
        ge=0.02,
        le=60,
        description="time between ticks during an attack; while it stands unchanged, between looks at counters",
    )
    connections: Duration = Field(1.0, ge=0.1, le=60, description="time between reads of completed connections")
    protected: Duration = Field(5.0, ge=1, le=3600, description="time between reads of who must be protected")
    cpu_share: Number = Field(
        0.25, gt=0, le=1, description="share of one core that ticks may cost: they come later for it, by 5 s at most"
    )


class Proven(Base):
    """Peers that recently completed handshakes."""

    lifetime: Duration = Field(600.0, ge=10, le=86400, description="how long a completed handshake counts")
    at_most: Whole = Field(
        65_536,
        ge=1,
        le=1_000_000,
        description="peers remembered; of the networks that hold most places the newest are forgotten first",
    )


class Sampler(Base):
    """The SYN sampler, which runs while a listener is under pressure."""

    enabled: bool = Field(True, description="sample SYNs on the wire")
    kept_per_second: Whole = Field(20_000, ge=100, le=200_000, description="samples read a second; 1 in N adapts to it")
    linger: Duration = Field(10.0, ge=1, le=3600, description="how long it continues after the pressure has ended")


class Countermeasure(Base):
    """What is done against floods that no ban can stop."""

    syn_cookies: Literal["auto", "never"] = Field(
        "auto",
        description="auto: net.ipv4.tcp_syncookies is turned on while a SYN queue overflows, and the old value put "
        "back at calm; never: it is left alone, and no SYNs are challenged unless it is 2",
    )


class Challenge(Base):
    """SYNs of a target over its limit are answered with cookies at the interface, ahead of firewall and listener."""

    enabled: Literal["auto", "off"] = Field(
        "auto", description="auto: where the kernel can and nothing on this host prevents it; off: never"
    )
    interfaces: tuple[str, ...] = Field(
        (), max_length=64, description="interfaces of client traffic; empty: found automatically"
    )
    limit_per_second: Whole = Field(
        100, ge=1, le=1_000_000, description="SYNs a second that the step `limit` answers for one target"
    )
    proven_per_second: Whole = Field(
        1,
        ge=0,
        le=10_000,
        description="SYNs a second of one proven peer that pass while every source is challenged",
    )
    proven_burst: Whole = Field(2, ge=1, le=10_000, description="SYNs of one proven peer that pass at once")


class ContainerWatch(Base):
    """Listeners in other network namespaces behind this host."""

    watch: Literal["auto", "off"] = Field(
        "auto", description="auto: those whose traffic this host forwards are read, or sampled where they cannot be"
    )


class LedgerLimits(Base):
    """Bounds on the state database."""

    keep: Duration = Field(
        30 * 86400.0, ge=3600, le=3650 * 86400.0, description="age at which ended records are dropped"
    )
    rows: Whole = Field(200_000, ge=1000, le=10_000_000, description="rows a table may hold; the oldest go first")


class Config(Base):  # wide: one record, a field a key of the file
    """The whole configuration; every key is optional."""

    mode: Mode = Field(Mode.DRY_RUN, description="dry-run reports what would be banned; enforce bans")
    state_dir: FilePath = Field(Path("/var/lib/synguard"), description="where the ledger lives")
    runtime_dir: FilePath = Field(Path("/run/synguard"), description="where locks and the status file live")
    read_group: str = Field(
        "synguard",
        max_length=32,
        description="members of this group may read without root: status, top, report, bans, why; no one where there "
        "is no such group",
    )
    plane: Literal["auto", "iptables", "nftables"] = Field(
        "auto",
        description="which part of the kernel holds rules; auto: legacy iptables with ipsets where that works, "
        "else nftables",
    )
    policies: tuple[str, ...] = Field(("default",), min_length=1, description="packs by name, files by path")
    pref64: tuple[Pref64, ...] = Field(
        (),
        max_length=16,
        description="further /96 prefixes of NAT64 or SIIT in which clients come in, like 2001:db8:64::/96; each of "
        "their addresses is judged as the IPv4 address in it, as those of 64:ff9b::/96 and 64:ff9b:1::/48 are",
    )
    on_exit: Literal["keep", "flush"] = Field("keep", description="keep: bans expire by themselves; flush: remove them")
    allow: Allow = Field(Allow(), description="who is never banned")
    budget: Budget = Field(Budget(), description="bounds on automatic bans")
    ceilings: Ceilings = Field(Ceilings(), description="bounds on what the kernel holds")
    incident: IncidentLevels = Field(IncidentLevels(), description="when an incident begins and ends")
    cadence: Cadence = Field(Cadence(), description="how often sensors are read")
    proven: Proven = Field(Proven(), description="peers that completed handshakes")
    sampler: Sampler = Field(Sampler(), description="the SYN sampler")
    countermeasure: Countermeasure = Field(Countermeasure(), description="what else is done against floods")
    challenge: Challenge = Field(Challenge(), description="challenges: SYN cookies at the interface")
    containers: ContainerWatch = Field(ContainerWatch(), description="listeners in other network namespaces")
    ledger: LedgerLimits = Field(LedgerLimits(), description="bounds on the state database")
    crowdsec: CrowdSec = Field(CrowdSec(), description="a CrowdSec local API")
    bgp: Bgp = Field(Bgp(), description="a BGP speaker that announces routes upstream")
    notify: Notify = Field(Notify(), description="messages")
    metrics: Metrics = Field(Metrics(), description="metrics for Prometheus")
    log: Log = Field(Log(), description="how log lines look")

    retired = frozenset({"members"})
