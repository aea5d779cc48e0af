"""Writes every page of the manual anew: ``python -m tests.support.manual``, or ``make man``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.manual import completions
from tests.support.manual.example import ALLOW_LIST, example
from tests.support.manual.markdown import cli_reference
from tests.support.manual.policy_reference import PAGE, reference
from tests.support.manual.roff import config_page, pack_page, verb_page
from tests.support.manual.surface import surface
from tests.support.pages import ROOT

DOCS: Final = ROOT / "docs"
PACKAGE: Final = ROOT / "synguard"

_CONFIG: Final = """\
mode = "dry-run"
policies = ["bastion", "web", "default"]

[allow]
addresses = ["192.0.2.10", "2001:db8:5::/48"]
"""
_PACK: Final = """\
[[policy]]
name = "shop"
about = "the shop behind ports 80 and 443"
ports = "80,443"

[policy.limits]
half_open = 64
connections = 200
"""


def pages() -> Mapping[Path, str]:
    """Return file → text of everything that is written from the code."""
    root, share = surface(), PACKAGE / "share"
    scripts = {"bash": completions.bash, "zsh": completions.zsh, "fish": completions.fish}
    return {
        PAGE: reference(),
        DOCS / "cli-reference.md": cli_reference(root),
        share / "config" / "synguard.toml": example(),
        share / "config" / "allow.txt.example": ALLOW_LIST,
        **{share / "completions" / f"synguard.{shell}": script(root) for shell, script in scripts.items()},
        **{share / "man" / "man8" / f"{page.name}.8": verb_page(page, root) for page in root.walk()},
        share / "man" / "man5" / "synguard.toml.5": config_page(_CONFIG),
        share / "man" / "man5" / "synguard-policy.5": pack_page(_PACK),
    }


def main() -> None:
    """Write them, and remove the man pages of verbs that are no more."""
    written = pages()
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in (PACKAGE / "share" / "man").glob("man?/*"):
        if path not in written:
            path.unlink()


if __name__ == "__main__":
    main()
