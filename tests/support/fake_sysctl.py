"""Kernel settings in memory, which count what is done to them and can refuse."""

from __future__ import annotations

from synguard.enforcer.sysctl import SYN_COOKIES
from synguard.errors import PlaneError


class FakeSysctl:
    """SYN cookies on, as on most hosts; a test sets ``cookies`` as an operator would."""

    def __init__(self, cookies: int = 1) -> None:
        self.cookies = cookies
        self.refusal = ""
        """The kernel's words for every write; empty while it takes them."""
        self.tries = 0
        """Writes tried, taken or not."""

    def read(self, name: str) -> int:
        """Return the value."""
        assert name == SYN_COOKIES
        return self.cookies

    def write(self, name: str, value: int) -> None:
        """Set the value."""
        assert name == SYN_COOKIES
        self.tries += 1
        if self.refusal:
            raise PlaneError(f"setting {name} to {value}", self.refusal)
        self.cookies = value
