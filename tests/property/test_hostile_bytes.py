"""Every reader of bytes that others choose, by its seeds, their slips, and what once broke it; see ``make fuzz``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.guard import Guard, ViolationError
from tests.fuzz.targets import TARGETS

REGRESSIONS = Path(__file__).parents[1] / "fuzz/regressions"
KNOWN = sorted(path for path in REGRESSIONS.glob("*/*"))


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def guard(home: Path) -> Guard:
    return Guard(home)


def read(name: str, data: bytes, guard: Guard, home: Path) -> None:
    target = TARGETS[name]
    with guard.watching(), suppress(*target.allowed):
        target.read(data, home)


@pytest.mark.parametrize("path", KNOWN, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_broke_a_reader_once_breaks_it_no_more(path: Path, guard: Guard, home: Path) -> None:
    read(path.parent.name, path.read_bytes(), guard, home)


def test_what_broke_readers_once_is_there() -> None:
    assert {path.parent.name for path in KNOWN} <= TARGETS.keys()
    assert KNOWN


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_well_formed_is_read_without_a_complaint(name: str, guard: Guard, home: Path) -> None:
    """Else a fuzzer would start from refusals and never come far."""
    first, *_ = TARGETS[name].seeds()
    with guard.watching():
        TARGETS[name].read(first, home)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_slips_of_what_is_well_formed_get_a_documented_answer(
    name: str, guard: Guard, home: Path, data: st.DataObject
) -> None:
    whole = data.draw(st.sampled_from(TARGETS[name].seeds()))
    at = data.draw(st.integers(0, len(whole)))
    gone, added = data.draw(st.integers(0, 8)), data.draw(st.binary(max_size=8))
    read(name, whole[:at] + added + whole[at + gone :], guard, home)


@pytest.mark.parametrize(
    "do",
    [
        lambda home: (home.parent / "planted").write_text("x"),
        lambda home: (home / "x").rename(home.parent / "x"),
        lambda home: (home / "link").symlink_to("/etc/passwd") or (home / "link").open("a"),
        lambda home: bytearray(3 << 30),
        lambda home: __import__("subprocess").run(["true"]),
    ],
    ids=["write", "rename", "through a link", "memory", "program"],
)  # fmt: skip
def test_the_guard_sees_what_no_input_may_do(do: object, guard: Guard, home: Path) -> None:
    (home / "x").write_text("x")
    (home / "link").unlink(missing_ok=True)
    with pytest.raises(ViolationError), guard.watching():
        do(home)  # type: ignore[operator]
    assert not (home.parent / "planted").exists()
