"""The challenge program's object file: what its source gives, and what the agent takes its maps for."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synguard.enforcer.challenge import layout, libbpf
from synguard.enforcer.challenge.every_map import MAP_NAMES
from synguard.enforcer.challenge.program import OBJECT
from synguard.errors import PlaneUnavailableError

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
        assert maps_of(OBJECT)


def maps_of(path: Path) -> set[tuple[str, str]]:
    """Name and size of each map's description; symbols of the code are the compiler's own affair."""
    told = subprocess.run(["llvm-objdump", "--syms", path], capture_output=True, check=True, text=True).stdout
    return {tuple(line.split()[-2:]) for line in told.splitlines() if " .maps\t" in line}


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


@pytest.mark.parametrize(
    ("structure", "theirs", "names"),
    [
        (
            libbpf._OpenOptions,
            "bpf_object_open_opts",
            "sz object_name relaxed_maps pin_root_path . kconfig btf_custom_path kernel_log_buf kernel_log_size "
            "kernel_log_level",
        ),
        (libbpf._Hook, "bpf_tc_hook", "sz ifindex attach_point parent"),
        (libbpf._TcOptions, "bpf_tc_opts", "sz prog_fd flags prog_id handle priority"),
    ],
)
def test_what_is_given_to_libbpf_is_laid_out_as_its_header_says(
    structure: Any, theirs: str, names: str, tmp_path: Path
) -> None:
    """A field less moved the log buffer: libbpf 1.5 wrote to a length as if it were an address, and the agent died."""
    ours = {
        name: getattr(structure, field[0]).offset
        for name, field in zip(names.split(), structure._fields_, strict=True)
        if name != "."
    }
    place = f"__builtin_offsetof(struct {theirs}, %s) == %s"
    claims = "".join(f"_Static_assert({place % field});" for field in ours.items())
    (tmp_path / "claims.c").write_text(f"#include <stddef.h>\n#include <bpf/libbpf.h>\n{claims}", encoding="ascii")
    check = ["clang", "-std=c2x", "-fsyntax-only", tmp_path / "claims.c"]
    done = subprocess.run(check, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.kernel
def test_a_kernel_that_refuses_the_program_is_quoted(tmp_path: Path) -> None:
    """What the verifier says goes into a buffer of ours, which is freed with the object and no sooner."""
    (tmp_path / "bad.c").write_text(
        "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
        'SEC("tc") int bad(struct __sk_buff *skb) { return *(int *)(long)skb->len; }\n'
        'char _license[] SEC("license") = "GPL";\n',
        encoding="ascii",
    )
    build = ["clang", "-O2", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu", "-c", "bad.c", "-o", "bad.o"]
    subprocess.run(build, check=True, timeout=60, cwd=tmp_path)
    bad = libbpf.ObjectFile(tmp_path / "bad.o")
    with pytest.raises(PlaneUnavailableError, match="invalid mem access"):
        bad.load()
    bad.close()
