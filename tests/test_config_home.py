"""Homes: where a hub lives, and what its folders are."""

from pathlib import Path

import pytest

from config import home
from config.errors import OperatorError
from config.home import Home


def _hub(folder: Path) -> Path:
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "meterhub.toml").touch()
    return folder


def test_the_option_wins_over_the_variable_and_that_over_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    option, variable, here = (_hub(tmp_path / name) for name in ("option", "variable", "here"))
    monkeypatch.chdir(here)
    monkeypatch.delenv(home.VARIABLE, raising=False)
    assert home.find(None).root == here
    monkeypatch.setenv(home.VARIABLE, "")
    assert home.find(None).root == here
    monkeypatch.setenv(home.VARIABLE, str(variable))
    assert home.find(None).root == variable
    assert home.find(option).root == option
    assert home.find(Path("../option")).root.is_absolute()


def test_a_folder_without_settings_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as refused:
        home.find(tmp_path)
    assert refused.value.code == "no-home"
    assert str(tmp_path) in refused.value.message
    assert "init" in refused.value.hint


def test_what_the_hub_knows_is_for_its_own_user_alone(tmp_path: Path) -> None:
    hub = Home(tmp_path / "hub")
    made = hub.lay_out()
    assert hub.root in made
    assert hub.state in made
    for folder in (
        hub.state,
        hub.archive,
        hub.lake,
        hub.staging,
        hub.logs,
        hub.locks,
        hub.bans,
        hub.kept_partners,
        hub.host_keys,
    ):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not hub.state.is_relative_to(hub.sftp_root)


def test_laying_out_a_home_again_changes_nothing(tmp_path: Path) -> None:
    hub = Home(tmp_path)
    hub.lay_out()
    hub.state.chmod(0o750)
    assert hub.lay_out() == []
    assert hub.state.stat().st_mode & 0o777 == 0o750
