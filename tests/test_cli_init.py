"""`meterhub init`: a home in one command, twice the same, and nothing overwritten."""

import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from config import partners, settings
from config.home import Home
from exchange import keys
from exchange.cli.main import main
from schemas import sample


def _init(home: Path, capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> dict[str, Any]:
    assert main(["--home", str(home), "init", "--json", *options]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_a_new_home_has_settings_folders_and_host_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = Home(tmp_path / "hub")
    answer = _init(hub.root, capsys)
    assert settings.load(hub.root) == settings.Settings()
    assert partners.load(hub.partners).by_id == {}
    assert answer["there_already"] == []
    assert {"config/meterhub.toml", "state", "state/archive", "sftp_root"} <= set(answer["made"])
    assert (hub.state.stat().st_mode & 0o777) == 0o700
    assert {str(pair.algorithm, "ascii") for pair in keys.load_host_keys(hub.host_keys)} == {
        "ssh-rsa",  # with SHA-1, which is offered by exception alone
        "ssh-ed25519",
        "rsa-sha2-256",
        "rsa-sha2-512",
    }
    for file in hub.host_keys.iterdir():
        if file.suffix != ".pub":
            assert file.stat().st_mode & 0o777 == 0o600


def test_a_second_time_nothing_is_made_and_nothing_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _init(tmp_path, capsys, "--sample")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    second = _init(tmp_path, capsys, "--sample")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert second["made"] == []
    assert set(first["made"]) == set(second["there_already"])
    assert second["written_anew"] == []
    assert second["host_keys"] == first["host_keys"]
    assert second["partners"] == first["partners"]


def test_what_an_operator_wrote_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub = Home(tmp_path)
    _init(tmp_path, capsys, "--sample")
    hub.settings_file.write_text("[sftp]\nport = 2022\n")
    own = (hub.partners / "cnp.toml").read_text() + "disabled = true\n"
    (hub.partners / "cnp.toml").write_text(own)
    answer = _init(tmp_path, capsys, "--sample")
    assert hub.settings_file.read_text() == "[sftp]\nport = 2022\n"
    assert (hub.partners / "cnp.toml").read_text() == own
    assert answer["made"] == []
    follow = {"config/sample_keys/ssh_config", "config/sample_keys/known_hosts"}
    assert set(answer["written_anew"]) == follow
    assert not follow & set(answer["there_already"])
    assert "    Port 2022\n" in (tmp_path / "config" / "sample_keys" / "ssh_config").read_text()


def test_sample_partners_are_those_of_the_sample_night_and_their_keys_open_the_door(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = _init(tmp_path, capsys, "--sample")
    known = partners.load(Home(tmp_path).partners)
    assert {(one.id, one.duns, one.zone) for one in known.edcs} == {
        (edc.id, edc.duns, edc.zone) for edc in sample.EDCS
    }
    assert {(one.id, one.duns) for one in known.egss} == {(egs.id, egs.duns) for egs in sample.EGSS}
    assert [one["id"] for one in answer["partners"]] == [one.id for one in (*sample.EDCS, *sample.EGSS)]
    for one in answer["partners"]:
        file = Path(one["key"])
        assert file.stat().st_mode & 0o777 == 0o600
        key = asyncssh.read_private_key(file)
        assert [held.fingerprint for held in known.by_id[one["id"]].keys] == [key.get_fingerprint()]


def test_openssh_understands_how_to_log_in_as_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "a hub, 100 %"
    for one in _init(home, capsys, "--sample")["partners"]:
        config = home / "config" / "sample_keys" / "ssh_config"
        read = subprocess.run(
            ["ssh", "-G", "-F", config, one["id"]], capture_output=True, text=True, check=True, timeout=20
        ).stdout.splitlines()
        assert {f"user {one['id']}", "hostname 127.0.0.1", "port 2222", "identitiesonly yes"} <= set(read)
    known = (home / "config" / "sample_keys" / "known_hosts").read_text()
    assert known.count("[127.0.0.1]:2222 ") == 2


def test_a_sample_partner_that_was_there_with_its_own_keys_gets_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _init(tmp_path, capsys)
    text = 'id = "cnp"\nrole = "edc"\nname = "Ours"\nduns = "957877905"\ntime_zone = "America/Chicago"\n'
    (tmp_path / "config" / "partners" / "cnp.toml").write_text(text)
    answer = _init(tmp_path, capsys, "--sample")
    assert (tmp_path / "config" / "partners" / "cnp.toml").read_text() == text
    assert not (tmp_path / "config" / "sample_keys" / "cnp").exists()
    assert "cnp" not in [one["id"] for one in answer["partners"]]


def test_a_sample_that_would_contradict_a_partner_is_refused_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _init(tmp_path, capsys)
    text = 'id = "ours"\nrole = "edc"\nname = "Ours"\nduns = "957877905"\ntime_zone = "America/Chicago"\n'
    (tmp_path / "config" / "partners" / "ours.toml").write_text(text)
    answer = _init(tmp_path, capsys, "--sample", code=3)
    assert "duns is 957877905" in answer["error"]["message"]
    assert [file.name for file in (tmp_path / "config" / "partners").iterdir()] == ["ours.toml"]


def test_a_mistake_in_a_partners_file_does_not_keep_the_sample_from_being_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _init(tmp_path, capsys, "--sample")
    (tmp_path / "config" / "partners" / "cnp.toml").write_text("id ==")
    (tmp_path / "config" / "partners" / "ours.toml").write_text("id = 3")
    assert _init(tmp_path, capsys, "--sample")["made"] == []


def test_people_are_told_what_was_made_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(tmp_path / "hub"), "init", "--sample"]) == 0
    told = capsys.readouterr().out
    assert f"The home of a hub: {tmp_path}/hub" in told
    assert "made       config/meterhub.toml" in told
    assert f"sftp -F {tmp_path}/hub/config/sample_keys/ssh_config cnp" in told
    assert f"Next: meterhub --home {tmp_path}/hub serve" in told


def test_the_settings_that_are_laid_out_are_the_example(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _init(tmp_path, capsys)
    example = Path(settings.__file__).with_name("meterhub.example.toml")
    assert Home(tmp_path).settings_file.read_bytes() == example.read_bytes()
    assert tomllib.loads(example.read_text())["sftp"]["host"] == "127.0.0.1"
