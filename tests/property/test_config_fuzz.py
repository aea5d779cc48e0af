"""Whatever a file holds, loading it gives a config, a pack, or one ConfigError that says where."""

from __future__ import annotations

import string
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from synguard.errors import ConfigError
from synguard.policy.files import packs_directory
from synguard.policy.load import load_config, load_file, load_pack, load_policies
from synguard.policy.models import Config, Pack
from synguard.policy.show import show_policies, toml_value
from synguard.policy.warnings import policy_warnings
from tests.support.config_text import show_config


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def keys_of(model: type[BaseModel]) -> set[str]:
    """Every key that stands anywhere in a model."""
    found = set(model.model_fields)
    for field in model.model_fields.values():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= keys_of(inner)
    return found


KEYS = sorted(keys_of(Config) | keys_of(Pack) | keys_of(Pack.model_fields["policy"].annotation.__args__[0]))  # type: ignore[union-attr]
WORDS = st.sampled_from(
    ["", "default", "web", "any", "80,443", "1-99999", "10s", "1h30m", "0ms", "-5s", "drop", "new", "enforce", "nope",
     "192.0.2.1", "10.0.0.0/8", "10.1.1.1/8", "::ffff:1.2.3.4/120", "../x.toml", "\0", "/dev/zero", "é\u007f\"\\"]
)  # fmt: skip
SCALARS = (
    st.integers(-(2**70), 2**70) | st.sampled_from([0, 1, 8, 24, 32, 64]) | st.floats() | st.booleans() | WORDS
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)  # fmt: skip
INNER_KEYS = st.sampled_from(KEYS) | st.text("ab.", max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text("ab.", max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)


def inline(value: Any) -> str:
    """Any value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_value(key)} = {inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return toml_value(value)


def as_toml(document: dict[str, Any]) -> str:
    return "".join(f"{key} = {inline(value)}\n" for key, value in document.items())


def assert_loads_or_tells(load: Callable[[Path], Any], path: Path) -> Any:
    problems: tuple[str, ...] = ()
    loaded = None
    try:
        loaded = load(path)
    except ConfigError as error:
        problems = error.problems
    assert (loaded is None) == bool(problems)
    assert all(problem.startswith(str(path)) and len(problem) < 700 for problem in problems)
    assert all(problem.isprintable() for problem in problems)
    return loaded


@given(st.binary(max_size=300) | st.text(string.printable, max_size=300).map(str.encode))
def test_any_bytes_load_or_are_told(directory: Path, data: bytes) -> None:
    path = directory / "bytes.toml"
    path.write_bytes(data)
    assert_loads_or_tells(load_file, path)


@settings(max_examples=300)
@given(DOCUMENTS)
def test_any_config_loads_or_every_fault_is_told_and_what_loads_is_shown_to_load_back(
    directory: Path, document: dict[str, Any]
) -> None:
    path = directory / "config.toml"
    path.write_text(as_toml(document), encoding="utf-8")
    config = assert_loads_or_tells(load_config, path)
    if config is not None:
        path.write_text(show_config(config), encoding="utf-8")
        assert load_config(path) == config
        with suppress(ConfigError):
            load_policies(config, directory)


@settings(max_examples=300)
@given(st.lists(DOCUMENTS, max_size=3))
def test_any_pack_loads_or_every_fault_is_told_and_what_loads_is_shown_to_load_back(
    directory: Path, documents: list[dict[str, Any]]
) -> None:
    path = directory / "pack.toml"
    named = [{"name": f"p{index}"} | document for index, document in enumerate(documents)]
    path.write_text("".join(f"[[policy]]\n{as_toml(one)}" for one in named), encoding="utf-8")
    pack = assert_loads_or_tells(load_pack, path)
    if pack is not None:
        policy_warnings(pack.policy, Config())
        path.write_text(show_policies(pack.policy), encoding="utf-8")
        assert load_pack(path) == pack


PACKS = [path.read_text(encoding="utf-8") for path in sorted(packs_directory().glob("*.toml"))]


@settings(max_examples=200)
@given(st.sampled_from(PACKS), st.data())
def test_a_pack_with_one_slip_of_the_hand_loads_or_is_told(directory: Path, text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text)))
    gone = data.draw(st.integers(0, 5))
    added = data.draw(st.text('="[]{}.,#\n-0a\\ ', max_size=3))
    path = directory / "slip.toml"
    path.write_text(text[:place] + added + text[place + gone :], encoding="utf-8")
    assert_loads_or_tells(load_pack, path)
