"""Settings: an empty file works, and every mistake is named where it stands."""

import os
import pickle
from datetime import time
from pathlib import Path

import pytest

from config import settings, settings_file
from config.errors import SettingsError
from config.home import Home
from config.settings import Late, Level, Settings

EXAMPLE = Path(settings.__file__).with_name("meterhub.example.toml").read_text(encoding="utf-8")


def _load(home: Path, text: str) -> Settings:
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "meterhub.toml").write_text(text, encoding="utf-8")
    return settings.load(home)


def _refusal(home: Path, text: str) -> str:
    with pytest.raises(SettingsError) as refused:
        _load(home, text)
    assert refused.value.exit_code == 3
    return refused.value.message.replace(f"{home}/config/", "")


def test_an_empty_file_gives_every_setting_its_default(tmp_path: Path) -> None:
    found = _load(tmp_path, "")
    assert found == Settings()
    assert (found.sftp.port, found.deadline.time, found.publish.every_minutes) == (2222, time(23), 15)
    assert found.deadline.warnings == (time(20), time(22), time(22, 45))


def test_what_is_written_is_taken_and_the_rest_keeps_its_default(tmp_path: Path) -> None:
    found = _load(
        tmp_path,
        """
        workers = 3
        sftp.host = "::1"
        [deadline]
        time = 22:30:00
        warnings = []
        late = "hold"
        [sync]
        brake = 1
        [log]
        level = "warning"
        """,
    )
    assert (found.workers, found.worker_count(), found.sftp.host) == (3, 3, "::1")
    assert (found.deadline.time, found.deadline.warnings, found.deadline.late) == (
        time(22, 30),
        (),
        Late.HOLD,
    )
    assert (found.sync.brake, found.log.level) == (1.0, Level.WARNING)
    assert found.sftp.port == 2222


def test_the_example_lists_every_setting_once_with_its_default() -> None:
    assert settings_file.read(EXAMPLE, Settings, name="example") == Settings()
    lines = EXAMPLE.splitlines()
    table, listed = "", []
    for line in lines:
        if line.startswith("["):
            table = line.strip("[]") + "."
        elif line and not line.startswith("#"):
            listed.append(table + line.split(" = ")[0])
    assert sorted(listed) == sorted(settings_file.keys(Settings))


def test_the_example_explains_every_group_of_settings() -> None:
    for group in EXAMPLE.split("\n\n"):
        first = next(line for line in group.splitlines() if not line.startswith("["))
        assert first.startswith("# "), f"no comment over: {first}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sftp]\nprot = 1", "meterhub.toml, line 2: there is no setting sftp.prot; the nearest is sftp.port"),
        ("\nport = 1", "meterhub.toml, line 2: there is no setting port; the nearest is sftp.port"),
        ("[publisch]", "meterhub.toml, line 1: there is no setting publisch; the nearest is publish"),
        ("sftp.prot = 1", "meterhub.toml, line 1: there is no setting sftp.prot; the nearest is sftp.port"),
        ("[sftp]\nport = 70_000", "line 2: sftp.port is 70000; wanted: a whole number from 0 to 65535"),
        ("[sftp]\nport = true", "line 2: sftp.port is true; wanted: a whole number from 0 to 65535"),
        ('[sftp]\nport = "2222"', 'line 2: sftp.port is "2222"; wanted: a whole number from 0 to 65535'),
        ("[sync]\nbrake = 10", "line 2: sync.brake is 10; wanted: a number from 0.0 to 1.0"),
        ("[sync]\nbrake = nan", "line 2: sync.brake is NaN; wanted: a number from 0.0 to 1.0"),
        ('[deadline]\ntime = "11 pm"', 'line 2: deadline.time is "11 pm"; wanted: a time of day such as "23:00"'),
        ('[deadline]\nwarnings = "20:00"', 'line 2: deadline.warnings is "20:00"; wanted: a list'),
        ('[deadline]\ntime = "02:30"\nwarnings = []', "line 1: 02:30 is skipped or comes twice"),
        ('[deadline]\ntime = "22:00"', "line 1: the warning at 22:00 is not before the deadline at 22:00"),
        ('[deadline]\nlate = "drop"', 'is "drop"; wanted: "publish" or "hold" or "refuse"'),
        ('[log]\nlevel = "loud"', 'is "loud"; wanted: "debug" or "info" or "warning" or "error"'),
        ("sftp = 3", "line 1: sftp is 3; wanted: a table, [sftp]"),
        ("database_url = 5", "line 1: database_url is 5; wanted: text in quotes"),
        ('executor = "cluster"', 'executor is "cluster"; wanted: "local" or "dask://HOST:PORT"'),
        ('lake_url = "s3://bucket"', 'lake_url is "s3://bucket"; wanted: a folder, or file:///FOLDER'),
        ("port = ", "meterhub.toml: Invalid value (at"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_line_what_was_found_and_what_was_wanted(
    tmp_path: Path, text: str, said: str
) -> None:
    assert said in _refusal(tmp_path, text)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    told = _refusal(tmp_path, "wrokers = 1\n[sftp]\nport = -1\n[limits]\nmax_bad_blocks = 2\n")
    assert [line.split(":")[0] for line in told.splitlines()] == [
        "meterhub.toml, line 1",
        "meterhub.toml, line 3",
        "meterhub.toml, line 5",
    ]


def test_a_home_without_settings_is_told_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load(tmp_path)
    assert "meterhub init" in refused.value.hint


def test_the_ledger_and_the_lake_are_the_homes_own_unless_said_otherwise(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert Settings().ledger_url(home) == f"sqlite:///{tmp_path}/state/ledger.sqlite"
    assert Settings(database_url="postgresql://db/hub").ledger_url(home) == "postgresql://db/hub"
    assert Settings().lake_folder(home) == tmp_path / "state" / "lake"
    assert Settings(lake_url="elsewhere").lake_folder(home) == tmp_path / "elsewhere"
    assert Settings(lake_url="/srv/lake").lake_folder(home) == Path("/srv/lake")
    assert Settings(lake_url="file:///srv/the%20lake").lake_folder(home) == Path("/srv/the lake")


def test_no_workers_means_one_for_each_core() -> None:
    assert Settings().worker_count() == len(os.sched_getaffinity(0))


def test_settings_and_their_errors_travel_between_processes() -> None:
    assert pickle.loads(pickle.dumps(Settings())) == Settings()  # noqa: S301 - what was just made
    error = pickle.loads(pickle.dumps(SettingsError("a-code", "what is wrong", "what to do")))  # noqa: S301
    assert (error.code, error.message, error.hint, str(error)) == (
        "a-code",
        "what is wrong",
        "what to do",
        "what is wrong",
    )
