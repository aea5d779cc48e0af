"""What the Debian package pins: every library that we need, in a version that we take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PINS = {
    name.lower().replace("_", "-"): version
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (Path(__file__).parents[2] / ".ci/deb/constraints.txt").read_text("utf-8"), re.MULTILINE
    )
}


def needed(of: str, seen: set[str], extra: str = "") -> Iterator[Requirement]:
    """What a library needs on this platform, and what that needs."""
    for requirement in map(Requirement, requires(of) or ()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        yield requirement
        if requirement.name not in seen:
            seen.add(requirement.name)
            yield from needed(requirement.name, seen)


NEEDED = list(needed("synguard", set(), extra="notify"))
"""The package carries the library for mail and chat too: nothing can be added to it afterwards."""


@pytest.mark.parametrize("requirement", NEEDED, ids=str)
def test_the_pin_fits(requirement: Requirement) -> None:
    name = requirement.name.lower().replace("_", "-")
    assert name in PINS, "run: make deb-lock"
    assert requirement.specifier.contains(PINS[name], prereleases=True), "run: make deb-lock"


def test_nothing_else_is_pinned() -> None:
    assert {requirement.name.lower().replace("_", "-") for requirement in NEEDED} == set(PINS), "run: make deb-lock"
