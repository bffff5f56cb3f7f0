"""What every command has: `--home`, `--json`, a clock, and an example in its help."""

import getpass
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config import home, settings
from config.home import Home
from config.partners import Partners
from config.settings import Settings
from jobs.clock import FollowedClock, RunningClock

NOW = "METERHUB_NOW"

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a command was asked for besides its own options. `clock` is the one it goes by."""

    home_option: Path | None
    json: bool
    clock: RunningClock | FollowedClock

    @property
    def home(self) -> Home:
        """The home of the hub that is meant. Raises OperatorError if no hub lives there."""
        return home.find(self.home_option)

    @property
    def place(self) -> Home:
        """Where a home is or would be made."""
        return home.place(self.home_option)

    @property
    def settings(self) -> Settings:
        return settings.load(self.home.root)

    def show(self, answer: Any, *readable: "RenderableType") -> None:
        """Say the answer: as JSON if that was asked for, else as `readable` says it to people."""
        if self.json:
            click.echo(json.dumps(answer, indent=2, default=str, ensure_ascii=False))
            return
        from exchange.cli import show  # rich is slow to import, and programs ask for JSON

        console = show.console()
        for one in readable:
            console.print(one, soft_wrap=isinstance(one, str))  # a path is not broken in two


class Command(click.Command):
    """A command whose function is given `asked` first, and whose help ends in examples."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = tuple(examples)
        self.params += [
            click.Option(
                ["--home"], type=click.Path(path_type=Path, file_okay=False), help="The hub's folder."
            ),
            click.Option(["--json"], is_flag=True, help="Answer in JSON."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        here: Path | None = ctx.params.pop("home")
        above = ctx.find_root().params
        ctx.params["asked"] = Asked(
            home_option=here or above.get("home"),
            json=ctx.params.pop("json") or above.get("json", False),
            clock=the_clock(os.environ.get(NOW, "")),
        )
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("For example"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


def warn(said: Iterable[str]) -> None:
    """Tell an operator, a line each on standard error, what the command does not stop for."""
    for line in said:
        click.echo(f"meterhub: {line}", err=True)


def tell_mistakes(found: Partners) -> None:
    """Warn of partners' files that cannot be taken."""
    warn(found.mistakes)
    if found.mistakes:
        gone = f"left out: {', '.join(sorted(found.left_out))}; " if found.left_out else ""
        warn([f"until that is mended: {gone}every other partner is as its file says or last said"])


def who() -> str:
    """Who is logged in to this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"user {os.getuid()}"


def the_clock(set_to: str) -> RunningClock | FollowedClock:
    """The machine's clock; or, for rehearsals and tests, one that starts at the instant `set_to` (what
    METERHUB_NOW says) and runs on from there, or that goes by the file which stands there behind an @. Raises a
    usage error if that is no instant.
    """
    if not set_to:
        return RunningClock()
    if set_to.startswith("@"):
        return FollowedClock(Path(set_to[1:]))
    try:
        instant = datetime.fromisoformat(set_to)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise click.UsageError(f"{NOW} is {set_to}; wanted: an instant such as 2013-09-03T10:00:00Z")
    return RunningClock.reading(instant)


def instant(_: click.Context, parameter: click.Parameter, said: str | None) -> datetime | None:
    """What an option says as an instant, for its callback. One without a zone is meant in UTC."""
    if said is None:
        return None
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        wanted = f"{said} is no instant; wanted: such as 2013-09-03T22:00Z"
        raise click.BadParameter(wanted, param=parameter) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


AS_KNOWN_AT = click.option(
    "--as-known-at",
    "known_at",
    metavar="INSTANT",
    callback=instant,
    help="By what was known then, such as 2013-09-03T22:00Z; without a zone, UTC.",
)


def command(name: str, *examples: str) -> Callable[[Callable[..., int | None]], Command]:
    """Make a command of a function. It returns its exit code, or None for 0."""
    return click.command(name, cls=Command, examples=examples)
