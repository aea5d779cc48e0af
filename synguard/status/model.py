"""The status file: what a running agent tells the other verbs, rewritten whole about once a second."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from synguard.errors import NotPermittedError, SynguardError
from synguard.incidents import Phase
from synguard.model import FloodKind, Mode, Origin, Scope, VerdictKind
from synguard.private import NotOursError, read_private, replace_private
from synguard.status.conditions import Condition

STATUS_FILE: Final = "status.json"
MOST_BYTES: Final = 4 * 1024 * 1024
"""Far more than a status takes, whatever the attack; a longer file is none."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class ListenerStatus(_Part):
    """Pressure on one listening port and family."""

    port: int
    family: str = "ipv4"
    """``ipv4`` or ``ipv6``; a listener on ``::`` may take both and is then reported as ``ipv6``."""
    process: str
    half_open: int
    backlog: int
    fill: float
    """Half-open sockets over backlog, 0 to about 1."""
    censored: bool
    """The SYN queue is full: the count no longer grows with the flood."""
    accept_queue: int
    """Connections that wait for the application."""
    namespace: str = ""
    """The other network namespace that it lives in; empty for the host's own."""


class FloodStatus(_Part):
    """Host-wide figures, per second unless said otherwise."""

    half_open: int = 0
    """Sockets in SYN_RECV now."""
    connections: int = 0
    """Sockets past the handshake now."""
    syn_pps: float = 0.0
    """Sampled on the wire; 0 while the sampler rests."""
    completed_pps: float = 0.0
    cookies_sent_pps: float = 0.0
    cookies_received_pps: float = 0.0
    dropped_pps: float = 0.0
    """SYNs dropped because the SYN queue was full."""
    accept_overflows_pps: float = 0.0
    """Handshakes lost because the application is slow to accept."""


class TargetStatus(_Part):
    """What the engine says of one target now."""

    target: str
    kind: VerdictKind
    score: float
    policy: str
    reason: str
    evidence: tuple[str, ...] = ()
    """Each signal against its limit, the worst first: ``syn_rate 5113 ±883/s / 25``."""
    forgeable: bool = True
    """Whether all of the evidence can be raised by a sender who lies about its address."""


class IncidentStatus(_Part):
    """The incident under way."""

    id: str
    phase: Phase
    kind: str
    started_at: datetime
    note: str
    bans: int
    spared: int


class CountermeasureStatus(_Part):
    """Something beside bans that is in force for the incident, and ends with it."""

    name: str
    setting: str
    before: int
    """The operator's value, which comes back at calm."""
    now: int
    since: datetime
    dry_run: bool
    """Would be in force; nothing was changed."""
    text: str


class CapacityStatus(_Part):
    """How full the fullest place of the kernel is, or a budget."""

    name: str
    used: int
    ceiling: int
    key: str
    """The configuration's key of the ceiling."""


class LeakStatus(_Part):
    """A ban whose target still arrives while its counter stands still."""

    target: str
    ban: str
    since: datetime
    cause: str
    text: str


class SensorStatus(_Part):
    """Health of one sensor."""

    ok: bool
    detail: str = ""


class AgentStatus(_Part):
    """What the agent itself costs, over the last status interval of about a second."""

    ticks: int
    tick_ms_p50: float
    """How long a tick took: the median."""
    tick_ms_max: float
    late_ms_max: float
    """How long after its time a tick began, at worst: the machine is busy, or the tick before it was slow."""
    rss_bytes: int
    """Memory held in RAM now."""
    cpu_share: float
    """CPU time of the agent and of the tools it ran, as a share of one core."""


class TotalsStatus(_Part):
    """What has been counted since this agent started."""

    bans: int = 0
    """Automatic bans made; in dry-run, dry-run bans."""
    verdicts: dict[VerdictKind, int] = {}
    """Kind → verdicts written down; an unchanged one is written down again after 10 s."""
    incidents: int = 0
    packets: int = 0
    """Stopped by bans, as of the last read of the kernel's counters."""
    bytes: int = 0
    answered: int = 0
    """Of ``packets``, SYNs of challenged targets that were answered with a cookie,"""
    limited: int = 0
    """and SYNs of limited targets that were beyond their rate."""
    passed: int = 0
    """SYNs of challenged targets that were let through to the listener; not among ``packets``."""
    repairs: int = 0
    """Rules or members of ours that another tool took away, put back."""


class ChallengeStatus(_Part):
    """Whether SYNs can be challenged on this host, and how many targets are; what became of them is in the totals."""

    works: bool = False
    why_not: str = ""
    """One clause; empty where they work, and where they are switched off."""
    targets: int = 0
    """Bans whose action is challenge or limit; in dry-run, those that would be."""
    headers: int = 0
    """Bans of one header each: SYNs that bear it are dropped at the interface."""


class ActiveBansStatus(_Part):
    """How many bans of one kind stand."""

    origin: Origin
    scope: Scope
    bans: int


class PeerStatus(_Part):
    """One peer of the fleet: a CrowdSec local API, a BGP speaker."""

    name: str
    """``crowdsec decisions``, ``crowdsec alerts``, ``exabgp``, ``gobgp``."""
    place: str
    """Where it is, without secrets: a URL's host and port, or a path."""
    reachable: bool | None = None
    """None until it was asked for the first time."""
    since: datetime | None = None
    """Since when ``reachable`` is what it is."""
    counts: dict[str, int] = {}
    """``followed``, ``protected``, ``sent``, ``announced`` …: what it is to this host now, or since its start."""
    error: str = ""
    """The last error, one sentence; it stays for the record when the peer answers again."""
    notes: tuple[str, ...] = ()
    """What the operator should know beside: decisions left out, dry-run."""


class Status(_Part):  # wide: one record, a field a key of the JSON
    """All of it; ``status --json`` prints exactly these keys."""

    mode: Mode
    plane: str
    show_command: str
    mode_by: str = "config"
    """What gave the mode: ``config``, ``option`` of the command line, ``order`` of ``synguard enable``, ``panic``."""
    mode_story: str = ""
    """One line on that order and what came of it; empty where there is none."""
    confirm_by: datetime | None = None
    """When a trial of enforcement ends by itself."""
    healthy: bool = True
    conditions: tuple[Condition, ...] = ()
    """What the operator must know of, by code; the next three are their sentences."""
    problems: tuple[str, ...] = ()
    """One sentence each, worst first: why not healthy, why automatic bans are suspended."""
    plane_problem: str = ""
    """Why the kernel does not hold the bans that are wanted; among the problems too."""
    notes: tuple[str, ...] = ()
    """What does not work without touching protection: messages that do not arrive, metrics that are not served."""
    pid: int
    started_at: datetime
    last_reading_at: datetime | None
    policies: tuple[str, ...]
    pressure: tuple[ListenerStatus, ...] = ()
    flood: FloodStatus = FloodStatus()
    verdict: str = ""
    """The verdict about the whole flood, one sentence; empty while calm."""
    verdict_kind: FloodKind = FloodKind.NONE
    targets: tuple[TargetStatus, ...] = ()
    """The highest scores now, at most 20."""
    incidents: tuple[IncidentStatus, ...] = ()
    countermeasures: tuple[CountermeasureStatus, ...] = ()
    leaks: tuple[LeakStatus, ...] = ()
    """Bans that stop nothing although their targets still arrive."""
    ceilings: tuple[CapacityStatus, ...] = ()
    bans_active: int = 0
    """Bans in force, manual ones included; in dry-run, those that would be."""
    bans_by: tuple[ActiveBansStatus, ...] = ()
    """The same bans by who asked for them and what they stop."""
    challenges: ChallengeStatus = ChallengeStatus()
    proven_peers: int = 0
    totals: TotalsStatus = TotalsStatus()
    sampling_one_in: int = 0
    """One in how many SYNs the sampler keeps; 0 while it rests."""
    ledger_bytes: int = 0
    sensors: dict[str, SensorStatus] = {}
    peers: tuple[PeerStatus, ...] = ()
    """The fleet; empty where none is configured."""
    agent: AgentStatus | None = None
    """None in the status of an earlier release."""


def write_status(runtime_dir: Path, status: Status) -> None:
    """Replace the status file at once, so that no reader sees a half-written one.

    Raises:
        OSError: The directory cannot be written.
    """
    replace_private(runtime_dir / STATUS_FILE, status.model_dump_json(), alone=True, shared=True)


def read_status(runtime_dir: Path) -> Status | None:
    """Return what the agent last wrote, or None where none has run since boot.

    Raises:
        NotPermittedError: This user may not look into the directory.
        SynguardError: The file is there but is not a status.
    """
    path = runtime_dir / STATUS_FILE
    try:
        return Status.model_validate_json(read_private(path, MOST_BYTES, shared=True))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise NotPermittedError(
            f"{path} may not be read by this user: run as root, or join the group of read_group"
        ) from error
    except NotOursError as error:
        raise SynguardError(f"{path} cannot be read as a status: {error.strerror}") from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise SynguardError(f"{path} cannot be read as a status: restart the agent to write it anew") from error
