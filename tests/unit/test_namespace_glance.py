"""Between two ticks a glance at containers tells whether one is due; a host with Docker ticked five times a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from synguard.errors import SensorError
from synguard.sensors.namespace_glance import FEW_SEGMENTS, NamespaceGlance


@dataclass
class Reader:
    label: str
    segments: int = 0
    gone: bool = False

    def arrived(self) -> int:
        if self.gone:
            raise SensorError("it has gone")
        return self.segments


@dataclass
class Around:
    readers: list[Reader] = field(default_factory=lambda: [Reader("web"), Reader("db", 1_000_000)])
    unread: tuple[str, ...] = ()
    bridged: tuple[str, ...] = ()


@pytest.fixture
def around() -> Around:
    return Around()


@pytest.fixture
def glance(around: Any) -> NamespaceGlance:
    glance = NamespaceGlance(around)
    assert glance.stirs(), "all of them are new"
    assert not glance.stirs()
    return glance


def test_few_segments_are_no_flood_and_more_are_seen_once(around: Around, glance: NamespaceGlance) -> None:
    around.readers[1].segments += FEW_SEGMENTS
    assert not glance.stirs()
    around.readers[1].segments += FEW_SEGMENTS + 1
    assert glance.stirs()
    assert not glance.stirs()


def test_one_that_is_new_or_cannot_be_read_brings_the_tick(around: Around, glance: NamespaceGlance) -> None:
    around.readers.append(Reader("new"))
    assert glance.stirs()
    around.readers[0].gone = True
    assert glance.stirs()
    around.readers[0].gone = False
    assert not glance.stirs()
    around.unread = ("hidden",)
    assert glance.stirs()
