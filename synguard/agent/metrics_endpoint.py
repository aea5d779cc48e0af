"""Metrics beside the tick: the last status is kept, and whoever asks is given it as text."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from synguard.agent.agent import Agent
from synguard.errors import SynguardError
from synguard.logs import event
from synguard.notify.dispatcher import Dispatcher
from synguard.policy.integrations import Metrics, listen_address
from synguard.status.conditions import Code

log: Final = logging.getLogger(__name__)


@contextmanager
def measuring(agent: Agent, settings: Metrics, dispatcher: Dispatcher) -> Iterator[None]:
    """Serve figures while the agent runs, if so configured; where they cannot be, it says so and the agent goes on."""
    address = listen_address(settings.listen)
    if address is None:
        yield
        return
    from synguard.metrics.exposition import Exposition
    from synguard.metrics.series import Delivery
    from synguard.metrics.server import MetricsServer

    exposition = Exposition(lambda: Delivery(*dispatcher.counts()))
    try:
        server = MetricsServer(*address, exposition.text)
    except SynguardError as error:
        text = str(error)
        log.error("%s", text, extra=event("metrics", listen=settings.listen))
        agent.conditions.ask(Code.METRICS_FAILED, lambda: text)
        yield
        return
    agent.publisher.readers.append(exposition.take)
    agent.conditions.ask(Code.METRICS_FAILED, lambda: server.problem)
    server.start()
    log.info("metrics are at http://%s/metrics", server.name, extra=event("metrics", listen=server.name))
    try:
        yield
    finally:
        server.stop()
