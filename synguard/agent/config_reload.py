"""Config and policies read again while the agent runs; what is faulty changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from synguard.errors import ConfigError
from synguard.logs import event
from synguard.model import Mode
from synguard.policy.models import Config, Policy

log: Final = logging.getLogger(__name__)

FAULTS_LOGGED: Final = 20
"""Faults of a refused config that get a log line each; ``synguard policy check`` lists all."""
FIXED: Final = (
    "mode", "plane", "state_dir", "runtime_dir", "containers", "ceilings", "log", "notify", "metrics",
    "crowdsec", "bgp",
)  # fmt: skip
"""Settings that a reload leaves as they are: they are woven into open files and kernel objects."""

Loader = Callable[[], tuple[Config, tuple[Policy, ...]]]


class RunningConfig:
    """The config and policies in force; takes a request to read them again, and gives them to the next tick."""

    def __init__(self, config: Config, policies: Sequence[Policy], configured: Mode) -> None:
        self.config = config
        self.policies = tuple(policies)
        self._configured = configured
        self._load: Loader | None = None
        self.problem = ""
        """Why the last reload was refused, one sentence; empty where it was not."""

    @property
    def mode(self) -> Mode:
        """The mode in force."""
        return self.config.mode

    def enter(self, mode: Mode) -> None:
        """Take up another mode."""
        self.config = self.config.model_copy(update={"mode": mode})

    def ask(self, load: Loader) -> None:
        """Ask for config and policies to be read again before the next tick."""
        self._load = load

    def reload(self) -> bool:
        """Return whether other config and policies are in force now: they were asked for and have no fault.

        Settings that cannot change at run time stay as they are.
        """
        load, self._load = self._load, None
        if load is None:
            return False
        try:
            config, policies = load()
        except ConfigError as error:
            self.problem = f"the new configuration was refused and the running one kept: {error.problems[0]}"
            for problem in error.problems[:FAULTS_LOGGED]:
                log.error("reload refused, the running policy is kept: %s", problem, extra=event("reload-refused"))
            return False
        self.problem = ""
        fixed = {name: getattr(self.config, name) for name in FIXED}
        known = fixed | {"mode": self._configured}
        changed = [name for name, value in known.items() if getattr(config, name) != value]
        if changed:
            log.warning("%s takes effect at the next start", ", ".join(changed), extra=event("reload"))
        names = ", ".join(policy.name for policy in policies)
        log.info("reloaded: policies %s", names, extra=event("reload", policies=names))
        self.config, self.policies = config.model_copy(update=fixed), policies
        return True
