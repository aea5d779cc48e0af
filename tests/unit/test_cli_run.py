"""``synguard run``: what it reads before it watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.cli.run import _loaded
from synguard.model import Mode

PACK = '[[policy]]\nname = "shop"\nports = "80,443"\n[policy.limits]\nconnections = 900\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "etc" / "rules").mkdir(parents=True)
    (tmp_path / "etc" / "rules" / "shop.toml").write_text(PACK)
    path = tmp_path / "etc" / "synguard.toml"
    path.write_text('policies = ["rules/shop.toml", "default"]\n')
    return path


@pytest.mark.parametrize("named", [True, False])
def test_packs_are_looked_up_beside_the_config_wherever_the_agent_is_started(
    config: Path, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first version looked for them in the directory it was started from: `policy show` found them, `run` did not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNGUARD_CONFIG", str(config))
    _, policies = _loaded(config if named else None, None)
    assert [policy.name for policy in policies] == ["shop", "default"]


def test_the_option_overrules_the_mode_of_the_config(config: Path) -> None:
    assert _loaded(config, None)[0].mode is Mode.DRY_RUN
    assert _loaded(config, Mode.ENFORCE)[0].mode is Mode.ENFORCE
