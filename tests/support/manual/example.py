"""The example config, from the models: every key with what it is, its default commented out, its values and bounds.

``make man`` writes it; ``synguard policy example`` prints what was written.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from tests.support.manual.keys import Key, Table, config_tables

_HEAD: Final = """\
# The configuration of synguard: /etc/synguard/synguard.toml
#
# Every key is optional; what is commented out is the default. A line that begins with "#" and a key can be
# uncommented as it stands. Durations are text with a unit: "250ms", "30s", "10m", "1h30m", "7d". Paths are relative
# to this file. After a change:
#
#   synguard policy show            every value in effect, or every fault of this file
#   systemctl reload synguard       a file with a fault changes nothing
#
# As it is, synguard is in dry-run: it says whom it would ban, and bans nobody. Read `synguard report` for a day, then
# `synguard enable --confirm-within 5m`. What every key means: synguard.toml(5).
"""

_HINTS: Final = {
    "policies": 'A web server with SSH: ["bastion", "web", "default"]',
    "addresses": 'Load balancers, monitoring, backup: ["192.0.2.10", "2001:db8:5::/48"]',
    "files": 'Beside this file: ["allow.txt"]; an example is allow.txt.example',
}
"""Key → an example of a value, for keys whose default tells too little."""

_WIDTH: Final = 110

ALLOW_LIST: Final = """\
# Who is never banned: one address or prefix a line, "#" begins a comment. To use it, name it in synguard.toml:
#
#   [allow]
#   files = ["allow.txt"]
#
# It is read again within seconds of a change. If it cannot be read, automatic bans stop, and `synguard status` says so.
# This host's own addresses, gateways, resolvers and people logged in over SSH need not be listed.
#
# 192.0.2.10          # load balancer
# 198.51.100.0/24     # monitoring
# 2001:db8:7::/48     # the office
"""
"""The example of an allow-list file."""


def example() -> str:
    """Return the example config as TOML."""
    return "\n".join([_HEAD, *(line for table in config_tables() for line in _table(table))])


def uncommented(text: str) -> str:
    """Return an example with every key in force: what an operator gets who uncomments each one."""
    tables = config_tables()
    keys = {key.name for table in tables for key in table.keys}
    lines = (
        line.removeprefix("#") if line.startswith("#") and _key_of(line) in keys else line for line in text.splitlines()
    )
    return "\n".join(lines) + "\n"


def _key_of(line: str) -> str:
    name, equals, _ = line[1:].partition(" = ")
    return name if equals else ""


def _table(table: Table) -> Iterator[str]:
    if table.name:
        yield from (_rule(table.name), *_comment(table.about), f"[{table.name}]", "")
    for key in table.keys:
        yield from _key(key)


def _rule(name: str) -> str:
    return f"# --- {name} ".ljust(_WIDTH, "-") + "\n#"


def _key(key: Key) -> Iterator[str]:
    yield from _comment(key.sentence)
    yield from _comment(f"Values: {key.values}.")
    if key.name in _HINTS:
        yield from _comment(_HINTS[key.name])
    yield from (f"#{key.name} = {key.default}" if key.default else f"# {key.name} = ...       (no default)", "")


def _comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
