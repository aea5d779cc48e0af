"""A config as TOML that loads back to the same."""

from __future__ import annotations

from synguard.policy.models import Config
from synguard.policy.show import toml_table


def show_config(config: Config) -> str:
    """Return every value of a config as TOML."""
    return toml_table(config.model_dump(mode="json", exclude_none=True), ())
