"""Legacy xtables through python-iptables; the only module that imports it, and only when first used.

What to know of python-iptables 1.x:

- Importing it loads C libraries, which it has ``ctypes`` look for by running ldconfig, gcc and ld: see `c_libraries`.
  Where they are missing it fails in many ways.
- ``XtablesTable`` objects are cached per process and hold a copy of the table: every use here begins with ``refresh``.
- ``Rule.tables``, asked for each target, opens *every* table, which makes the kernel create ``nat`` and with it
  connection tracking. Our rules know one table only.
- Reading parameters back (``Match.final_check``, ``Chain.append_rule``) redirects the process's stdout for a moment.
  Rules are therefore appended as finished buffers and read as raw entries, which is also fifty times faster.
- It has no method to delete a rule by its number; libiptc has.
- It declares option tables as they were before iptables 1.8.11: see `option_entries`.
"""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from synguard.capabilities import FOR_RULES, how_to_get
from synguard.enforcer.iptables.c_libraries import found_by_loader
from synguard.enforcer.iptables.option_entries import adapt
from synguard.enforcer.iptables.rules import Rule, XtablesTable
from synguard.enforcer.names import CHAIN_LIMIT, COMMENT_LIMIT, Family
from synguard.errors import ChangedUnderneathError, NotPermittedError, PlaneError, PlaneUnavailableError
from synguard.programs import PLACES

_MATCH_HEADER: Final = 32
"""``struct xt_entry_match``: u16 size, 29 bytes of name, u8 revision."""


class XtablesEntry(NamedTuple):
    """One rule as read back."""

    comment: str
    target: str


def existing_tables(family: Family) -> frozenset[str]:
    """Return the legacy tables that this network namespace has; asking for another one would create it.

    Source: ``/proc/net/ip_tables_names``, readable by root, absent where the kernel has no legacy xtables loaded.
    """
    name = "ip_tables_names" if family == 4 else "ip6_tables_names"
    try:
        with open(f"/proc/thread-self/net/{name}", "rb", buffering=0) as tables:
            return frozenset(tables.read().decode("ascii").split())
    except FileNotFoundError:
        return frozenset()
    except PermissionError as error:
        raise NotPermittedError(f"Reading /proc/net/{name} is not permitted: {how_to_get(FOR_RULES)}.") from error
    except OSError as error:
        raise PlaneError(f"reading /proc/net/{name}", error.strerror or str(error)) from error


def families_here() -> tuple[Family, ...]:
    """Return the address families that this host speaks; without IPv6 there are no IPv6 tables to fill."""
    return (4, 6) if os.path.exists("/proc/thread-self/net/if_inet6") else (4,)


@cache
def _iptc() -> Any:
    """Return the imported library.

    Raises:
        PlaneUnavailableError: It or the C libraries that it loads are missing.
    """
    os.environ["PATH"] = PLACES  # what it runs all the same, it runs as root, from the caller's PATH
    try:
        with _no_distutils(), found_by_loader(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in the library's own text; shown from Python 3.12 on
            import iptc
            import iptc.xtables

        adapt(sys.modules["iptc.xtables"])
    except PlaneUnavailableError:
        raise
    except Exception as error:  # the library fails with whatever its ctypes calls raise
        raise PlaneUnavailableError(
            "loading python-iptables",
            f"{error}; install the packages iptables and libxtables-dev, or set plane = nftables",
        ) from error
    return iptc


@contextmanager
def _no_distutils() -> Iterator[None]:
    """Have the library do without distutils, as it does from Python 3.12 on.

    Where setuptools stands in for it, importing the one function that is wanted of it takes longer than the library.
    """
    if "distutils" in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules["distutils"] = None
    try:
        yield
    finally:
        del modules["distutils"]


@cache
def _rule_class(family: Family) -> Any:
    """Return a class of rules that know the one table they are for, as ``tables``."""
    iptc = _iptc()
    base: Any = iptc.Rule if family == 4 else iptc.Rule6
    return type("OneTableRule", (base,), {"tables": ()})


class XTable:
    """One table's copy in this process: ``refresh``, edit, ``commit``. Not for two threads at once."""

    def __init__(self, table: XtablesTable) -> None:
        self.table = table
        iptc = _iptc()
        with self._translated("opening"):
            self._table = (iptc.Table if table.family == 4 else iptc.Table6)(table.name, autocommit=False)
            self._table.refresh()

    def has_chain(self, chain: str) -> bool:
        """Return whether the chain exists."""
        return bool(self._table.is_chain(chain))

    def chains(self) -> list[str]:
        """Return the names of all chains, built-in ones included."""
        return [chain.name for chain in self._table.chains]

    def create_chain(self, chain: str) -> None:
        """Create an empty chain."""
        if len(chain) > CHAIN_LIMIT:
            raise ValueError(f"chain name {chain} is longer than {CHAIN_LIMIT}")
        with self._translated("creating a chain in"):
            self._table.create_chain(chain)

    def delete_chain(self, chain: str) -> None:
        """Delete an empty chain that nothing jumps to."""
        with self._translated("deleting a chain from"):
            self._table.delete_chain(chain)

    def entries(self, chain: str) -> list[XtablesEntry]:
        """Return the chain's rules in order; none for a chain that is not there."""
        if not self.has_chain(chain):
            return []
        return list(self._walk(chain))

    def insert(self, chain: str, position: int, rule: Rule) -> None:
        """Put a rule before the one at ``position``, counted from 0; at the end if there is none."""
        with self._translated("adding a rule to"):
            self._table.insert_entry(chain, self._buffer(rule), position)

    def try_rule(self, rule: Rule) -> None:
        """Return if the library can build such a rule; it goes nowhere.

        Raises:
            PlaneUnavailableError: It cannot.
        """
        try:
            with self._translated("building a rule for"):
                self._buffer(rule)
        except PlaneError as error:
            raise PlaneUnavailableError(
                error.action, f"{error.detail}; this python-iptables does not fit the installed iptables"
            ) from error

    def delete(self, chain: str, position: int) -> None:
        """Delete the rule at ``position``, counted from 0."""
        with self._translated("deleting a rule from"):
            library = self._table._iptc  # the wrapper exposes no delete by number
            done = library.iptc_delete_num_entry(chain.encode(), ctypes.c_uint(position), self._table._handle)
            if done != 1:
                raise _iptc().IPTCError(f"rule {position + 1} of {chain}: {self._table.strerror()}")

    def commit(self) -> None:
        """Write the whole table back.

        Raises:
            ChangedUnderneathError: It has another number of rules than at ``refresh`` and nothing is written, or
                (EINVAL) it got another one after it was written and before the kernel was told its counters.
        """
        try:
            with self._translated("committing"):
                self._table.commit()
        except PlaneError as error:
            if "Invalid argument" not in str(error):
                raise
            raise ChangedUnderneathError(error.action, error.detail) from error

    def _walk(self, chain: str) -> Iterator[XtablesEntry]:
        entry = self._table.first_rule(chain)
        while entry:
            target = (self._table.get_target(entry) or b"").decode(errors="replace")
            yield XtablesEntry(_comment_of(entry), target)
            entry = self._table.next_rule(entry)

    def _buffer(self, rule: Rule) -> Any:
        if len(rule.comment) > COMMENT_LIMIT:
            raise ValueError(f"comment longer than {COMMENT_LIMIT}: {rule.comment}")
        built = _rule_class(self.table.family)()
        built.tables = (self._table,)
        if rule.tcp:
            built.protocol = "tcp"
        if rule.syn:
            built.create_match("tcp").set_parameter("tcp-flags", ["SYN,RST,ACK,FIN", "SYN"])
        built.create_match("comment").set_parameter("comment", rule.comment)
        if rule.match_set is not None:
            built.create_match("set").set_parameter("match-set", list(rule.match_set))
        target = built.create_target(rule.target)
        if rule.reject_with is not None:
            target.set_parameter("reject-with", rule.reject_with)
        return built.rule

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        iptc = _iptc()
        try:
            yield
        except (iptc.IPTCError, iptc.XTablesError, ValueError, AttributeError, OSError) as error:
            raise _translate(f"{doing} {self.table}", str(error)) from error


def _comment_of(entry: Any) -> str:
    """Return the text of the entry's first comment match, or nothing.

    Layout: ``ipt_entry | xt_entry_match + data, … | xt_entry_target``; a comment's data is 256 bytes, NUL-ended.
    """
    raw = ctypes.string_at(ctypes.addressof(entry), entry.target_offset)
    offset = ctypes.sizeof(type(entry))
    while offset + _MATCH_HEADER <= len(raw):
        size = int.from_bytes(raw[offset : offset + 2], sys.byteorder)
        if size < _MATCH_HEADER:
            break
        if raw[offset + 2 : offset + 31].split(b"\0", 1)[0] == b"comment":
            text = raw[offset + _MATCH_HEADER : offset + size].split(b"\0", 1)[0]
            return text.decode(errors="replace")
        offset += size
    return ""


def loading(modules: str, otherwise: str = "set plane to auto or nftables", root: Path = Path("/lib/modules")) -> str:
    """Return what an operator can do about missing modules: load them where this kernel comes with them."""
    first = modules.split()[0]
    if any((root / os.uname().release).rglob(f"{first}.ko*")):
        return f"load what is missing: modprobe {modules}"
    return f"this kernel was built without it: {otherwise}"


def _translate(action: str, detail: str) -> Exception:
    """Return the error an operator understands; python-iptables prints C strings as ``b'…'``."""
    words = detail.replace("b'", "").rstrip("'").replace('b"', "").rstrip('"')
    if "temporarily unavailable" in words:
        return ChangedUnderneathError(action, words)
    if "Permission denied" in words or "not permitted" in words:
        return NotPermittedError(
            f"The kernel does not let this process use xtables ({words}): it needs CAP_NET_ADMIN and CAP_NET_RAW."
        )
    if "do you need to insmod" in words or "not available" in words or "not supported" in words:
        advice = loading("ip_tables ip6_tables")
        return PlaneUnavailableError(action, f"{words}: the kernel has no legacy xtables; {advice}")
    return PlaneError(action, words)
