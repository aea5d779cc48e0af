"""``synguard run``: what it reads before it watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.cli.run import _greet, _loaded
from synguard.model import Mode
from tests.support.cli_host import CliHost

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


def test_a_log_form_that_is_none_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = CliHost(tmp_path, monkeypatch).run("run", "--log-format", "xml")
    assert ran.code == 2
    assert ran.err == 'synguard: --log-format: "xml" is neither text nor json\n'


@pytest.mark.parametrize(("form", "lines"), [("text", 2), ("json", 1)])
def test_the_greeting_is_a_log_line_where_lines_are_json(
    form: str, lines: int, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        _greet(Mode.DRY_RUN, (), form)
    assert len(capsys.readouterr().err.splitlines()) + len(caplog.records) == lines
    assert bool(caplog.records) is (form == "json")
