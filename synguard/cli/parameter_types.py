"""Words that operators type: addresses, durations, ports."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from datetime import datetime, time, timedelta
from typing import TypeVar

from synguard.addresses import Address, Network, parse_address, parse_network
from synguard.errors import UsageError
from synguard.operator.list_formats import networks_of_word, several
from synguard.plain import printable
from synguard.units import parse_duration, parse_ports, parse_size

_Value = TypeVar("_Value")


def _parsed(parse: Callable[[str], _Value], word: str) -> _Value:
    try:
        return parse(word)
    except ValueError as error:
        raise UsageError(str(error)) from error


def network(word: str) -> Network:
    """Return the address or prefix an operator typed; a UsageError says why it is neither."""
    return _parsed(parse_network, word)


def networks(words: Iterable[str], text_option: str = "", time_option: str = "") -> list[Network]:
    """Return the addresses and prefixes an operator typed, once each; of a range those that cover it.

    Raises:
        UsageError: A word is neither; one that belongs behind an option names it.
    """
    found: dict[Network, None] = {}
    for word in words:
        try:
            found |= dict.fromkeys(networks_of_word(word))
        except ValueError as error:
            raise UsageError(f"{error}{_meant(word, text_option if found else '', time_option)}") from error
    return [*found]


def _meant(word: str, text_option: str, time_option: str) -> str:
    if apart := several(word):
        return f"; write them apart: {' '.join(apart)}"
    if time_option and (word == "permanent" or is_duration(word)):
        return f"; for how long: {time_option} {word}"
    if text_option and not set(word) & set(".:/"):
        return f"; as a remark: {text_option} {shlex.quote(printable(word[:60]))}"
    return ""


def is_duration(word: str) -> bool:
    """Return whether a word is a length of time."""
    try:
        return parse_duration(word) > 0
    except ValueError:
        return False


def address(word: str) -> Address:
    """Return the single address an operator typed.

    Raises:
        UsageError: It is none.
    """
    try:
        return parse_address(word)
    except ValueError as error:
        raise UsageError(f'"{word[:60]}" is not an address, like 192.0.2.7 or 2001:db8::7') from error


def duration(word: str) -> float:
    """Return the seconds of a duration an operator typed; nothing (``0s``) is refused.

    Raises:
        UsageError: It is no duration, or no time at all.
    """
    seconds = _parsed(parse_duration, word)
    if seconds <= 0:
        raise UsageError(f'"{word}" is too short: write a duration like 30s, 10m, 1h30m')
    return seconds


def moment(word: str) -> datetime:
    """Return the moment an operator typed, like ``2026-12-01 08:00``, aware.

    Raises:
        UsageError: It is none.
    """
    try:
        return datetime.fromisoformat(word.strip()).astimezone()
    except ValueError as error:
        raise UsageError(f'"{word[:40]}" is no time: write it like "2026-12-01 08:00", with Z for UTC') from error


def past(word: str, now: datetime) -> datetime:
    """Return a moment that is over: a time ago, ``now``, ``today``, ``yesterday`` (their midnight here), or a moment.

    Raises:
        UsageError: It is none of these, or yet to come.
    """
    days = {"today": 0, "yesterday": 1}.get(word.strip())
    if word.strip() == "now":
        return now
    if days is not None:
        day = now.astimezone().date() - timedelta(days=days)
        return datetime.combine(day, time()).astimezone()
    try:
        ago_s = parse_duration(word)
    except ValueError:
        try:
            when = moment(word)
        except UsageError as error:
            raise UsageError(f"{error}; or 24h, 7d, today, yesterday") from error
    else:
        when = now - timedelta(seconds=ago_s)
    if when > now:
        raise UsageError(f'"{word[:40]}" is in the future')
    return when


def size(word: str) -> int:
    """Return the bytes of a size an operator typed; a UsageError says why it is none."""
    return _parsed(parse_size, word)


def ports(word: str, at_most: int) -> tuple[int, ...]:
    """Return the ports an operator typed, in order and once each; ``any`` gives none, which means all.

    Raises:
        UsageError: A word is no port, or there are more than ``at_most``.
    """
    if word.strip() == "any":
        return ()
    found = sorted({port for ports in _parsed(parse_ports, word) for port in ports})
    if len(found) > at_most:
        raise UsageError(f'"{word[:40]}" names {len(found)} ports: name at most {at_most}, or any')
    return tuple(found)
