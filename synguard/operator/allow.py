"""What ``synguard allow`` changes: one file beside the config, which the agent follows within a second."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from ipaddress import IPv6Network
from pathlib import Path
from typing import Final

from synguard.addresses import EMBEDDING, Network, covers, format_network, host_network, parse_address, widest
from synguard.errors import NotPermittedError, RefusedError, SynguardError
from synguard.model import Ban
from synguard.plain import printable
from synguard.private import replace_private
from synguard.sensors.added_allow import HEAD, AddedEntry, read_added

MOST_OF_A_NAME: Final = 16
"""Addresses that one host name may stand for: whoever answers for it could else allow the whole world."""
_NAME: Final = re.compile(r"(?!-)[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)
MOST: Final = 10_000
"""Entries of the file; a longer list belongs into a file that ``[allow] files`` names."""


class AddedAllowList:
    """The entries that a person added, kept in one file."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    def active(self, now: datetime) -> tuple[AddedEntry, ...]:
        """Return the entries that have not ended.

        Raises:
            ConfigError: The file cannot be read, or has lines that cannot be used.
        """
        return tuple(one for one in read_added(self.path) if one.stands(now))

    def add(self, entries: Iterable[AddedEntry], now: datetime) -> None:
        """Add entries; one that names a network which was there takes its place.

        Raises:
            ConfigError: As for ``standing``; nothing was changed.
            SynguardError: There would be too many, or the file cannot be written; nothing was changed.
        """
        added = {one.network: one for one in entries}
        self._change(lambda before: [*(one for one in before if one.network not in added), *added.values()], now)

    def remove(self, networks: Sequence[Network], now: datetime) -> None:
        """Take these networks out.

        Raises:
            ConfigError: As for ``standing``; nothing was changed.
            SynguardError: One of them is not in it, or the file cannot be written; nothing was changed.
        """

        def without(before: Sequence[AddedEntry]) -> list[AddedEntry]:
            known = {one.network for one in before}
            if missing := [one for one in networks if one not in known]:
                raise SynguardError("\n".join(_not_added(one, before) for one in missing))
            return [one for one in before if one.network not in networks]

        self._change(without, now)

    def follow_names(self, look_up: Callable[[str], Sequence[Network]], now: datetime) -> dict[str, str]:
        """Take in what the names of entries stand for now; return name → why, of those that cannot be looked up.

        Those keep the addresses that they had.

        Raises:
            ConfigError: As for ``standing``; nothing was changed.
            SynguardError: There would be too many, or the file cannot be written; nothing was changed.
        """
        found: dict[str, Sequence[Network]] = {}
        failed: dict[str, str] = {}
        for name in dict.fromkeys(one.name for one in self.active(now) if one.name):
            try:
                found[name] = look_up(name)
            except SynguardError as error:
                failed[name] = str(error)

        def followed(before: Sequence[AddedEntry]) -> list[AddedEntry]:
            kept = {one.network: one for one in before if one.name not in found}
            for one in before:
                for network in found.get(one.name, ()):
                    kept.setdefault(network, replace(one, network=network))
            return list(kept.values())

        if found:
            self._change(followed, now)
        return failed

    def _change(self, change: Callable[[Sequence[AddedEntry]], list[AddedEntry]], now: datetime) -> None:
        with _alone(self.path.parent):
            after = change(self.active(now))
            if len(after) > MOST:
                raise SynguardError(
                    f"more than {MOST:,} entries: write them to a file, and name it in [allow] files of the config"
                )
            if after == list(read_added(self.path)) and self.path.exists():
                return
            try:
                replace_private(self.path, HEAD + "".join(one.line for one in after), sync=True)
            except PermissionError as error:
                raise NotPermittedError(f"{self.path} may not be written: run as root") from error
            except OSError as error:
                raise SynguardError(f"{self.path} cannot be written: {error.strerror}; nothing was changed") from error


def addresses_of(name: str) -> list[Network]:
    """Return the addresses of a host name, at most ``MOST_OF_A_NAME``; this may take as long as DNS does.

    Raises:
        SynguardError: It is no name, or has no address now.
    """
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise SynguardError(f'"{printable(name[:60])}" is no host name, like vpn.example.net')
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SynguardError(f"{name} cannot be looked up: {getattr(error, 'strerror', None) or error}") from error
    hosts = dict.fromkeys(host_network(parse_address(str(one[4][0]))) for one in found)
    return sorted(hosts, key=lambda one: (one.version, int(one.network_address)))[:MOST_OF_A_NAME]


def refuse_too_wide(networks: Iterable[Network], pref64: Iterable[IPv6Network] = ()) -> None:
    """Return if none of the networks is wider than a ban may be without ``--force``.

    Raises:
        RefusedError: One is: whoever attacks from it could not be stopped.
    """
    embedding = (*EMBEDDING, *pref64)
    wide = {one: most for one in networks if one.prefixlen < (most := widest(one, embedding))}
    if wide:
        raise RefusedError(
            "\n".join(
                f"{format_network(one)} is wider than /{most}: no one in it can be banned; --force allows it"
                for one, most in wide.items()
            )
        )


def bans_within(networks: Sequence[Network], bans: Iterable[Ban]) -> list[Ban]:
    """Return the bans whose whole target is allowed now."""
    return [ban for ban in bans if any(covers(one, ban.target) for one in networks)]


def _not_added(network: Network, known: Iterable[AddedEntry]) -> str:
    around = [format_network(one.network) for one in known if covers(one.network, network)]
    if around:
        return f"{format_network(network)} was not added by itself: {around[0]} covers it"
    return f"{format_network(network)} was not added with synguard allow: see synguard allow list"


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one process at a time change what lies in a directory.

    Raises:
        SynguardError: The directory cannot be opened.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SynguardError(f"{directory} cannot be opened: {error.strerror}; nothing was changed") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
