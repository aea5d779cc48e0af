"""Imports point one way, and what decides touches nothing outside itself."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "synguard"

LEAVES: dict[str, set[str]] = {
    "errors": set(), "units": set(), "clock": set(), "addresses": {"compact_networks"}, "plain": set(), "memory": set(),
    "columns": set(), "compact_networks": set(), "network_words": {"addresses"}, "netlink": {"errors", "memory"},
    "jsonable": {"addresses", "clock"}, "private": {"errors", "readers"}, "readers": set(), "programs": set(),
    "capabilities": {"errors", "logs"},
}  # fmt: skip
WORDS: dict[str, set[str]] = {
    "syn_header": set(), "ban_order": set(), "incidents": set(), "socket_table": {"columns"},
    "model": {"addresses", "syn_header"}, "readings": {"addresses", "columns", "socket_table"},
    "ban_columns": {"addresses", "columns", "model", "syn_header"},
    "packed_bans": {"addresses", "ban_columns", "columns", "model"},
}  # fmt: skip
LOW = {*LEAVES, *WORDS, "policy"}
HOST = {"sensors", "enforcer", "ledger"}
MAY_IMPORT: dict[str, set[str]] = {
    **LEAVES,
    **WORDS,
    "policy": {*LEAVES, "model"},
    "detector": {"addresses", "columns", "units", *WORDS, "policy"},
    "decision": {"addresses", "columns", "units", *WORDS, "policy", "detector"},
    "recording": {"addresses", "columns", "units", "errors", "readings", "socket_table", "logs", "synguard"},
    "replay": {*LOW, "detector", "decision", "recording"},
    "logs": {"plain"},
    "output": {"plain", "units"},
    "sensors": LOW,
    "enforcer": {*LOW, "logs"},
    "ledger": LOW,
    "notify": {*LOW, "logs"},  # what it tells, the agent hands to it
    "fleet": {*LOW, "ledger", "enforcer", "logs", "status", "synguard"},
    "status": {*LOW, "logs", "output", "detector", "decision", "enforcer"},
    "metrics": {*LOW, "logs", "status", "synguard"},
    "doctor": {*LOW, *HOST, "output", "notify", "fleet", "status"},
    "report": {*LOW, "output", "status", "doctor", "detector", "decision", "recording", "replay", "synguard"},
    "operator": {*LOW, *HOST, "output", "detector"},
    "agent": {
        *LOW, *HOST, "output", "logs", "detector", "decision", "notify", "status", "metrics", "operator", "fleet",
    },
    "top": {*LOW, *HOST, "output", "detector", "status", "report", "operator"},
    "cli": {
        *LOW, *HOST, "output", "logs", "detector", "recording", "replay", "notify", "status", "doctor", "report",
        "operator", "agent", "top", "fleet", "synguard",
    },
    "__main__": {"cli"},
    "synguard": set(),
}  # fmt: skip
"""Package or module of ``synguard`` → what else of ``synguard`` it may import, for type checkers too. ``synguard``
itself is for its version."""

EXCEPTIONS = {"report": {"synguard.ledger.records"}}
"""Single modules beyond that: reports are about the ledger's records; how netlink is asked is written once."""

PURE = {
    *(WORDS.keys() - {"ban_columns"}), "addresses", "columns", "compact_networks", "units", "errors", "detector",
    "decision",
}  # fmt: skip
"""``packed_bans`` draws a number that none may guess, once."""
PURE_MAY_IMPORT = {
    "__future__", "bisect", "collections", "dataclasses", "datetime", "decimal", "enum", "ipaddress", "itertools",
    "array", "math", "numpy", "random", "re", "typing",
}  # fmt: skip
"""``datetime`` and ``random`` for their types: see the test on what is called of them."""

OUTSIDE_CALLS = {"now", "utcnow", "today", "open", "print", "input", "exec", "eval", "__import__"}

ONLY_THERE = {
    "iptc": {"synguard.enforcer.iptables.xtables"},
    "sqlite3": {"synguard.ledger", "synguard.cli.tab", "synguard.operator.importing.fail2ban"},  # Tab: no models
    "psutil": {"synguard.sensors"},
    "typer": {"synguard.cli"},
    "prometheus_client": {"synguard.metrics"},
    "apprise": {"synguard.notify.deliver"},
    "rich": {"synguard.output", "synguard.report", "synguard.cli"},
    "jinja2": {"synguard.report.html"},
    "urllib3": {"synguard.fleet.http"},
}
"""A library → the packages or modules that may know of it."""


@dataclass(frozen=True)
class Import:
    """One import statement's module, wherever in a module it stands."""

    importer: str
    imported: str

    @property
    def package(self) -> str:
        """The importer's package below ``synguard``, or its own name where it is a module there."""
        return part_of(self.importer)


def part_of(module: str) -> str:
    names = module.split(".")
    return names[1] if len(names) > 1 else names[0]


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


@cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    paths = sorted(SOURCE.rglob("*.py"))
    return tuple((module_name(path), ast.parse(path.read_text(encoding="utf-8"), str(path))) for path in paths)


@pytest.fixture(autouse=True, scope="module")
def _forgotten_afterwards() -> Iterator[None]:
    """Let go of the trees: every later collection of garbage in this process would go through their 600,000 nodes."""
    yield
    trees.cache_clear()


def imports_in(name: str, tree: ast.Module) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: imports are written from the top"
            module = node.module or ""
            submodules = [f"{module}.{alias.name}" for alias in node.names if is_module(f"{module}.{alias.name}")]
            yield from (Import(name, imported) for imported in submodules or [module])


@cache
def is_module(name: str) -> bool:
    path = SOURCE.parent.joinpath(*name.split("."))
    return name.startswith("synguard") and (path.with_suffix(".py").exists() or (path / "__init__.py").exists())


@cache
def all_imports() -> tuple[Import, ...]:
    return tuple(one for name, tree in trees() for one in imports_in(name, tree))


def breaks_the_rule(one: Import) -> bool:
    if part_of(one.imported) == one.package and one.imported != "synguard":
        return False
    allowed = one.imported in EXCEPTIONS.get(one.package, ()) or part_of(one.imported) in MAY_IMPORT[one.package]
    return not allowed


def test_imports_point_one_way() -> None:
    ours = [one for one in all_imports() if one.imported.split(".")[0] == "synguard"]
    assert len(ours) > 200
    assert [f"{one.importer} imports {one.imported}" for one in ours if breaks_the_rule(one)] == []


def test_the_rule_has_no_circle() -> None:
    """A table that allowed a circle would forbid nothing in it."""
    settled: set[str] = set()
    while ready := [part for part, below in MAY_IMPORT.items() if part not in settled and below <= settled]:
        settled.update(ready)
    assert settled == set(MAY_IMPORT)


def test_no_modules_import_one_another_in_a_circle() -> None:
    """Packages alone are too coarse: two modules of ``report`` once needed each other."""
    below = {name: {one.imported for one in all_imports() if one.importer == name} for name, _ in trees()}
    settled: set[str] = set()
    while ready := [name for name, needs in below.items() if name not in settled and needs & below.keys() <= settled]:
        settled.update(ready)
    assert sorted(below.keys() - settled) == []


def test_of_the_verbs_only_run_needs_the_agent() -> None:
    needs = {one.importer for one in all_imports() if one.package == "cli" and part_of(one.imported) == "agent"}
    assert needs == {"synguard.cli.run"}


def test_a_class_name_means_one_thing_in_the_whole_package() -> None:
    homes: dict[str, list[str]] = {}
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_every_package_says_what_it_is_for_and_what_it_may_import() -> None:
    for path in sorted(SOURCE.rglob("__init__.py")):
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if path.parent != SOURCE:
            assert "May import" in about, f"{path}: say in a line of the docstring what the package may import"
            assert len(about.splitlines()) <= 6, path


def test_the_rule_names_every_package() -> None:
    there = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {part.replace("synguard", "__init__") for part in MAY_IMPORT} == there


def test_what_decides_imports_no_clock_socket_database_or_log() -> None:
    others = [one for one in all_imports() if one.package in PURE and one.imported.split(".")[0] != "synguard"]
    assert [one for one in others if one.imported.split(".")[0] not in PURE_MAY_IMPORT] == []


def test_what_decides_calls_no_clock_and_no_chance_of_its_own() -> None:
    """``datetime.now()``, ``random.random()`` or an unseeded ``np.random.default_rng()`` would break every replay."""
    found = [
        f"{name}:{node.lineno}: {ast.unparse(node)}"
        for name, tree in trees()
        if part_of(name) in PURE
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and reaches_outside(node)
    ]
    assert found == []


def reaches_outside(call: ast.Call) -> bool:
    called = ast.unparse(call.func)
    if called.split(".")[-1] in OUTSIDE_CALLS:
        return True
    chance = called.startswith("random.") or ".random." in called
    return chance and not (call.args or call.keywords)


@pytest.mark.parametrize("library", ONLY_THERE)
def test_a_library_is_known_in_one_place(library: str) -> None:
    importers = {one.importer for one in all_imports() if one.imported.split(".")[0] == library}
    foreign = {name for name in importers if not any(f"{name}.".startswith(f"{at}.") for at in ONLY_THERE[library])}
    assert foreign == set()
    assert importers


DEVELOPERS = {"dev", "fuzz"}
"""Extras that only tests import."""


def test_every_dependency_is_used_and_nothing_else_is_imported() -> None:
    project = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [
        one for name, wanted in project["optional-dependencies"].items() if name not in DEVELOPERS for one in wanted
    ]
    required = [*project["dependencies"], *extras]
    declared = {requirement.split(">")[0].split("=")[0].strip() for requirement in required}
    by_import = {"python-iptables": "iptc", "prometheus-client": "prometheus_client"}
    wanted = {by_import.get(name, name) for name in declared}
    outside = {one.imported.split(".")[0] for one in all_imports()} - {"synguard"}
    assert outside - set(sys.stdlib_module_names) == wanted


def test_the_rule_notices_an_import_for_type_checkers_and_one_inside_a_function() -> None:
    text = """
if TYPE_CHECKING:
    from synguard.sensors.sockets import SocketTables as Sockets

def late():
    import synguard.agent.agent
"""
    found = imports_in("synguard.enforcer.x", ast.parse(text))
    broken = [one.imported for one in found if breaks_the_rule(one)]
    assert broken == ["synguard.sensors.sockets", "synguard.agent.agent"]
