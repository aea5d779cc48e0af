"""What ``flush`` puts back beside the kernel's rules: the operator's own values of sysctls."""

from __future__ import annotations

from synguard.enforcer.sysctl import SYN_COOKIES, Settings, Sysctl
from synguard.enforcer.sysctl_note import SysctlNoteFile, note_directories
from synguard.policy.models import Config


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
