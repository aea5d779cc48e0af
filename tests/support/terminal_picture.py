"""Pictures of terminals: what stands on a pseudo-terminal, as SVG by rich and as PNG by headless Chromium."""

from __future__ import annotations

import io
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from rich.console import CONSOLE_SVG_FORMAT, Console  # type: ignore[attr-defined]  # documented, not in __all__
from rich.style import Style
from rich.text import Text

from tests.support.pty_screen import PtyScreen

WIDEST: Final = 1000
"""Pixels; a picture of more columns is made smaller, since it lies in a repository."""

_HUES: Final = {"brown": "yellow", "default": None}
"""What pyte calls colours that rich calls otherwise."""
_FONT_FACE: Final = re.compile(r"@font-face \{\{.*?\}\}\n", re.DOTALL)
"""Rich's SVG fetches a font from the net: a picture of ours needs none."""


def picture(screen: PtyScreen, title: str, to: Path) -> None:
    """Write what the terminal shows as PNG.

    Raises:
        subprocess.CalledProcessError: Chromium failed.
    """
    svg = as_svg(screen, title)
    wide, high = (float(one) for one in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())  # type: ignore[union-attr]  # rich writes one
    width = min(round(wide), WIDEST)
    height = round(high * width / wide)
    with tempfile.TemporaryDirectory() as work:
        page = Path(work) / "terminal.html"
        style = f"body{{margin:0}} svg{{width:{width}px;display:block}}"
        page.write_text(f"<!doctype html><meta charset=utf-8><style>{style}</style>{svg}", encoding="utf-8")
        chromium = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu"]
        size = f"--window-size={width},{height}"
        command = [*chromium, f"--user-data-dir={work}/profile", size, f"--screenshot={to}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def as_svg(screen: PtyScreen, title: str) -> str:
    """Return what the terminal shows as SVG, colours and all."""
    terminal: Any = screen.screen
    console = Console(record=True, width=terminal.columns, file=io.StringIO(), force_terminal=True)
    for row in range(terminal.lines):
        console.print(_line([terminal.buffer[row][column] for column in range(terminal.columns)]), end="\n")
    form = _FONT_FACE.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code", "DejaVu Sans Mono")
    return console.export_svg(title=title, code_format=form)


def _line(cells: list[Any]) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    for cell in cells:
        style = Style(
            color=_HUES.get(cell.fg, cell.fg), bold=cell.bold, reverse=cell.reverse, underline=cell.underscore
        )
        text.append(cell.data, style)
    return text
