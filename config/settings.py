"""The settings of a hub: one frozen tree. Functions are given the leaf they need.

Every leaf has a default, so an empty file works. `meterhub.example.toml` says what each one means.
"""

import datetime as dt
import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from config import settings_file
from config.errors import SettingsError
from config.home import Home


class Late(StrEnum):
    """What becomes of a block that came after its day's deadline."""

    PUBLISH = "publish"  # loaded, marked and published
    HOLD = "hold"  # loaded, and held until an operator releases it
    REFUSE = "refuse"


class Level(StrEnum):
    """The least weighty line that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _whole(default: int, least: int, most: int) -> int:
    found: int = field(default=default, metadata={"least": least, "most": most})
    return found


def _share(default: float) -> float:
    found: float = field(default=default, metadata={"least": 0.0, "most": 1.0})
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Sftp:
    """The door: where it is, and how much one party may ask of it."""

    host: str = "127.0.0.1"
    port: int = _whole(2222, 0, 65_535)
    banner: str = "Meterhub. For agreed partners only; sessions are logged."
    max_connections: int = _whole(1_000, 1, 100_000)
    max_connections_per_address: int = _whole(50, 1, 100_000)
    max_unauthenticated: int = _whole(100, 1, 100_000)
    max_unauthenticated_per_address: int = _whole(30, 1, 100_000)
    max_connections_a_second_per_address: int = _whole(10, 0, 100_000)
    login_seconds: int = _whole(30, 1, 600)
    max_auth_tries: int = _whole(6, 1, 100)
    max_sessions_per_connection: int = _whole(10, 1, 1_000)
    max_sessions_per_partner: int = _whole(100, 1, 100_000)
    max_handles: int = _whole(64, 1, 10_000)
    idle_seconds: int = _whole(900, 1, 86_400)
    keepalive_seconds: int = _whole(30, 1, 3_600)
    max_upload_bytes: int = _whole(2 << 30, 1, 1 << 50)
    max_unloaded_bytes: int = _whole(64 << 30, 1, 1 << 50)
    max_bytes_a_second: int = _whole(0, 0, 1 << 40)
    ban_score: int = _whole(30, 0, 100_000)
    ban_watch_minutes: int = _whole(30, 1, 10_080)
    ban_minutes: int = _whole(15, 1, 10_080)
    ban_most_hours: int = _whole(24, 1, 8_760)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """When a usage day has to be in, on the day after, by each EDC's own clock."""

    time: dt.time = dt.time(23)
    warnings: tuple[dt.time, ...] = (dt.time(20), dt.time(22), dt.time(22, 45))
    late: Late = Late.PUBLISH

    def __post_init__(self) -> None:
        for at in (self.time, *self.warnings):
            if dt.time(0, 59) <= at <= dt.time(3, 1):
                raise ValueError(
                    f"{at:%H:%M} is skipped or comes twice when the clocks change; choose another"
                )
        if late := [at for at in self.warnings if at >= self.time]:
            raise ValueError(
                f"the warning at {late[0]:%H:%M} is not before the deadline at {self.time:%H:%M}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    every_minutes: int = _whole(15, 1, 1_440)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    max_age_days: int = _whole(5, 1, 365)
    brake: float = _share(0.10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    keep_incomplete_hours: int = _whole(48, 1, 8_760)
    rename_minutes: int = _whole(10, 1, 1_440)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    keep_days: int = _whole(30, 1, 3_650)
    claim_days: int = _whole(30, 1, 3_650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    max_accounts_per_file: int = _whole(50_000, 1, 10_000_000)
    max_bad_blocks: float = _share(0.01)
    max_unpacked_bytes: int = _whole(2 << 30, 1, 1 << 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What the hub wants of its disks."""

    min_free_bytes: int = _whole(512 << 20, 0, 1 << 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    level: Level = Level.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it. `lake_url` and `database_url` are empty where the home's own are meant."""

    database_url: str = ""
    lake_url: str = ""
    executor: str = "local"
    workers: int = _whole(0, 0, 1_024)
    sftp: Sftp = field(default_factory=Sftp)
    deadline: Deadline = field(default_factory=Deadline)
    publish: Publish = field(default_factory=Publish)
    sync: Sync = field(default_factory=Sync)
    inbound: Inbound = field(default_factory=Inbound)
    outbound: Outbound = field(default_factory=Outbound)
    limits: Limits = field(default_factory=Limits)
    storage: Storage = field(default_factory=Storage)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        if self.executor != "local" and not self.executor.startswith("dask://"):
            raise ValueError(f'executor is "{self.executor}"; wanted: "local" or "dask://HOST:PORT"')
        if "://" in self.lake_url and not self.lake_url.startswith("file:///"):
            raise ValueError(f'lake_url is "{self.lake_url}"; wanted: a folder, or file:///FOLDER')

    def ledger_url(self, home: Home) -> str:
        """The database that holds the ledger, as SQLAlchemy writes it."""
        return self.database_url or f"sqlite:///{home.ledger_file}"

    def lake_folder(self, home: Home) -> Path:
        """The folder of the lake's files; one that is not absolute is meant from the home."""
        if not self.lake_url:
            return home.lake
        path = unquote(urlsplit(self.lake_url).path) if "://" in self.lake_url else self.lake_url
        return home.root / Path(path).expanduser()

    def worker_count(self) -> int:
        """How many processes load at once: `workers`, or one for each core this process may use."""
        return self.workers or len(os.sched_getaffinity(0))


def load(home: Path) -> Settings:
    """The settings of the hub whose home is the folder `home`.

    Raises SettingsError that names every mistake with its line: unknown keys with the nearest known
    one, values of the wrong kind or out of bounds.
    """
    file = Home(home).settings_file
    if not file.is_file():
        raise SettingsError("settings-missing", f"there is no {file}", "make one with: meterhub init")
    return settings_file.read(file.read_text(encoding="utf-8"), Settings, name=str(file))
