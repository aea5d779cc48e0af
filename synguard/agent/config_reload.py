"""Config and policies read again while the agent runs; what is faulty changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from synguard.errors import ConfigError
from synguard.logs import event
from synguard.model import Mode
from synguard.policy.models import Config, Policy

log: Final = logging.getLogger(__name__)

FAULTS_LOGGED: Final = 20
"""Faults of a refused config that get a log line each; ``synguard policy check`` lists all."""
FIXED: Final = (
    "mode", "plane", "members", "state_dir", "runtime_dir", "containers", "ceilings", "log", "notify", "metrics",
    "crowdsec", "bgp",
)  # fmt: skip
"""Settings that a reload leaves as they are: they are woven into open files and kernel objects."""

Loader = Callable[[], tuple[Config, tuple[Policy, ...]]]


class ConfigReload:
    """Takes a request to read config and policies again, from a signal handler, and gives them to the next tick."""

    def __init__(self, configured: Mode) -> None:
        self._configured = configured
        self._load: Loader | None = None
        self.problem = ""
        """Why the last one was refused, one sentence; empty where it was not."""

    def ask(self, load: Loader) -> None:
        """Ask for config and policies to be read again before the next tick."""
        self._load = load

    def take(self, running: Config) -> tuple[Config, tuple[Policy, ...]] | None:
        """Return the new config and policies where they were asked for and have no fault, else None.

        Settings that cannot change at run time are as in the ``running`` config.
        """
        load, self._load = self._load, None
        if load is None:
            return None
        try:
            config, policies = load()
        except ConfigError as error:
            self.problem = f"the new configuration was refused and the running one kept: {error.problems[0]}"
            for problem in error.problems[:FAULTS_LOGGED]:
                log.error("reload refused, the running policy is kept: %s", problem, extra=event("reload-refused"))
            return None
        self.problem = ""
        fixed = {name: getattr(running, name) for name in FIXED if hasattr(config, name)}
        known = fixed | {"mode": self._configured}
        changed = [name for name, value in known.items() if getattr(config, name) != value]
        if changed:
            log.warning("%s takes effect at the next start", ", ".join(changed), extra=event("reload"))
        names = ", ".join(policy.name for policy in policies)
        log.info("reloaded: policies %s", names, extra=event("reload", policies=names))
        return config.model_copy(update=fixed), policies
