"""The fleet beside the tick: threads that follow and tell a CrowdSec local API; their failures stay theirs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from synguard.agent.agent import Agent
from synguard.agent.tick import Tick
from synguard.clock import Clock
from synguard.enforcer.locks import APPLY_LOCK
from synguard.errors import ConfigError
from synguard.fleet.follower import HostView
from synguard.fleet.following import NAME
from synguard.fleet.link import FollowerLink
from synguard.fleet.peer import PeerRecord
from synguard.fleet.secrets import API_KEY, PASSWORD, secret_from
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.logs import event
from synguard.model import Mode
from synguard.policy.models import Config
from synguard.status.conditions import Code

if TYPE_CHECKING:
    from synguard.fleet.reporter import Outbox

log: Final = logging.getLogger(__name__)

SHOW_EVERY_S: Final = 1.0
"""How often what the process that follows decisions must know of this host is looked at, and what it said."""


@contextmanager
def in_fleet(agent: Agent, config: Config, clock: Clock, host: str) -> Iterator[list[PeerRecord]]:
    """Let the agent be part of a fleet while it runs, and give its peers; what cannot be is said, and it goes on."""
    peers: list[PeerRecord] = []
    with ExitStack() as held:
        if config.crowdsec.url:
            try:
                peers += _crowdsec(agent, config, clock, host, held)
            except ConfigError as error:
                text = f"no part of the fleet: {error.problems[0]}"
                log.error("%s", text, extra=event("fleet"))
                agent.conditions.ask(Code.FLEET_FAILED, lambda: text)
        if config.bgp.speaker != "off":
            peers.append(_upstream(agent, config, held))
        agent.conditions.ask(
            Code.FLEET_FAILED, lambda: {peer.state.name: _away(peer) for peer in peers}, fix="synguard fleet"
        )
        agent.publisher.amendments.append(
            lambda status: status.model_copy(update={"peers": tuple(peer.state for peer in peers)})
        )
        yield peers


def _crowdsec(agent: Agent, config: Config, clock: Clock, host: str, held: ExitStack) -> Iterator[PeerRecord]:
    from synguard.fleet.lapi import AlertSink
    from synguard.fleet.reporter import LOOK_EVERY_S, AlertReporter, Outbox

    settings = config.crowdsec
    place = urlsplit(settings.url).netloc
    api_key = secret_from(settings.api_key, settings.api_key_file, API_KEY)
    password = secret_from(settings.password, settings.password_file, PASSWORD) if settings.machine_id else None
    if api_key is None and password is None:
        raise ConfigError("crowdsec: neither an API key nor a password was found: give api_key_file or password_file")
    if api_key is not None:
        record = PeerRecord(NAME, place)
        given = {
            "url": settings.url,
            "api_key": api_key,
            "ca_file": None if settings.ca_file is None else str(settings.ca_file),
            "types": settings.types,
            "at_most": settings.at_most,
            "poll": settings.poll,
            "ledger": str(config.state_dir / LEDGER_FILE),
            "limits": config.ledger.model_dump(mode="json"),
            "place": place,
            "lock": str(config.runtime_dir / APPLY_LOCK),
            "ceiling": config.ceilings.members,
        }
        link = FollowerLink(given, record)
        held.callback(link.close)
        agent.observers.append(_showing(agent, link))
        yield record
    if password is not None:
        record, outbox = PeerRecord("crowdsec alerts", place), Outbox()
        sink = AlertSink(settings.url, settings.machine_id, password, settings.ca_file)
        agent.observers.append(_filling(outbox, agent))
        reporter = AlertReporter(sink, outbox, clock, record, host)
        _work(held, agent, config, clock, record, reporter.work, sink.close, LOOK_EVERY_S)
        yield record


def _upstream(agent: Agent, config: Config, held: ExitStack) -> PeerRecord:
    from synguard.agent.upstream import UpstreamFeed

    record = PeerRecord(config.bgp.speaker, str(config.bgp.pipe or "gobgpd on this host"))
    feed = UpstreamFeed(agent, config, record)
    held.callback(feed.close)
    agent.observers.append(feed.observe)
    agent.conditions.ask(Code.FLEET_FAILED, lambda: feed.problem)
    return record


def _work(
    held: ExitStack,
    agent: Agent,
    config: Config,
    clock: Clock,
    record: PeerRecord,
    work: Callable[[Ledger], object],
    close: Callable[[], None],
    every_s: float,
) -> None:
    """Let a peer's work be done in a thread from the first tick, which reads who must be protected, to the end."""
    from synguard.fleet.worker import PeerWorker

    def open_ledger() -> Ledger:
        return Ledger.open(config.state_dir / LEDGER_FILE, config.ledger)

    worker = PeerWorker(record.state.name, work, close, open_ledger, clock, record, every_s)
    agent.observers.append(lambda _tick, _now, _utc: worker.start())
    held.callback(worker.stop)


def _showing(agent: Agent, link: FollowerLink) -> Callable[[Tick, float, datetime], None]:
    """Return what shows the host to the process that follows decisions, about once a second."""
    due_at = float("-inf")

    def look(_tick: Tick, now: float, utc: datetime) -> None:
        nonlocal due_at
        if now >= due_at:
            due_at = now + SHOW_EVERY_S
            protected = agent.sensing.protected
            known = frozenset((*protected.networks, *protected.never_cut_off))
            dry_run, suspended = agent.mode is Mode.DRY_RUN, bool(protected.problems)
            plane = "" if dry_run else agent.plane
            link.show(HostView(dry_run, known, suspended, protected.embedding, plane), now, utc)

    return look


def _filling(outbox: Outbox, agent: Agent) -> Callable[[Tick, float, datetime], None]:
    """Return what puts a tick's bans, and an incident that ended, into the outbox; a dry-run shares nothing."""

    def look(tick: Tick, _now: float, _utc: datetime) -> None:
        if agent.mode is Mode.DRY_RUN:
            return
        outbox.put(tick.decision.bans)
        incident = tick.decision.incident
        if incident is not None and incident.ended_at is not None:
            outbox.put((incident,))

    return look


def _away(peer: PeerRecord) -> str:
    state = peer.state
    return f"{state.name}: {state.error}" if state.reachable is False else ""
