"""A headless Chromium that shows a page and tells what it asked the network for and complained about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from playwright.sync_api import Browser, Page, sync_playwright

PHONE: Final = (390, 844)
DESKTOP: Final = (1280, 900)

_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""No sandbox, since tests run as root; and nothing of the browser's own on the network."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give Debian's Chromium."""
    path = shutil.which("chromium")
    if path is None:
        raise FileNotFoundError("chromium is not installed: run make setup")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Shown:
    """One file in one window, with what it did while it was loaded."""

    def __init__(
        self,
        browser: Browser,
        file: Path,
        size: tuple[int, int] = DESKTOP,
        scheme: Literal["light", "dark"] = "light",
        scale: float = 1.0,
    ) -> None:
        self.requests: list[str] = []
        self.refused: list[tuple[str, str]] = []
        """What was asked for and not loaded, and why."""
        self.complaints: list[str] = []
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=scale
        )
        self.page: Page = context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", lambda request: self.refused.append((request.url, request.failure or "")))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri(), wait_until="load")

    def ask(self, script: str) -> Any:
        """Return what a JavaScript expression comes to in the page."""
        return self.page.evaluate(script)

    @property
    def overflows(self) -> list[str]:
        """Elements that reach beyond the window to the right, but for those in a box that scrolls by itself."""
        found: list[str] = self.ask(
            """() => [...document.querySelectorAll('body *')]
                .filter(one => one.getBoundingClientRect().right > window.innerWidth + 1
                            && !one.closest('.scroll, pre, .unseen'))
                .map(one => one.tagName + '.' + one.className + ': ' + one.textContent.slice(0, 40))"""
        )
        return found

    def close(self) -> None:
        """Close the window."""
        self.page.context.close()
