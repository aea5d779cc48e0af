"""What ``synguard allow`` changes: one file beside the config, which the agent follows within a second."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from synguard.addresses import Network, covers, format_network, widest
from synguard.errors import NotPermittedError, RefusedError, SynguardError
from synguard.model import Ban
from synguard.private import replace_private
from synguard.sensors.added_allow import HEAD, AddedEntry, read_added

MOST: Final = 10_000
"""Entries of the file; a longer list belongs into a file that ``[allow] files`` names."""


class AddedAllowList:
    """The entries that a person added, kept in one file."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    def standing(self, now: datetime) -> tuple[AddedEntry, ...]:
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

    def _change(self, change: Callable[[Sequence[AddedEntry]], list[AddedEntry]], now: datetime) -> None:
        with _alone(self.path.parent):
            after = change(self.standing(now))
            if len(after) > MOST:
                raise SynguardError(
                    f"more than {MOST:,} entries: write them to a file, and name it in [allow] files of the config"
                )
            try:
                replace_private(self.path, HEAD + "".join(one.line for one in after), sync=True)
            except PermissionError as error:
                raise NotPermittedError(f"{self.path} may not be written: run as root") from error
            except OSError as error:
                raise SynguardError(f"{self.path} cannot be written: {error.strerror}; nothing was changed") from error


def refuse_too_wide(networks: Iterable[Network]) -> None:
    """Return if none of the networks is wider than a ban may be without ``--force``.

    Raises:
        RefusedError: One is: whoever attacks from it could not be stopped.
    """
    wide = [one for one in networks if one.prefixlen < widest(one)]
    if wide:
        raise RefusedError(
            "\n".join(
                f"{format_network(one)} is wider than /{widest(one)}: nobody in it could be stopped; --force insists"
                for one in wide
            )
        )


def lifted_by(networks: Sequence[Network], bans: Iterable[Ban]) -> list[Ban]:
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
