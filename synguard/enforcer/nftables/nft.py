"""The ``nft`` tool: one process and one transaction per script, its own words in every error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from synguard.enforcer.script import run_script
from synguard.errors import ChangedUnderneathError, NotPermittedError, PlaneError, PlaneUnavailableError
from synguard.programs import find_tool

TIMEOUT_S: Final = 60.0
"""For one process; 100,000 elements are written in a second or two and listed in three to five."""

_ERROR: Final = re.compile(
    r"^(?:\S+?:(\d+):(\d+)-(\d+): )?(?:netlink: )?Error: (?:Could not process rule: )?(.*)$", re.M
)
_QUOTED: Final = 120
"""Characters of a refused line that an error repeats."""
_SHIFTED: Final = ("No such file or directory", "File exists", "Interrupted system call", "Resource temporarily")
"""ENOENT, EEXIST, EINTR and ERESTART, EAGAIN: the table is not as it was when the script was written."""


class NftFailedError(Exception):
    """The tool ended with an error: ``detail`` is its first complaint, ``refused`` what of the script it points at."""

    def __init__(self, detail: str, refused: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.refused = refused

    @property
    def absent(self) -> bool:
        """Whether something that was named is not there."""
        return "No such file or directory" in self.detail


def commit(lines: Sequence[str], doing: str) -> None:
    """Carry out all lines in one transaction, or none of them; no lines, no call.

    Raises:
        ChangedUnderneathError: Something named is gone, or something new is there already.
        PlaneError: A line was refused; nothing has been changed.
    """
    if not lines:
        return
    try:
        run(["-f", "-"], lines)
    except NftFailedError as error:
        refused = f' at "{error.refused}"' if error.refused else ""
        if any(words in error.detail for words in _SHIFTED):
            raise ChangedUnderneathError(f"{doing}{refused}", error.detail) from error
        raise PlaneError(f"{doing}{refused}", error.detail) from error


def run(arguments: Sequence[str], lines: Sequence[str] = ()) -> str:
    """Return what the tool prints, numbers as numbers.

    Raises:
        NftFailedError: It complained.
        PlaneUnavailableError: There is no tool, or the kernel has no nf_tables.
        NotPermittedError: The kernel refuses this process.
        PlaneError: It could not be run to its end.
    """
    tool = find_tool("nft")
    if tool is None:
        raise PlaneUnavailableError("looking for nft", "it is not installed: install the package nftables")
    done = run_script([tool, "-n", *arguments], lines, TIMEOUT_S, "running nft")
    if done.returncode != 0:
        raise failure(done.stderr.strip() or f"exit code {done.returncode}", lines)
    return done.stdout


def has_flowtables() -> bool:
    """Return whether anybody on this host offloads flows; no where that cannot be asked."""
    try:
        return "flowtable" in run(["list", "flowtables"])
    except (NftFailedError, NotPermittedError, PlaneError):
        return False


def failure(words: str, lines: Sequence[str] = ()) -> Exception:
    """Return the error that the tool's words stand for; ``lines`` is the script that they speak of. Sample::

    /dev/stdin:1:46-52: Error: Could not process rule: No such file or directory
    delete element inet synguard new-drop-4-24 { 192.0.2.0 }
                                                 ^^^^^^^^^
    """
    match = _ERROR.search(words)
    detail = (match[4] if match else words.replace("\n", "; "))[:200]
    if "not permitted" in words:
        return NotPermittedError(
            f"The kernel does not let this process use nf_tables ({detail}): it needs CAP_NET_ADMIN."
        )
    if "cache initialization failed" in words or "not supported" in words:
        return PlaneUnavailableError(
            "asking the kernel for nf_tables", f"{detail}; load nf_tables, or use a kernel that has it"
        )
    return NftFailedError(detail, _refused(match, lines))


def _refused(match: re.Match[str] | None, lines: Sequence[str]) -> str:
    number = int(match[1] or 0) if match else 0
    if match is None or not 0 < number <= len(lines):
        return ""
    line = lines[number - 1]
    pointed = line[int(match[2]) - 1 : int(match[3])]
    command = line.split("{", 1)[0].strip()
    return (command if pointed in command else f"{command} {{ {pointed} }}")[:_QUOTED]
