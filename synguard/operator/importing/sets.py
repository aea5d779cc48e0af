"""Sets of addresses: what ``ipset save`` prints, and sets in what ``nft list ruleset`` prints or an .nft file holds.

Samples: ``add bad 203.0.113.7 timeout 60 comment "ssh"``;
``set bad { type ipv4_addr; elements = { 203.0.113.0/24 timeout 1h expires 59m2s, 192.0.2.1-192.0.2.9 } }``.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

from synguard.errors import UsageError
from synguard.operator.importing.plan import ImportPlan, lines_of
from synguard.operator.lists import text_of
from synguard.units import parse_duration

_WORDS: Final = re.compile(r'"([^"\n]*)"|#[^\n]*')
"""What is quoted, and what people and nft itself remark (``size 65535 # count 3``): both may hold braces and commas."""
_SET: Final = re.compile(r"\bset\s+(\S+)\s*\{([^{}]*?)\belements\s*=\s*\{([^{}]*)\}")
_TYPE: Final = re.compile(r"\b(?:type|typeof)\s+([^;\n]+)")
_COMMENT: Final = re.compile(r'comment\s+"(\d+)"')
_EXPIRES: Final = re.compile(r"\b(?:expires|timeout)\s+(\S+)")
_TABLE: Final = re.compile(r"\btable\s+(?:\w+\s+)?(\S+)\s*\{")
_OWN: Final = "synguard"


def read_ipset(path: Path, plan: ImportPlan, _now: float) -> None:
    """Fill the plan from what ``ipset save`` printed.

    Raises:
        UsageError: It is something else, or cannot be read.
        NotPermittedError: This user may not read it.
    """
    lines = lines_of(path)
    if not lines or not lines[0][1].startswith(("create ", "add ")):
        raise UsageError(f"{path} is not what ipset save prints")
    for where, line in lines:
        try:
            words = shlex.split(line)
        except ValueError as error:
            plan.leave(where, line, str(error))
            continue
        if words[0] != "add" or len(words) < 3:
            continue
        options = dict(zip(words[3::2], words[4::2], strict=False))
        timeout = options.get("timeout", "0")
        if words[1].lower().startswith(_OWN):
            plan.leave(where, words[2], f"the set {words[1]} is synguard's own")
        elif "nomatch" in words[3:]:
            plan.leave(where, words[2], "an exception (nomatch): synguard allow add, if you mean it")
        elif "," in words[2]:
            plan.leave(where, words[2], "it names more than an address")
        else:
            lasts = float(timeout) if timeout.isdecimal() and int(timeout) else None
            plan.ban_word(where, words[2], options.get("comment") or f"ipset {words[1]}", lasts)


def read_nft(path: Path, plan: ImportPlan, _now: float) -> None:
    """Fill the plan from the sets of a ruleset.

    Raises:
        UsageError: There is no set with elements in it, or it cannot be read.
        NotPermittedError: This user may not read it.
    """
    quoted: list[str] = []

    def aside(one: re.Match[str]) -> str:
        if one[1] is None:
            return ""
        quoted.append(one[1])
        return f'"{len(quoted) - 1}"'

    text = _WORDS.sub(aside, text_of(path))
    found = list(_SET.finditer(text))
    if not found:
        raise UsageError(f"{path} holds no set with elements, as nft list ruleset prints them")
    tables = [(one.start(), one[1]) for one in _TABLE.finditer(text)]
    for one in found:
        name, head, elements = one.groups()
        table = next((title for at, title in reversed(tables) if at < one.start()), "")
        where = f"{path}: set {name}"
        kind = _TYPE.search(head)
        if table == _OWN:
            plan.leave(where, "all of it", "it is synguard's own")
        elif kind and not re.fullmatch(r"(ipv[46]_addr|ip6? [sd]addr)", kind[1].strip()):
            plan.leave(where, kind[1].strip(), "a set of something else than addresses")
        else:
            for element in filter(None, map(str.strip, elements.split(","))):
                comment = _COMMENT.search(element)
                _element(where, element, quoted[int(comment[1])] if comment else f"nft set {name}", plan)


def _element(where: str, element: str, reason: str, plan: ImportPlan) -> None:
    word = element.split()[0]
    if element.split()[1:2] == ["."]:
        plan.leave(where, element, "it names more than an address")
        return
    ends = _EXPIRES.findall(element)
    try:
        lasts = parse_duration(ends[-1]) if ends and ends[-1] != "never" else None
    except ValueError as error:
        plan.leave(where, element, str(error))
        return
    plan.ban_word(where, word, reason, lasts)
