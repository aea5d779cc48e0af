"""Durations and port lists as operators write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)
_WHOLE: Final = re.compile(rf"{_PART.pattern}(?: ?{_PART.pattern})*", re.ASCII)
_SIZE_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_SIZE: Final = re.compile(r"(\d{1,12}) ?(B|KiB|MiB|GiB|TiB)", re.ASCII)
_MAX_PORT: Final = 65535


def parse_duration(text: str) -> float:
    """Return seconds for ``"30s"``, ``"10m"``, ``"1h30m"``, ``"250ms"``.

    Raises:
        ValueError: No unit, an unknown unit, or nothing at all; the text names the form.
    """
    word = text.strip()
    if len(word) > 32 or not _WHOLE.fullmatch(word):  # longest sensible form is far shorter
        raise ValueError(f'"{text[:40]}" is not a duration: write a number with a unit, like 30s, 10m, 1h30m')
    return sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(word))


def format_duration(seconds: float) -> str:
    """Return the two largest units of a duration, as people read it: ``"2m 5s"``, ``"1d 3h"``, ``"200ms"``."""
    if seconds <= 0:
        return "0s"
    if seconds < 0.9995:
        return f"{round(seconds * 1000)}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s".replace(".0s", "s")
    left = round(seconds)
    parts = []
    for unit in ("w", "d", "h", "m", "s"):
        size = int(_UNIT_S[unit])
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2])


def exact_duration(seconds: float) -> str:
    """Return a duration as one word that ``parse_duration`` reads back to the same value: ``"1h30m"``, ``"0.4s"``."""
    if seconds != int(seconds) or seconds == 0:
        return f"{Decimal(repr(seconds)):f}s"
    left = int(seconds)
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, int(_UNIT_S[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_size(text: str) -> int:
    """Return bytes for ``"256MiB"``, ``"1 GiB"``, ``"64KiB"``.

    Raises:
        ValueError: No unit, an unknown unit, or nothing at all; the text names the form.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(match[1]) << 10 * _SIZE_UNITS.index(match[2]) if match else 0
    if not size:
        raise ValueError(f'"{text[:40]}" is not a size: write a number with a unit, like 64KiB, 256MiB, 1GiB')
    return size


def format_size(size: int) -> str:
    """Return bytes as people read them: ``"256 MiB"``, ``"1.4 KiB"``, ``"12 B"``."""
    power = max(min((size.bit_length() - 1) // 10, len(_SIZE_UNITS) - 1), 0)
    return f"{size / 1024**power:.1f} {_SIZE_UNITS[power]}".replace(".0 ", " ")


def parse_ports(text: str) -> tuple[range, ...]:
    """Return port ranges for ``"80,443,8000-8100"``, or for ``"any"`` the range of all ports.

    Raises:
        ValueError: A word that is no port or range of ports between 1 and 65535.
    """
    if text.strip() == "any":
        return (range(1, _MAX_PORT + 1),)
    return tuple(_parse_port_range(word.strip()) for word in text.split(","))


def _parse_port_range(word: str) -> range:
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", word, re.ASCII)
    if match:
        first = int(match[1])
        last = int(match[2] or first)
        if 1 <= first <= last <= _MAX_PORT:
            return range(first, last + 1)
    raise ValueError(f'"{word[:40]}" is not a port: write a number from 1 to 65535, a range like 8000-8100, or any')


def format_ports(ports: Iterable[int]) -> str:
    """Return ports as an operator types them, ``"80,443"``; no ports means all of them: ``"any"``."""
    return ",".join(str(port) for port in sorted(ports)) or "any"


def evidence_clause(evidence: Iterable[object], ports: Iterable[int]) -> str:
    """Return what the reason of a ban begins with: its evidence, and the ports that it concerns, if not all."""
    where = f" on port {format_ports(ports)}" if ports else ""
    return " and ".join(map(str, evidence)) + where
