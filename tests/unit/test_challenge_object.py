"""The challenge program's object file: what its source gives, and what the agent takes its maps for."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synguard.enforcer.challenge import layout
from synguard.enforcer.challenge.every_map import MAP_NAMES
from synguard.enforcer.challenge.program import OBJECT

SOURCE = OBJECT.parent
BUILT_WITH = 14
"""Major version of the clang that made the object, Debian 12's; others order instructions differently."""


@cache
def structures() -> dict[str, Any]:
    """Return name → C structure, from the type information that the object carries."""
    told = subprocess.run(
        ["bpftool", "--json", "btf", "dump", "file", str(OBJECT)], capture_output=True, check=True, timeout=20
    )
    return {one["name"]: one for one in json.loads(told.stdout)["types"] if one["kind"] == "STRUCT"}


def test_a_rebuild_gives_the_same_program(tmp_path: Path) -> None:
    rebuilt = tmp_path / "rebuilt.o"
    subprocess.run([SOURCE / "build", rebuilt], check=True, timeout=60)
    version = subprocess.run(["clang", "-dumpversion"], capture_output=True, check=True, text=True).stdout
    if int(version.split(".")[0]) == BUILT_WITH:
        assert rebuilt.read_bytes() == OBJECT.read_bytes(), "the source was changed: run `make bpf`"
    else:
        assert maps_of(rebuilt) == maps_of(OBJECT)


def maps_of(path: Path) -> str:
    return subprocess.run(
        ["llvm-objdump", "--syms", "--section=.maps", path], capture_output=True, check=True, text=True
    ).stdout.partition("SYMBOL TABLE")[2]


@pytest.mark.parametrize("name", sorted(layout.RECORDS))
def test_a_record_is_laid_out_as_the_program_lays_it_out(name: str) -> None:
    record, structure = layout.RECORDS[name], structures()[name]
    assert record.itemsize == structure["size"]
    offsets = {member["name"]: member["bits_offset"] // 8 for member in structure["members"]}
    assert {field: place[1] for field, place in (record.fields or {}).items()} == offsets


def test_every_map_of_the_program_is_known_by_name() -> None:
    told = subprocess.run(
        ["bpftool", "--json", "btf", "dump", "file", str(OBJECT)], capture_output=True, check=True, timeout=20
    )
    [section] = [one for one in json.loads(told.stdout)["types"] if one["kind"] == "DATASEC" and one["name"] == ".maps"]
    names = {one["id"]: one["name"] for one in json.loads(told.stdout)["types"] if one["kind"] == "VAR"}
    assert {names[variable["type_id"]] for variable in section["vars"]} == set(MAP_NAMES)


def test_a_number_stands_for_the_layout_of_all_records() -> None:
    before = layout.layout_number()
    assert before == layout.layout_number()
    changed = layout.RECORDS | {"link": np.dtype([("own_clsact", np.uint64)])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "RECORDS", changed)
        assert layout.layout_number() != before
