"""Loading config and policies: every fault at once, each with its path as the operator typed it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from synguard.errors import ConfigError
from synguard.policy.files import locate, pack_names, packs_directory, read_toml, refuse_untrusted
from synguard.policy.models import Config, Pack, Policy
from synguard.policy.validation_errors import validation_errors

__all__ = ["default_path", "load_config", "load_file", "load_pack", "load_policies", "pack_names", "packs_directory"]

DEFAULT_CONFIG: Final = Path("/etc/synguard/synguard.toml")
CONFIG_VARIABLE: Final = "SYNGUARD_CONFIG"
ADDED: Final = "allow.added.txt"
"""What ``synguard allow`` keeps, beside the config file; in the state directory where there is none."""

_DIRECTORY: Final = re.compile(r'^(state_dir|runtime_dir) *= *"([^"\\\n\0]+)"', re.MULTILINE)

_Model = TypeVar("_Model", bound=BaseModel)
_Result = TypeVar("_Result")


def default_path() -> Path | None:
    """Return the config file used when none is named: ``SYNGUARD_CONFIG``, else the one in /etc if it is there."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None


def load_config(path: Path | None) -> Config:
    """Return the config in a file, or the defaults where no file is named and none is in the default places.

    Paths in it are relative to the file's directory and come back joined to it; ``policies`` stays as typed, for
    ``load_policies``.

    Raises:
        ConfigError: The file cannot be used; ``problems`` holds every fault.
    """
    source = path or default_path()
    if source is None:
        defaults = Config()
        return defaults.model_copy(update={"allow": defaults.allow.with_added(defaults.state_dir / ADDED)})
    document = read_toml(source)
    refuse_untrusted(source)
    return _config(source, document)


def directories_named(path: Path | None) -> dict[str, Any]:
    """Return ``state_dir`` and ``runtime_dir`` of a file that has faults, where lines of their own name them.

    An agent that was started before the fault is found there; a file that anybody may write to is not gone by.
    """
    source = path or default_path()
    try:
        if source is None:
            return {}
        refuse_untrusted(source)
        text = source.read_text(encoding="utf-8")
    except (ConfigError, OSError, UnicodeDecodeError):
        return {}
    return {name: source.parent / place for name, place in _DIRECTORY.findall(text)}


def load_policies(config: Config, base: Path | None = None) -> tuple[Policy, ...]:
    """Return the policies of all packs that a config names, in order; for a port, the first that names it judges.

    ``base`` is the directory that paths are relative to, that of the config file; None for the present one.

    Raises:
        ConfigError: A pack is unknown or faulty, or two policies share a name; every fault of every pack.
    """
    problems: list[str] = []
    owner_by_name: dict[str, str] = {}
    policies: list[Policy] = []
    for position, entry in enumerate(config.policies):
        path = _collected(problems, partial(locate, entry, base), f"policies[{position}]: ")
        pack = _collected(problems, partial(_trusted_pack, path)) if path else None
        for index, policy in enumerate(pack.policy if pack else ()):
            here = f"{path}: policy[{index}]"
            if policy.name in owner_by_name:
                problems.append(f'{here}.name: "{policy.name}" is already the name of {owner_by_name[policy.name]}')
            owner_by_name.setdefault(policy.name, here)
            policies.append(policy)
    if problems:
        raise ConfigError(*problems)
    return tuple(
        policy.model_copy(update={"prefixes": policy.prefixes.with_embedding(config.pref64)})
        if config.pref64
        else policy
        for policy in policies
    )


def _trusted_pack(path: Path) -> Pack:
    pack = load_pack(path)
    if path.parent != packs_directory():  # what is shipped is as trustworthy as the program
        refuse_untrusted(path)
    return pack


def load_pack(path: Path) -> Pack:
    """Return the pack in a file.

    Raises:
        ConfigError: The file cannot be used; ``problems`` holds every fault.
    """
    return _pack(path, read_toml(path))


def load_file(path: Path) -> Config | Pack:
    """Return what a file holds: a pack where it has ``policy`` tables, else a config.

    Raises:
        ConfigError: The file cannot be used; ``problems`` holds every fault.
    """
    document = read_toml(path)
    return _pack(path, document) if "policy" in document else _config(path, document)


def _pack(path: Path, document: Mapping[str, Any]) -> Pack:
    pack = _validated(Pack, path, document)
    names = [policy.name for policy in pack.policy]
    twice = [
        f'{path}: policy[{index}].name: "{name}" is already the name of {path}: policy[{names.index(name)}]'
        for index, name in enumerate(names)
        if names.index(name) < index
    ]
    if twice:
        raise ConfigError(*twice)
    return pack


def _config(path: Path, document: Mapping[str, Any]) -> Config:
    config = _validated(Config, path, document)
    base = path.parent
    allow = config.allow.model_copy(update={"files": tuple(base / file for file in config.allow.files)})
    allow = allow.with_added(base / ADDED)
    secrets = {name: getattr(config.notify, name) for name in ("urls_file", "webhook_key_file")}
    notify = config.notify.model_copy(update={name: base / path for name, path in secrets.items() if path})
    return config.model_copy(
        update={
            "state_dir": base / config.state_dir,
            "runtime_dir": base / config.runtime_dir,
            "allow": allow,
            "notify": notify,
        }
    )


def _validated(model: type[_Model], path: Path, document: Mapping[str, Any]) -> _Model:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ConfigError(*(f"{path}: {line}" for line in validation_errors(error, model, document))) from error


def _collected(problems: list[str], load: Callable[[], _Result], prefix: str = "") -> _Result | None:
    """Return what ``load`` gives, or None with its faults added to ``problems``."""
    try:
        return load()
    except ConfigError as error:
        problems.extend(f"{prefix}{problem}" for problem in error.problems)
        return None
