"""Durations as Go writes them, which is how CrowdSec's API speaks of time: ``3h59m59.024435303s``, ``-34.755616ms``."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_PART: Final = r"\d{1,12}(?:\.\d{1,12})?(?:h|ms|m|s|us|µs|μs|ns)"
_WHOLE: Final = re.compile(rf"([+-]?)((?:{_PART}){{1,8}})", re.ASCII)
_USUAL: Final = re.compile(r"(?:(\d{1,12})h)?(?:(\d{1,12})m)?(\d{1,12}(?:\.\d{1,12})?)s", re.ASCII)
"""What nearly all of them are, read in a quarter of the time."""
_PARTS: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|μs|ns)", re.ASCII)


def parse_go_duration(text: str) -> float:
    """Return the seconds of a Go duration, negative where its end is past.

    Raises:
        ValueError: The text is none.

    Source: Go ``time.ParseDuration``; seen in CrowdSec 1.4.6, fractions and negative values included.
    """
    usual = _USUAL.fullmatch(text)
    if usual is not None:
        hours, minutes, seconds = usual.groups("0")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text[:40]}" is not a duration like 4h or 3h59m59.5s')
    total = sum(float(number) * _UNITS[unit] for number, unit in _PARTS.findall(match[2]))
    return -total if match[1] == "-" else total


def format_go_duration(seconds: float) -> str:
    """Return a duration of at least one second in whole seconds, ``600s``."""
    return f"{max(round(seconds), 1)}s"
