"""What an import comes to: whom to allow, whom to ban, which settings have a counterpart, and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from synguard.addresses import Network
from synguard.errors import UsageError
from synguard.operator.ban import MOST_PORTS
from synguard.operator.list_formats import networks_of_word
from synguard.operator.lists import text_of
from synguard.policy.policies import BanTimes, Policy
from synguard.policy.show import toml_table
from synguard.policy.validation_errors import validation_errors
from synguard.units import exact_duration, parse_ports

MOST_LEFT_OUT: Final = 10_000
MOST_LIMITS: Final = 64
"""Policies of one pack."""


@dataclass(frozen=True, slots=True)
class ImportedBan:
    """One ban of another tool."""

    target: Network
    lasts_s: float | None = None
    """Seconds that it has left; None where it has no end."""
    ports: tuple[int, ...] = ()
    """TCP ports that it closes; none for everything."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of another tool, as a policy has it."""

    ports: str
    connections: int
    source: str
    """``WHERE: SETTING`` that it comes from."""
    first_s: float | None = None
    """Length of a first ban; None for the usual one."""

    def policy(self, name: str) -> dict[str, Any]:
        """Return it as a policy of a pack, to be validated and written."""
        policy = {"name": name, "ports": self.ports, "limits": {"connections": self.connections}}
        if not self.first_s:
            return policy
        first = exact_duration(self.first_s)
        return policy | {"bans": {"first": first} | ({"cap": first} if self.first_s > BanTimes().cap else {})}


@dataclass(slots=True)
class ImportPlan:
    """All of one import, before anything is changed."""

    allow: dict[Network, str] = field(default_factory=dict)
    """Network → comment."""
    bans: list[ImportedBan] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """``WHERE: WHAT: WHY``, one a line; at most ``MOST_LEFT_OUT`` and then how many more."""
    beyond: int = 0

    def leave(self, where: str, what: str, why: str) -> None:
        """Note what is not taken over."""
        if len(self.left_out) < MOST_LEFT_OUT:
            self.left_out.append(f"{where}: {what.strip()[:90]}: {why}")
        else:
            self.beyond += 1

    def take(self, where: str, word: str, use: Callable[[Network], object]) -> None:
        """Use every network that a word names, or note that it names none."""
        try:
            for network in networks_of_word(word):
                use(network)
        except ValueError as error:
            self.leave(where, word, str(error))

    def allow_word(self, where: str, word: str, comment: str = "") -> None:
        """Allow what a word names."""
        said = _one_line(comment.replace("#", " "))[:120]
        self.take(where, word, lambda network: self.allow.setdefault(network, said))

    def ban_word(
        self, where: str, word: str, reason: str = "", lasts_s: float | None = None, ports: tuple[int, ...] = ()
    ) -> None:
        """Ban what a word names."""
        said = _one_line(reason)[:200]
        self.take(where, word, lambda network: self.bans.append(ImportedBan(network, lasts_s, ports, said)))

    def ban_at_ports(self, where: str, word: str, ports: str, reason: str) -> None:
        """Ban what a word names at TCP ports, ``80,8000-8100``, or at ``any``."""
        try:
            named = () if ports == "any" else tuple(port for some in parse_ports(ports) for port in some)
            if len(named) > MOST_PORTS:
                raise ValueError(f"it names {len(named)} ports, and a ban at most {MOST_PORTS}")
        except ValueError as error:
            self.leave(where, f"{word} at {ports}", str(error))
        else:
            self.ban_word(where, word, reason, ports=named)

    def limit(self, limit: Limit, *, first: bool = False) -> None:
        """Take a limit over, before the others where it is the narrower one; or note why no policy can have it."""
        where, _, setting = limit.source.rpartition(": ")
        try:
            Policy.model_validate(limit.policy("imported"))
            if len(self.limits) >= MOST_LIMITS:
                raise ValueError(f"a pack has {MOST_LIMITS} policies at most")
        except ValidationError as error:
            faults = validation_errors(error, Policy, limit.policy("imported"))
            self.leave(where, setting, "; ".join(faults))
        except ValueError as error:
            self.leave(where, setting, str(error))
        else:
            self.limits.insert(0 if first else len(self.limits), limit)

    def pack(self) -> Iterator[str]:
        """Yield the lines of a policy pack with the limits; nothing where there are none."""
        for number, limit in enumerate(self.limits, 1):
            yield f"# {limit.source}"
            yield "[[policy]]"
            yield from toml_table(limit.policy(f"imported-{number}"), ("policy",)).splitlines()
            yield ""


def _one_line(text: str) -> str:
    return "".join(filter(str.isprintable, text)).strip()


def files_of(path: Path, names: Sequence[str]) -> list[Path]:
    """Return a tool's files in a directory, or the file itself.

    Raises:
        UsageError: The directory holds none of them.
    """
    if not path.is_dir():
        return [path]
    there = [path / name for name in names if (path / name).exists()]
    if not there:
        raise UsageError(f"{path} holds none of {', '.join(names)}")
    return there


def lines_of(path: Path) -> list[tuple[str, str]]:
    """Return (``FILE:LINE``, line) of those that are neither blank nor a comment.

    Raises:
        UsageError: The file cannot be read, is too large, or is no text.
        NotPermittedError: This user may not read it.
    """
    text = text_of(path)
    numbered = ((f"{path}:{number}", line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return [(where, line) for where, line in numbered if line and not line.startswith(("#", ";"))]


def settings_of(lines: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Return key → (where, value) of ``KEY = "value"`` lines; quotes and comments behind are taken off."""
    found: dict[str, tuple[str, str]] = {}
    for where, line in lines:
        key, equals, value = line.partition("=")
        if equals and key.strip().isidentifier():
            value = value.strip()
            quoted = value[:1] in ("'", '"') and value.find(value[0], 1)
            found[key.strip()] = where, value[1:quoted] if quoted and quoted > 0 else value.partition("#")[0].strip()
    return found
