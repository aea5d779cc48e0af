"""The configuration file beside what runs."""

from pathlib import Path

from synguard.agent.config_drift import ConfigDrift
from synguard.policy.load import load_config


def test_an_edit_that_was_not_taken_in_is_a_condition_until_it_is_or_is_undone(tmp_path: Path) -> None:
    """`[allow]` was edited and never reloaded: `why` said protected, and the agent banned."""
    path = tmp_path / "synguard.toml"
    path.write_text("")
    drift = ConfigDrift(path, load_config(path))
    assert drift.notes() == ()
    path.write_text('allow.addresses = ["203.0.113.7"]\n')
    [note] = drift.notes()
    assert "differs from what runs (allow)" in note
    assert "reload" in note
    path.write_text("# nothing\n")
    assert drift.notes() == ()
    path.write_text("cadence.calm = 1\n")
    assert "cannot be used" in drift.notes()[0]
    path.write_text('allow.addresses = ["203.0.113.7"]\nmode = "enforce"\n')
    assert drift.notes() != ()
    drift.taken(load_config(path))
    assert drift.notes() == ()


def test_a_mode_that_an_order_outranks_is_no_drift(tmp_path: Path) -> None:
    path = tmp_path / "synguard.toml"
    path.write_text("")
    drift = ConfigDrift(path, load_config(path))
    path.write_text('mode = "enforce"\n')
    assert drift.notes() == ()
    path.unlink()
    assert "cannot be used" in drift.notes()[0]


def test_a_host_without_a_configuration_file_has_no_drift() -> None:
    from synguard.policy.models import Config

    assert ConfigDrift(None, Config()).notes() == ()
