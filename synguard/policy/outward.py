"""The config of what the agent tells others: its log."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synguard.policy.values import Base


class Log(Base):
    """The agent's log, on stderr."""

    format: Literal["text", "json"] = Field(
        "text", description="text: for people and journald; json: one object a line with stable keys"
    )
