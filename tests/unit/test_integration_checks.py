"""What the doctor says of messages and metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.doctor import integration_checks
from synguard.doctor.findings import Level
from synguard.doctor.integration_checks import integration_findings
from synguard.policy.models import Config

SECRET = "s3cr3t-t0ken"


def found(**settings: object) -> list[tuple[str, Level, str]]:
    return [(one.name, one.level, one.reason) for one in integration_findings(Config.model_validate(settings))]


def test_a_host_that_tells_nobody_anything_is_left_in_peace() -> None:
    assert found() == []
    assert found(metrics={"listen": "[::1]:9877"}) == []


def test_figures_that_others_can_read_are_mentioned() -> None:
    [(name, level, reason)] = found(metrics={"listen": "0.0.0.0:9877", "allow_remote": True})
    assert (name, level) == ("metrics", Level.WARN)
    assert "other hosts can read the metrics at 0.0.0.0:9877" in reason


def test_a_file_of_services_that_others_may_read_is_mentioned_without_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "urls"
    path.write_text(f"slack://{SECRET}/a/b\n")
    path.chmod(0o644)
    [(_, level, reason)] = found(notify={"urls_file": str(path)})
    assert level is Level.WARN
    assert "others may read it" in reason
    path.chmod(0o600)
    [(_, level, reason)] = found(notify={"urls_file": str(path)})
    assert (level, reason) == (Level.OK, "1 services are notified of attacks; try: synguard notify test")


def test_a_service_whose_library_is_missing_is_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integration_checks, "find_spec", lambda _: None)
    urls = [f"https://example.org/{SECRET}", f"slack://{SECRET}/a/b"]
    [(_, level, reason)] = found(notify={"urls": urls})
    assert (level, reason) == (Level.WARN, "2 slack://…: the library that speaks to it is not installed")
    assert found(notify={"urls": urls[:1]})[0][1] is Level.OK
