"""The firewall rules of this network namespace, whoever wrote them, read within bounds of time and size.

Legacy tables come from ``iptables-legacy-save``, tables of ``iptables-nft`` from ``iptables-nft-save``, all others from
``nft --json``. Our own are left out: they ask for no state, and may be long.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from synguard.enforcer.challenge import rules_fingerprint
from synguard.enforcer.challenge.nft_rules import Key, read_ruleset
from synguard.enforcer.challenge.nft_sets import contents_of, short_sets, with_contents
from synguard.enforcer.challenge.packet_filter import Table
from synguard.enforcer.challenge.saved_rules import read_saved
from synguard.enforcer.iptables.xtables import existing_tables, families_here
from synguard.enforcer.names import CHAIN, Family
from synguard.errors import NotPermittedError, PlaneError
from synguard.programs import find_tool, tool_environment

TIMEOUT_S: Final = 5.0
"""For one program; 20,000 rules are listed in a quarter of a second."""
MOST_BYTES: Final = 1 << 24
"""Of one listing."""
MOST_TABLES: Final = 64
"""Of nf_tables."""

MOST_SETS: Final = 64
"""Sets and maps without addresses of one table; of further ones it is not known what they hold."""

_LOOSE: Final = "netfilter/nf_conntrack_tcp_loose"
OURS: Final[Key] = ("inet", "synguard")


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What the firewall asks of packets."""

    tables: tuple[Table, ...] = ()
    loose: bool = True
    """``nf_conntrack_tcp_loose``: connection tracking takes up connections in the middle."""
    unread: str = ""
    """Why part of it is not known; empty where all is."""


def read_rules(sysctls: Path = Path("/proc/sys/net")) -> Ruleset:
    """Return all rules of this network namespace but our own; some ten milliseconds, in other processes."""
    tables: list[Table] = []
    unread = ""
    for reading in (_legacy, _native):
        try:
            tables += reading()
        except (PlaneError, NotPermittedError) as error:
            unread = unread or str(error)
    return Ruleset(tuple(tables), _is_loose(sysctls), unread)


def _is_loose(sysctls: Path) -> bool:
    try:
        return (sysctls / _LOOSE).read_text(encoding="ascii").strip() != "0"
    except OSError:  # no connection tracking: no rule can ask for its states
        return True


def _legacy() -> Iterator[Table]:
    for family in families_here():
        if existing_tables(family):
            yield from _saved("legacy", family)


def _saved(variant: str, family: Family) -> tuple[Table, ...]:
    stem = "iptables" if family == 4 else "ip6tables"
    text = _output([f"{stem}-{variant}-save"], "iptables")
    return read_saved(text, f"{stem}-{variant}", family, ours=lambda chain: chain.startswith(CHAIN))


def _native() -> Iterator[Table]:
    keys = [key for key in _nft_tables() if key != OURS]
    if len(keys) > MOST_TABLES:
        raise PlaneError("reading nf_tables", f"there are {len(keys)} tables; {MOST_TABLES} can be judged")
    variants: set[Family] = set()
    for key in keys:
        found, written_by_iptables = _listed(key)
        if written_by_iptables:
            variants.add(4 if key[0] == "ip" else 6)
        else:
            yield from found
    for family in sorted(variants):
        yield from _saved("nft", family)


def _listed(key: Key) -> tuple[list[Table], bool]:
    """Return one table, and whether it is to be asked of ``iptables-nft-save``, which shows all its rules."""
    text = _output(["nft", "--json", "--terse", "list", "table", *key], "nftables")
    try:
        named = short_sets(text)[:MOST_SETS]
        if named:
            lists = [_output(["nft", "--json", "list", kind, *key, name], "nftables") for kind, name in named]
            text = with_contents(text, contents_of(lists))
        tables, foreign = read_ruleset(text, OURS)
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise PlaneError("reading nf_tables", f"the listing of table {' '.join(key)} is not understood") from error
    return list(tables.values()), bool(foreign)


def _nft_tables() -> list[Key]:
    """Return family and name of all nf_tables tables."""
    if find_tool("nft") is None:
        if rules_fingerprint.fingerprint(OURS) == rules_fingerprint.NO_RULES:
            return []
        raise PlaneError("reading nf_tables", "there are rules, and no nft to list them: install the package nftables")
    try:
        entries = json.loads(_output(["nft", "--json", "list", "tables"], "nftables"))["nftables"]
        return [(entry["table"]["family"], entry["table"]["name"]) for entry in entries if "table" in entry]
    except (ValueError, KeyError, TypeError) as error:
        raise PlaneError("reading nf_tables", "the list of tables is not understood") from error


def _output(command: Sequence[str], package: str) -> str:
    """Return what a program prints, within `TIMEOUT_S` and `MOST_BYTES`.

    Raises:
        PlaneError: It is missing, fails, takes too long or prints too much.
    """
    name = command[0]
    tool = find_tool(name)
    if tool is None:
        raise PlaneError("reading firewall rules", f"{name} is not installed: install the package {package}")
    doing = f"reading firewall rules with {name}"
    with (
        subprocess.Popen(  # noqa: S603 - a fixed tool, arguments of the kernel's names, no shell
            [tool, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=tool_environment(),
        ) as process
    ):
        timer = threading.Timer(TIMEOUT_S, process.kill)
        timer.start()
        try:
            printed = process.stdout.read(MOST_BYTES + 1) if process.stdout else b""
            if len(printed) > MOST_BYTES:
                process.kill()
                raise PlaneError(doing, f"it prints more than {MOST_BYTES >> 20} MiB")
            code = process.wait()
        finally:
            timer.cancel()
    if code:
        words = f"it did not end within {TIMEOUT_S:g} s" if code < 0 else f"exit code {code}"
        raise PlaneError(doing, words)
    return printed.decode(errors="replace")
