"""Recordings from start to end, with a progress bar where somebody looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from synguard.addresses import Network
from synguard.cli.options import loaded, policies_in_effect
from synguard.cli.progress import reading
from synguard.clock import utcnow
from synguard.errors import UsageError
from synguard.policy.load import load_policies
from synguard.policy.models import Config, Policy
from synguard.recording.reader import Recording
from synguard.recording.shape import Moment
from synguard.sensors.added_allow import added_networks
from synguard.sensors.allow_list import read_allow_networks

_BAR_EVERY: Final = 64
"""Moments between two looks at the bar."""


def moments(recording: Recording, what: str) -> Iterator[Moment]:
    """Yield a recording's moments, with a bar on stderr if that is a terminal.

    Raises:
        UsageError: It is damaged, or holds no tick.
    """
    number = 0
    with reading(what, recording.size) as reached:
        for number, moment in enumerate(recording.moments(), 1):
            if number % _BAR_EVERY == 0:
                reached(recording.offset)
            yield moment
    if not number:
        raise UsageError(f"{recording.path} holds no tick: let synguard run --record go on for a while")


def allowed(config: Config) -> dict[Network, str]:
    """Return whom the configuration allows, beside those that a recording names.

    Raises:
        ConfigError: A file of it cannot be read.
    """
    networks = dict.fromkeys(config.allow.addresses, "allow-list of the configuration")
    for path in config.allow.files:
        networks |= read_allow_networks(path)
    if config.allow.added:
        networks |= added_networks(config.allow.added, utcnow(), {})
    return networks


def replaying(config: Path | None, packs: list[str] | None) -> tuple[Config, tuple[Policy, ...]]:
    """Return the configuration and the policies to judge by: the packs named, else those of the configuration.

    Raises:
        ConfigError: The config or a policy has faults.
    """
    settings = loaded(config)
    if not packs:
        return settings, policies_in_effect(config)
    settings = settings.model_copy(update={"policies": tuple(packs)})
    return settings, load_policies(settings)
