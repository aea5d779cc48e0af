"""``synguard top``: pressure, sources, bans and incidents, live; a plain snapshot where nobody can watch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from json import dumps
from typing import TYPE_CHECKING, Annotated, Final

import typer

from synguard.cli import words
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import UsageError

if TYPE_CHECKING:
    from synguard.enforcer.plane import Plane
    from synguard.model import Held
    from synguard.policy.models import Config
    from synguard.sensors.sockets import Sockets as Sensor
    from synguard.top.look import Looker
    from synguard.top.sight import Sight, Sockets

SHORTEST_S: Final = 0.2
"""The agent itself tells of itself about once a second."""


def top(
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="Look again so often.")] = "1s",
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="N", min=0, help="Print so many snapshots instead; 0 until Ctrl-C."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Bans in a snapshot; 0 for all.")] = 20,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Watch pressure on listeners, sources against their limits, bans and what they stop, live.

    Examples:
      synguard top                      live; ? shows the keys, q quits
      synguard top --every 5s           over a slow link
      synguard top | less               in a pipe: one snapshot
      synguard top --json --count 60 | jq .flood.syn_pps

    From the keyboard: sort, filter, pause, ban and unban, each change after a
    yes and refused where the verbs refuse. Watching asks nothing of the agent:
    it reads what the agent writes anyway, and the kernel at a bounded pace.
    Without an agent it shows the kernel's bans and the half-open sockets.
    NO_COLOR is honoured. Packets a second need two looks.
    """
    every_s = words.duration(every)
    if every_s < SHORTEST_S:
        raise UsageError(f"--every {every} is too often: {SHORTEST_S:g}s at the least")
    settings = loaded(config)
    live = count is None and not json
    if live:
        from synguard.top.terminal import can_be_live

        live = can_be_live(os.environ)
    eyes = _Eyes(settings)
    looker = _looker(settings, eyes, every_s)
    try:
        first = looker.glance()
        if not first.alive:
            eyes.require_permission()
        if live:
            _watch(settings, looker, first, every_s)
        else:
            _print(looker, 1 if count is None else count, every_s, limit, json)
    except KeyboardInterrupt:
        return
    finally:
        eyes.close()


class _Eyes:
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
        from synguard.capabilities import missing_capabilities
        from synguard.errors import NotPermittedError

        if "CAP_NET_ADMIN" in missing_capabilities():
            raise NotPermittedError(
                "no agent tells this user anything, and to ask the kernel for its bans needs CAP_NET_ADMIN: run as root"
            )

    def kernel(self) -> Mapping[str, Held]:
        """Return what the kernel holds."""
        from synguard.cli.here import working_plane

        if self._plane is None:
            self._plane = working_plane(self._config)
        return self._plane.read().bans

    def sockets(self) -> Sockets:
        """Return what the socket table holds."""
        from synguard.sensors.sockets import Sockets as Sensor
        from synguard.top.unwatched import read_sockets

        if self._sensor is None:
            self._sensor = Sensor()
        return read_sockets(self._sensor, time.monotonic())

    def close(self) -> None:
        """Give back what was opened."""
        if self._sensor is not None:
            self._sensor.close()


def _looker(config: Config, eyes: _Eyes, every_s: float) -> Looker:
    from synguard.cli.here import utcnow
    from synguard.top.look import Looker

    return Looker(config, eyes.kernel, eyes.sockets, every_s, utcnow)


def _watch(config: Config, looker: Looker, first: Sight, every_s: float) -> None:
    from functools import partial

    from synguard.agent.manual import look_around
    from synguard.cli.here import reaching, utcnow
    from synguard.top.orders import Orders
    from synguard.top.session import Session, Watcher
    from synguard.top.terminal import Terminal, TerminalGoneError

    with Terminal(os.environ) as terminal:
        watcher = Watcher(looker, every_s, first, terminal.wake)
        watcher.start()
        try:
            Session(terminal, watcher, Orders(partial(reaching, config), look_around, utcnow)).run()
        except TerminalGoneError:
            return
        finally:
            watcher.stop()


def _print(looker: Looker, count: int, every_s: float, limit: int, json: bool) -> None:
    """Print snapshots, ``every_s`` apart."""
    tell = _tell_json if json else _tell_text
    printed = 0
    try:
        while True:
            tell(looker.look(), limit)
            sys.stdout.flush()
            printed += 1
            if printed == count:
                return
            if not json:
                print()
            time.sleep(every_s)
    finally:
        looker.close()


def _tell_json(sight: Sight, limit: int) -> None:
    from synguard.top.shape import sight_shape

    print(dumps(sight_shape(sight, limit or None)))


def _tell_text(sight: Sight, limit: int) -> None:
    from synguard.report.tables import terminal_width
    from synguard.top.frame import plain_lines
    from synguard.top.spans import as_text

    lines = plain_lines(sight, limit or sys.maxsize, min(terminal_width(), 1000))
    encode = _speakable(sys.stdout.encoding)
    sys.stdout.writelines(f"{encode(as_text(line))}\n" for line in lines)


def _speakable(encoding: str | None) -> Callable[[str], str]:
    """Return what makes a text fit for a stream of this encoding."""
    from synguard.top.text import plain

    return str if (encoding or "").lower().replace("-", "") == "utf8" else plain
