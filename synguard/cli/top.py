"""``synguard top``: pressure, sources, bans and incidents, live; a plain snapshot where no one can watch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from json import dumps
from typing import TYPE_CHECKING, Annotated, Final

import typer

from synguard.cli import parameter_types
from synguard.cli.context import open_context, utcnow, working_plane
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.enforcer.plane import Plane
from synguard.errors import NotPermittedError, UsageError
from synguard.model import KernelBan
from synguard.output.tables import terminal_width
from synguard.policy.models import Config
from synguard.top.actions import Actions
from synguard.top.frame import plain_lines
from synguard.top.poller import Poller
from synguard.top.session import Session, Watcher
from synguard.top.shape import snapshot_shape
from synguard.top.snapshot import Snapshot, SnapshotSockets
from synguard.top.spans import as_text
from synguard.top.terminal import Terminal, TerminalGoneError, can_be_live
from synguard.top.text import plain
from synguard.top.unwatched import read_sockets

if TYPE_CHECKING:
    from synguard.sensors.sockets import SocketTables as Sensor

SHORTEST_S: Final = 0.2
"""The agent itself tells of itself about once a second."""


def top(
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="Refresh interval.")] = "1s",
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="N", min=0, help="Print N snapshots instead; 0: until Ctrl-C."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Bans in a snapshot; 0 for all.")] = 20,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Watch listeners, sources and bans live; ban and unban by key.

    Examples:
      synguard top                      live; ? shows the keys, q quits
      synguard top --every 5s           over a slow link
      synguard top | less               in a pipe: one snapshot
      synguard top --json --count 60 | jq .flood.syn_pps

    By key: sort, filter, pause, ban and unban. Each change asks first, and is
    refused where "synguard ban" refuses. Watching costs the agent nothing.
    Without an agent it shows the bans in the kernel and the half-open sockets.
    Packets a second are known from the second refresh on. NO_COLOR is honoured.
    """
    every_s = parameter_types.duration(every)
    if every_s < SHORTEST_S:
        raise UsageError(f"--every {every} is too often: {SHORTEST_S:g}s at the least")
    settings = loaded(config)
    live = count is None and not json
    if live:
        live = can_be_live(os.environ)
    host = _HostReader(settings)
    poller = Poller(settings, host.kernel, host.sockets, every_s, utcnow)
    try:
        first = poller.glance()
        if not first.alive:
            host.require_permission()
        if live:
            _watch(settings, poller, first, every_s)
        else:
            _print(poller, 1 if count is None else count, every_s, limit, json)
    except KeyboardInterrupt:
        return
    finally:
        host.close()


class _HostReader:
    """What is opened on this host only when it is looked at: the plane, and the socket table."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._plane: Plane | None = None
        self._sensor: Sensor | None = None

    def require_permission(self) -> None:
        """Return if this user may see anything where no agent speaks.

        Raises:
            NotPermittedError: The kernel does not answer this user either.
        """
        from synguard.capabilities import how_to_get, missing_capabilities

        if "CAP_NET_ADMIN" in missing_capabilities():
            raise NotPermittedError(
                "no agent's status can be read by this user, and reading the kernel's bans needs CAP_NET_ADMIN: "
                + how_to_get(["CAP_NET_ADMIN"])
            )

    def kernel(self) -> Mapping[str, KernelBan]:
        """Return what the kernel holds."""
        if self._plane is None:
            self._plane = working_plane(self._config)
        return self._plane.read().bans

    def sockets(self) -> SnapshotSockets:
        """Return what the socket table holds."""
        from synguard.sensors.sockets import SocketTables as Sensor

        if self._sensor is None:
            self._sensor = Sensor()
        return read_sockets(self._sensor, time.monotonic())

    def close(self) -> None:
        """Give back what was opened."""
        if self._sensor is not None:
            self._sensor.close()


def _watch(config: Config, poller: Poller, first: Snapshot, every_s: float) -> None:
    with Terminal(os.environ) as terminal:
        watcher = Watcher(poller, every_s, first, terminal.wake)
        watcher.start()
        try:
            Session(terminal, watcher, Actions(partial(open_context, config), utcnow)).run()
        except TerminalGoneError:
            return
        finally:
            watcher.stop()


def _print(poller: Poller, count: int, every_s: float, limit: int, json: bool) -> None:
    """Print snapshots, ``every_s`` apart."""
    tell = _tell_json if json else _tell_text
    printed = 0
    try:
        while True:
            tell(poller.poll(), limit)
            sys.stdout.flush()
            printed += 1
            if printed == count:
                return
            if not json:
                print()
            time.sleep(every_s)
    finally:
        poller.close()


def _tell_json(snapshot: Snapshot, limit: int) -> None:
    print(dumps(snapshot_shape(snapshot, limit or None)))


def _tell_text(snapshot: Snapshot, limit: int) -> None:
    lines = plain_lines(snapshot, limit or sys.maxsize, min(terminal_width(), 1000))
    speaks = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.writelines(f"{as_text(line) if speaks else plain(as_text(line))}\n" for line in lines)
