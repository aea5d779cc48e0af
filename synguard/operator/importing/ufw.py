"""ufw: ``user.rules`` and ``user6.rules``; or their directory, /etc/ufw.

Sample: ``### tuple ### deny any any 0.0.0.0/0 any 203.0.113.5 in comment=7370616d``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from synguard.errors import UsageError
from synguard.operator.importing.plan import ImportPlan
from synguard.operator.lists import text_of

FILES: Final = ("user.rules", "user6.rules")
_TUPLE: Final = "### tuple ### "
_ANYWHERE: Final = ("0.0.0.0/0", "::/0")


def read(path: Path, plan: ImportPlan, _now: float) -> None:
    """Fill the plan from one of the files.

    Raises:
        UsageError: It has no rules of ufw, or cannot be read.
        NotPermittedError: This user may not read it.
    """
    text = text_of(path)
    if "ufw" not in text:
        raise UsageError(f"{path} has no rules of ufw")
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(_TUPLE):
            _rule(f"{path}:{number}", line.removeprefix(_TUPLE).strip(), plan)


def _rule(where: str, rule: str, plan: ImportPlan) -> None:
    words = rule.split()
    try:
        action, proto, dport, dst, sport, src, way = words[:7]
    except ValueError:
        plan.leave(where, rule, "it is for an application or an interface")
        return
    comment = next((_comment(word) for word in words[7:] if word.startswith("comment=")), "")
    if src in _ANYWHERE:
        plan.leave(where, rule, "it is for everybody: which ports are open is your firewall's business")
    elif dst not in _ANYWHERE or sport != "any" or way != "in":
        plan.leave(where, rule, "only rules for what comes from an address, to any of this host's, have a counterpart")
    elif action == "allow" and (proto, dport) == ("any", "any"):
        plan.allow_word(where, src, comment)
    elif action in ("deny", "reject") and (dport == "any" or proto == "tcp"):
        plan.ban_at_ports(where, src, dport.replace(":", "-"), comment)
    else:
        plan.leave(where, rule, "it has no counterpart: an allow-list is for all ports, and limits are policies")


def _comment(word: str) -> str:
    try:
        return bytes.fromhex(word.partition("=")[2]).decode("utf-8", "replace")
    except ValueError:
        return ""
