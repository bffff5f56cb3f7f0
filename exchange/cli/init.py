"""`meterhub init`: makes a hub's home. What is there already is named and left as it is."""

import importlib.resources
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from config import settings
from config.home import Home
from exchange import keys
from exchange.cli import options, sample_partners, show
from exchange.cli.options import Asked
from jobs.stores import files


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was made, what was there, and what of that was written anew; as paths in the home, in order."""

    root: Path
    made: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)

    def note(self, path: Path, *, made: bool, renewed: bool = False) -> None:
        kind = self.made if made else self.renewed if renewed else self.there
        kind.append(str(path.relative_to(self.root)))


@options.command("init", "meterhub --home hub init", "meterhub --home hub init --sample")
@click.option(
    "--sample", is_flag=True, help="With two EDCs and four EGSs to try it out with, and their keys."
)
def command(asked: Asked, *, sample: bool) -> None:
    """Make a hub's home: folders, settings and host keys."""
    home = asked.place
    kept = _Kept(home.root)
    made = home.lay_out()
    for folder in home.folders():
        if folder != home.root:
            kept.note(folder, made=folder in made)
    _settings(home, kept)
    host_keys = _host_keys(home, kept)
    logins: list[dict[str, str]] = []
    if sample:
        brought = sample_partners.bring(home, host_keys, settings.load(home.root).sftp)
        for path, new in brought.files.items():
            kept.note(path, made=new, renewed=path in brought.renewed)
        logins = brought.logins
    answer: dict[str, Any] = {
        "home": str(home.root),
        "made": kept.made,
        "there_already": kept.there,
        "written_anew": kept.renewed,
        "host_keys": [key.fingerprint for key in host_keys],
        "partners": logins,
    }
    asked.show(answer, *_readable(home, kept, logins))


def _settings(home: Home, kept: _Kept) -> None:
    new = not home.settings_file.exists()
    if new:
        example = importlib.resources.files("config") / "meterhub.example.toml"
        files.write(home.settings_file, example.read_bytes())
    kept.note(home.settings_file, made=new)


def _host_keys(home: Home, kept: _Kept) -> tuple[keys.HostKey, ...]:
    before = set(home.host_keys.iterdir())
    host_keys = keys.make_host_keys(home.host_keys)
    for file in sorted(home.host_keys.iterdir()):
        kept.note(file, made=file not in before)
    return host_keys


def _readable(home: Home, kept: _Kept, logins: list[dict[str, str]]) -> list[str | Table]:
    news = [path for path in kept.made if (home.root / path).is_file() and not path.endswith(".pub")]
    shown: list[str | Table] = [f"The home of a hub: {home.root}"]
    shown += [f"  made       {path}" for path in news]
    shown += [f"  renewed    {path}" for path in kept.renewed]
    if kept.there:
        shown.append(f"  was there  {len(kept.there)} files and folders, left as they are")
    if logins:
        rows = [(one["id"], one["role"], one["name"], _short(one["login"])) for one in logins]
        shown.append(show.table(("login", "role", "name", "how to log in"), rows))
    shown.append(_short(f"Next: meterhub --home {shlex.quote(str(home.root))} serve"))
    return shown


def _short(said: str) -> str:
    """The same with paths from the current folder, where that is shorter to type."""
    return said.replace(f"{Path.cwd()}/", "")
