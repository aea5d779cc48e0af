"""What ``flush`` puts back beside the kernel's rules: the operator's own value of ``tcp_syncookies``."""

from __future__ import annotations

from synguard.enforcer.syn_cookies_note import CookieNoteFile, note_directories
from synguard.enforcer.sysctl import SYN_COOKIES, Settings, Sysctl
from synguard.policy.models import Config


def put_back_left_over(config: Config, settings: Settings | None = None) -> int | None:
    """Put back the value that an agent, running or killed, holds changed; return it, or None where none does.

    Raises:
        PlaneError: The kernel refused.
        LedgerError: The note of it could not be removed.
    """
    kernel, notes = settings or Sysctl(), CookieNoteFile(note_directories(config))
    note = notes.read()
    if note is None:
        return None
    ours = kernel.read(SYN_COOKIES) == note.made
    if ours:
        kernel.write(SYN_COOKIES, note.before)
    notes.remove()
    return note.before if ours else None
