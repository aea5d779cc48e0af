"""ConfigServer Firewall: ``csf.conf``, ``.allow``, ``.ignore``, ``.deny``, ``.tempban``; or their directory.

Samples: ``203.0.113.7 # added by hand - Mon Mar  2``, ``tcp|in|d=22|s=203.0.113.7``,
``1772366400|203.0.113.7||in|3600|lfd - 5 failed logins``, ``CONNLIMIT = "22;5,80;20"``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from synguard.errors import UsageError
from synguard.operator.importing.plan import ImportPlan, Limit, lines_of, settings_of
from synguard.operator.lists import text_of

FILES: Final = ("csf.conf", "csf.allow", "csf.ignore", "csf.deny", "csf.tempban")
_NO_COUNTERPART: Final = {
    "SYNFLOOD": "a rate for all SYNs together refuses clients first; synguard finds the sources",
    "PORTFLOOD": "connections over minutes have no counterpart; limits are of connections, and of their rate a second",
    "LF_SSHD": "failed logins are read from logs: keep fail2ban or sshd's own limits beside synguard",
    "CC_DENY": "countries cannot be imported; ban networks with synguard ban --file",
    "TCP_IN": "which ports are open is your firewall's business; synguard leaves its rules alone",
}


def read(path: Path, plan: ImportPlan, now: float) -> None:
    """Fill the plan from one of csf's files; ``now`` is Unix time.

    Raises:
        UsageError: It is none of them, or cannot be read.
        NotPermittedError: This user may not read it.
    """
    if not path.exists():
        text_of(path)  # which says why
    kind = next((name for name in FILES if path.name.endswith(name.partition(".")[2])), None)
    if kind is None:
        raise UsageError(f"{path}: what is it? its name ends in none of {', '.join(FILES)}")
    if kind == "csf.conf":
        _settings(path, plan)
    elif kind == "csf.tempban":
        _temporary(path, plan, now)
    else:
        _addresses(path, plan, allowed=kind != "csf.deny")


def _addresses(path: Path, plan: ImportPlan, *, allowed: bool) -> None:
    for where, line in lines_of(path):
        word, _, comment = (part.strip() for part in line.partition("#"))
        if word.startswith("Include"):
            plan.leave(where, line, "import that file too")
        elif "|" in word:
            _rule(where, word, comment, plan, allowed=allowed)
        elif allowed:
            plan.allow_word(where, word, comment)
        else:
            plan.ban_word(where, word, comment)


def _rule(where: str, word: str, comment: str, plan: ImportPlan, *, allowed: bool) -> None:
    """Take one of csf's rules for ports: ``tcp|in|d=22,80|s=203.0.113.7``."""
    parts = word.split("|")
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    if allowed:
        plan.leave(where, word, "it allows some ports only, an allow-list all: synguard allow add, if you mean that")
    elif parts[0] != "tcp" or "out" in parts or named.keys() != {"d", "s"}:
        plan.leave(where, word, "only rules for incoming TCP from an address to ports have a counterpart")
    else:
        plan.ban_at_ports(where, named["s"], named["d"].replace("_", "-"), comment)


def _temporary(path: Path, plan: ImportPlan, now: float) -> None:
    for where, line in lines_of(path):
        parts = line.split("|", 5)
        try:
            began, word, ports, way, lasts = float(parts[0]), parts[1], parts[2], parts[3], float(parts[4])
        except (ValueError, IndexError):
            plan.leave(where, line, "it is no line of csf.tempban")
            continue
        left = began + lasts - now
        if left < 1:
            plan.leave(where, word, "it has ended")
        elif "in" not in way:
            plan.leave(where, word, "it is for outgoing connections")
        else:
            closed = tuple(int(port) for port in ports.split(",") if port.isdecimal() and 0 < int(port) < 65536)
            plan.ban_word(where, word, parts[5] if len(parts) > 5 else "", left, closed)


def _settings(path: Path, plan: ImportPlan) -> None:
    found = settings_of(lines_of(path))

    def number(key: str) -> int:
        value = found.get(key, ("", "0"))[1]
        return int(value) if value.isdecimal() else 0

    first_s = None if number("CT_PERMANENT") else float(number("CT_BLOCK_TIME")) or None
    if number("CT_LIMIT"):
        where, value = found["CT_LIMIT"]
        ports = found.get("CT_PORTS", ("", ""))[1].replace(" ", "") or "any"
        plan.limit(Limit(ports, int(value), f"{where}: CT_LIMIT = {value}", first_s))
    if "CONNLIMIT" in found:
        where, value = found["CONNLIMIT"]
        for pair in filter(None, value.replace(" ", "").split(",")):
            port, _, most = pair.partition(";")
            if port.isdecimal() and most.isdecimal() and int(most):
                plan.limit(Limit(port, int(most), f"{where}: CONNLIMIT {pair}", first_s), first=True)
            else:
                plan.leave(where, pair, "it is no PORT;LIMIT")
    for key, why in _NO_COUNTERPART.items():
        if found.get(key, ("", "0"))[1] not in ("", "0"):
            plan.leave(found[key][0], key, why)
