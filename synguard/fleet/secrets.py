"""Secrets of the fleet: from the config, from a file that others may not read, or from systemd's credentials."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from synguard.errors import ConfigError
from synguard.private import read_secret

API_KEY: Final = "crowdsec-api-key"
PASSWORD: Final = "crowdsec-password"  # noqa: S105  # the name of a credential, not one
"""Names of systemd credentials that serve where the config names no secret."""
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what ``LoadCredential=`` names; set for the service alone."""


def secret_from(
    inline: SecretStr | None, file: Path | None, credential: str, environment: Mapping[str, str] = os.environ
) -> str | None:
    """Return a secret, or None where none is configured; a credential of systemd serves where nothing else is named.

    Raises:
        ConfigError: The file cannot be used, or others may read it; the text holds nothing secret.
    """
    if inline is not None:
        return inline.get_secret_value().strip()
    if file is None:
        directory = environment.get(CREDENTIALS)
        file = Path(directory, credential) if directory and Path(directory, credential).exists() else None
    if file is None:
        return None
    text = read_secret(file).strip()
    if not text or "\n" in text or not text.isprintable():
        raise ConfigError(f"{file}: must hold the secret on one line and nothing else")
    return text
