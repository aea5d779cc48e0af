"""What ``flush`` puts back beside the kernel's rules: the operator's own values of sysctls."""

from __future__ import annotations

from contextlib import ExitStack

from synguard.enforcer.sysctl import SYN_COOKIES, TCP_TIMESTAMPS, Settings, Sysctl
from synguard.enforcer.sysctl_note import SysctlNoteFile, note_directories
from synguard.policy.models import Config


def put_back_all(config: Config, put_back: dict[str, int]) -> None:
    """Put back every sysctl that an agent holds changed, and enter it in ``put_back``; one failing stops none.

    Raises:
        PlaneError: The kernel refused one.
        LedgerError: A note could not be removed.
    """
    with ExitStack() as tries:
        for name in (TCP_TIMESTAMPS, SYN_COOKIES):
            tries.callback(_enter, config, name, put_back)


def _enter(config: Config, name: str, put_back: dict[str, int]) -> None:
    value = put_back_left_over(config, name=name)
    if value is not None:
        put_back[name] = value


def put_back_left_over(config: Config, settings: Settings | None = None, name: str = SYN_COOKIES) -> int | None:
    """Put back the value that an agent, running or killed, holds changed; return it, or None where none does.

    Raises:
        PlaneError: The kernel refused.
        LedgerError: The note of it could not be removed.
    """
    kernel, notes = settings or Sysctl(), SysctlNoteFile(note_directories(config), name)
    note = notes.read()
    if note is None:
        return None
    ours = kernel.read(name) == note.made
    if ours:
        kernel.write(name, note.before)
    notes.remove()
    return note.before if ours else None
