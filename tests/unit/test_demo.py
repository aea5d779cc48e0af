"""``make demo`` is tried by those who have not decided yet: it installs nothing that only tests need."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
IMPORTED_AS = {"pyyaml": "yaml", "axe-playwright-python": "axe_playwright_python"}

CODE = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))
import tests.support.demo, tests.support.lab
for found in pkgutil.iter_modules(tests.support.lab.__path__):
    importlib.import_module(f"tests.support.lab.{found.name}")
"""


def test_the_demo_imports_no_package_of_developers() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[>=<\[]", one)[0] for one in project["optional-dependencies"]["dev"]]
    blocked = [IMPORTED_AS.get(name, name.replace("-", "_")) for name in names]
    assert "pytest" in blocked
    done = subprocess.run([sys.executable, "-c", CODE, *blocked], cwd=REPOSITORY, timeout=60, check=False, text=True)
    assert done.returncode == 0


def test_the_demo_installs_its_web_server_and_no_more() -> None:
    plan = subprocess.run(["make", "-nB", "demo"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert "--for-demo" in plan
    assert "--for-tests" not in plan
    assert "[dev]" not in plan
