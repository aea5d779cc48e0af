"""Modules and classes stay small; one that is larger says why, on its first line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "synguard"
MOST_LINES = 300
MOST_METHODS = 12
MOST_ATTRIBUTES = 12

MODULES = sorted(SOURCE.rglob("*.py"))


def reason(line: str) -> str:
    """The reason that stands behind ``# long:`` or ``# wide:`` on a line."""
    mark = next((mark for mark in ("# long: ", "# wide: ") if mark in line), None)
    return "" if mark is None else line.partition(mark)[2]


def attributes(of: ast.ClassDef) -> set[str]:
    """What instances hold: annotated fields, and whatever a method gives ``self``."""
    fields = {one.target.id for one in of.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    given = {
        one.attr
        for one in ast.walk(of)
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and ast.unparse(one.value) == "self"
    }
    return fields | given


def methods(of: ast.ClassDef) -> set[str]:
    return {one.name for one in of.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")}


def classes() -> Iterator[tuple[Path, ast.ClassDef, str]]:
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                yield path, node, lines[node.lineno - 1]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_is_short_or_says_why_not(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    if len(lines) <= MOST_LINES:
        return
    comments = [line for line in lines[:20] if line.startswith("# long: ")]
    assert comments, f"{len(lines)} lines: split it, or say why not in a comment '# long: …' below the docstring"


def test_a_class_is_narrow_or_says_why_not_on_its_line() -> None:
    wide = [
        f"{path.relative_to(SOURCE)} {node.name}: {len(methods(node))} methods, {len(attributes(node))} attributes"
        for path, node, line in classes()
        if (len(methods(node)) > MOST_METHODS or len(attributes(node)) > MOST_ATTRIBUTES) and not reason(line)
    ]
    assert wide == []


def test_a_reason_is_given_only_where_it_is_needed() -> None:
    needless = [
        node.name
        for _, node, line in classes()
        if reason(line) and len(methods(node)) <= MOST_METHODS and len(attributes(node)) <= MOST_ATTRIBUTES
    ]
    assert needless == []
