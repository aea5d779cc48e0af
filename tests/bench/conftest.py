"""The rules of benchmarks: agents are processes as operators start them, so that their whole cost is seen."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _agents_import_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.lab.agent.FORKED", False)
