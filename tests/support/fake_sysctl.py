"""Kernel settings in memory, which count what is done to them and can refuse."""

from __future__ import annotations

from synguard.enforcer.sysctl import SYN_COOKIES, TCP_TIMESTAMPS
from synguard.errors import PlaneError


class FakeSysctl:
    """SYN cookies and timestamps on, as on most hosts; a test sets ``cookies`` as an operator would."""

    def __init__(self, cookies: int = 1, timestamps: int = 1) -> None:
        self.values = {SYN_COOKIES: cookies, TCP_TIMESTAMPS: timestamps}
        self.refusal = ""
        """The kernel's words for every write; empty while it takes them."""
        self.tries = 0
        """Writes tried, taken or not."""

    @property
    def cookies(self) -> int:
        """SYN cookies."""
        return self.values[SYN_COOKIES]

    @cookies.setter
    def cookies(self, value: int) -> None:
        self.values[SYN_COOKIES] = value

    def read(self, name: str) -> int:
        """Return the value."""
        return self.values[name]

    def write(self, name: str, value: int) -> None:
        """Set the value."""
        self.tries += 1
        if self.refusal:
            raise PlaneError(f"setting {name} to {value}", self.refusal)
        assert name in self.values
        self.values[name] = value
