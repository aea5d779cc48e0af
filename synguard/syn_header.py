"""One exact header of SYNs: what a ban of one header drops, as a value and as text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SynHeader:
    """One exact header of SYNs: what tools that forge sources send again and again."""

    ttl: tuple[int, int]
    """The lowest and the highest time to live, both included."""
    window: int
    mss: int
    """0 where the option is missing."""
    options: int
    """The layout of the TCP options as a 32-bit hash of their kinds in order; 0 for none."""
    length: int
    """Bytes of the whole IP packet."""

    def __str__(self) -> str:
        return (
            f"ttl {self.ttl[0]}-{self.ttl[1]} window {self.window} mss {self.mss} "
            f"options {self.options:08x} length {self.length}"
        )

    @classmethod
    def parse(cls, text: str) -> SynHeader:
        """Return the header that ``str`` wrote.

        Raises:
            ValueError: The text is not one.
        """
        match = _HEADER.fullmatch(text)
        if match is None:
            raise ValueError(f'"{text[:80]}" is not the header of a SYN, like "{cls((40, 64), 512, 0, 0, 40)}"')
        low, high, window, mss, options, length = match.groups()
        return cls((int(low), int(high)), int(window), int(mss), int(options, 16), int(length))


_HEADER: Final = re.compile(
    r"ttl (\d{1,3})-(\d{1,3}) window (\d{1,5}) mss (\d{1,5}) options ([0-9a-f]{8}) length (\d{1,5})"
)
