"""``synguard connections``: connections by state, source or port; one read of the kernel's table."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from synguard.cli import parameter_types
from synguard.cli.context import utcnow
from synguard.cli.options import ConfigFile, Json
from synguard.clock import rfc3339
from synguard.errors import UsageError
from synguard.output.tables import print_json, terminal_width
from synguard.report.connections import ConnectionsQuery, answer, answer_lines, answer_shape
from synguard.report.group_by import By
from synguard.report.socket_names import state_named
from synguard.report.sockets import NETWORKS, SocketView, socket_view
from synguard.sensors.sockets import SocketTables
from synguard.socket_table import TcpState
from synguard.units import parse_ports

if TYPE_CHECKING:
    from synguard.sensors.sockets import SocketTables

SHORTEST_WATCH_S = 0.1


def connections(
    by: Annotated[By | None, typer.Option("--by", help="Group sockets by this.")] = None,
    states: Annotated[
        list[str] | None, typer.Option("--state", metavar="STATE", help="Count only this TCP state; may be repeated.")
    ] = None,
    ports: Annotated[
        list[str] | None, typer.Option("--port", metavar="PORT", help="Count only these local ports: 80,8000-8100.")
    ] = None,
    prefix_length: Annotated[
        str | None,
        typer.Option("--prefix-length", metavar="N[,M]", help="Prefix lengths for --by prefix; default 24,48."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=0, help="Number of rows; 0 for all. Default 20; without --by 5."),
    ] = None,
    listening: Annotated[
        bool, typer.Option("--listening", help="Show listeners, and how full their queues are.")
    ] = False,
    udp: Annotated[bool, typer.Option("--udp", help="Count UDP sockets too.")] = False,
    watch: Annotated[str | None, typer.Option("--watch", metavar="TIME", help="Refresh interval: 1s.")] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show connections by state, source or port: one read of the kernel's table.

    Examples:
      synguard connections                         states, top sources, listeners
      synguard connections --state SYN_RECV        half-open sockets by source
      synguard connections --by prefix --port 80   who is on port 80, by /24 and /48
      synguard connections --by source --state ESTAB --limit 0
      synguard connections --by remote --udp       TCP and UDP, either direction
      synguard connections --listening --watch 1s  queues of what listens

    A source is the far end of a connection to a port that listens here; --by
    remote and --by state count outgoing connections too. States are spelled as
    netstat or ss spell them. Needs no root, but names only your own processes
    without it.
    """
    question = _question(by, states or (), ports or (), prefix_length, limit, listening, udp)
    every_s = None if watch is None else _every(watch)
    with closing(SocketTables()) as sockets:
        if every_s is None:
            _show(sockets, question, json)
        else:
            _watch(sockets, question, json, every_s)


def _question(
    by: By | None,
    states: Iterable[str],
    ports: Iterable[str],
    prefix_length: str | None,
    limit: int | None,
    listening: bool,
    udp: bool,
) -> ConnectionsQuery:
    """Return what was asked.

    Raises:
        UsageError: A word cannot be read, or the words contradict each other.
    """
    wanted = frozenset(_state(word) for word in states)
    ranges = tuple(numbers for word in ports for numbers in _port_ranges(word))
    if wanted == {TcpState.LISTEN} and by is None:
        listening, wanted = True, frozenset()
    if listening and (by or wanted or udp or prefix_length):
        raise UsageError("--listening stands alone or with --port: leave out --by, --state, --udp and --prefix-length")
    if wanted == {TcpState.LISTEN} and by is not By.STATE:
        raise UsageError(f"what listens has no {by}: write --listening instead of --state LISTEN --by {by}")
    if prefix_length and by not in (None, By.PREFIX):
        raise UsageError(f"--prefix-length goes with --by prefix, not with --by {by}")
    if by is By.PROCESS and udp:
        raise UsageError("--by process knows TCP listeners only: leave out --udp")
    if by is None and not listening and (prefix_length or wanted or ranges):
        by = By.PREFIX if prefix_length else By.SOURCE
    lengths = NETWORKS if prefix_length is None else _prefix_lengths(prefix_length, NETWORKS)
    return ConnectionsQuery(by, wanted, ranges, lengths, limit, listening, udp)


def _state(word: str) -> TcpState:
    try:
        return state_named(word)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _every(word: str) -> float:
    seconds = parameter_types.duration(word)
    if seconds < SHORTEST_WATCH_S:
        raise UsageError(f"--watch {word} is too often: {SHORTEST_WATCH_S:g}s at the least")
    return seconds


def _port_ranges(word: str) -> tuple[range, ...]:
    try:
        return parse_ports(word)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _prefix_lengths(word: str, usual: tuple[int, int]) -> tuple[int, int]:
    """Return IPv4 and IPv6 prefix lengths for ``20``, ``56`` (above 32: IPv6) or ``20,56``."""
    parts = [part.strip() for part in word.split(",")]
    if len(parts) <= 2 and all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        numbers = [int(part) for part in parts]
        if len(numbers) == 1:
            numbers = [numbers[0], usual[1]] if numbers[0] <= 32 else [usual[0], numbers[0]]
        if 1 <= numbers[0] <= 32 and 1 <= numbers[1] <= 128:
            return numbers[0], numbers[1]
    raise UsageError(f'"{word[:20]}" is no prefix length: write one for IPv4 (1 to 32), or for IPv4 and IPv6: 24,48')


def _show(sockets: SocketTables, question: ConnectionsQuery, json: bool) -> None:
    """Read once and print the answer."""
    found = answer(question, _read(sockets, question))
    if json:
        print_json(answer_shape(found, utcnow(), sockets.source))
        return
    sys.stdout.writelines(f"{line}\n" for line in answer_lines(found, terminal_width()))
    if sockets.refusal:
        print(f"synguard: read by psutil, which knows no queues: {sockets.refusal}", file=sys.stderr)
    if found.nameless and os.geteuid() != 0:
        print("synguard: the names of other users' processes need root", file=sys.stderr)


def _watch(sockets: SocketTables, question: ConnectionsQuery, json: bool, every_s: float) -> None:
    """Show again and again until Ctrl-C: in place on a terminal, one after the other in a pipe.

    At least as long as one reading took passes before the next, so that watching never takes a whole core.
    """
    try:
        while True:
            began = time.monotonic()
            found, at = answer(question, _read(sockets, question)), utcnow()
            if json:
                print(dumps(answer_shape(found, at, sockets.source)))
            elif sys.stdout.isatty():
                _redraw([rfc3339(at), *answer_lines(found, terminal_width())])
            else:
                sys.stdout.writelines(f"{line}\n" for line in (rfc3339(at), *answer_lines(found, terminal_width()), ""))
            sys.stdout.flush()
            took = time.monotonic() - began
            time.sleep(max(every_s - took, took))
    except KeyboardInterrupt:
        return


def _redraw(lines: Sequence[str]) -> None:
    """Write the lines over what the terminal shows, as many as it has room for."""
    size = shutil.get_terminal_size()
    shown = [line[: size.columns] for line in lines[: size.lines - 1]]
    sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J")


def _read(sockets: SocketTables, question: ConnectionsQuery) -> SocketView:
    now = time.monotonic()
    udp = sockets.udp() if question.udp else None
    return socket_view(sockets.tcp(question.tcp_states), udp, sockets.listeners(now))
