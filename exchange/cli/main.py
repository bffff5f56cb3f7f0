"""`meterhub`: finds the command that was asked for, runs it, and tells errors in words.

Exit codes: 0 done · 1 refused, or something found wrong · 2 usage · 3 an operator is needed.
"""

import errno
import importlib
import json
import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from config.errors import MeterhubError, OperatorError

# Each command's module, whose `command` it is, and what it answers. A module is imported when its
# command is run and not before: help comes at once, and no command waits for what another needs.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "backup": (
        "exchange.cli.backup",
        "Copy the ledger as it is at this moment, also of a running hub, and say what else to copy.",
    ),
    "bans": (
        "exchange.cli.bans",
        "Addresses that failed at the doors too often and are shut out for a time.",
    ),
    "check": (
        "exchange.cli.check",
        "Judge a file as the hub would, without taking it in: name, sender, packing, every line.",
    ),
    "deadline": (
        "exchange.cli.deadline",
        "How a usage day stands: what was due, loaded in time, late and missing.",
    ),
    "demo": (
        "exchange.cli.demo",
        "Play a whole night through real SFTP, in a new home, and say what happened.",
    ),
    "diff": (
        "exchange.cli.diff",
        "Which readings of a usage day changed between two instants, by whom, and by how many kWh.",
    ),
    "doctor": (
        "exchange.cli.doctor",
        "How a partner connects, whether it could now, what of it ends, and what a change would break.",
    ),
    "drops": ("exchange.cli.drops", "What was uploaded, newest first, and what became of it."),
    "explain": (
        "exchange.cli.explain",
        "The whole story, with times, of a drop, a file that came or went, an account, a partner, or an EGS's day.",
    ),
    "init": ("exchange.cli.init", "Make a hub's home: folders, settings and host keys."),
    "partner": ("exchange.cli.partner", "Who may log in, as what and with which keys."),
    "publish": ("exchange.cli.publish", "Lay all that is new before its suppliers, now."),
    "query": ("exchange.cli.query", "Ask the lake and the ledger in SQL."),
    "rebuild": (
        "exchange.cli.rebuild",
        "Make a ledger that was lost again, from the archive, the lake and the receipts.",
    ),
    "replay": (
        "exchange.cli.replay",
        "Do the load of a usage day again from the archive, and hold it to what there is.",
    ),
    "report": (
        "exchange.cli.report",
        "A usage day as one page that needs nothing else, fit to be sent and printed.",
    ),
    "retain": ("exchange.cli.retain", "Take away what has been kept for as long as was agreed."),
    "retry": (
        "exchange.cli.retry",
        "Have drops and syncs tried again that failed too often and were parked, or refuse drops for good.",
    ),
    "sample-night": (
        "exchange.cli.sample_night",
        "Make the files of a night: for each EDC a sync, its buckets, and what else is asked for.",
    ),
    "serve": (
        "exchange.cli.serve",
        "Run the hub: let partners in, load what they send, publish it and judge each day.",
    ),
    "status": ("exchange.cli.status", "Tonight at a glance: each EDC, each EGS, and what needs an operator."),
    "submit": (
        "exchange.cli.submit",
        "Take files in as if their EDC had uploaded them just now, and wait for their receipts.",
    ),
    "sweep": ("exchange.cli.sweep", "Do all that is due, once, and exit."),
    "sync": (
        "exchange.cli.sync",
        "Meter data syncs: which is in force, what another would change, and an operator's word on it.",
    ),
    "torture": (
        "exchange.cli.torture",
        "A scratch hub under heavy traffic to which everything happens, and a proof that nothing is lost.",
    ),
    "verify": (
        "exchange.cli.verify",
        "Check a whole home and name each thing that is wrong, with what to do.",
    ),
}


_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_OF_A_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM}


class _Commands(click.Group):
    """The commands of COMMANDS, imported when they are wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Every command takes --home and --json, and its --help has an example. For rehearsals and tests, "
    "METERHUB_NOW=2013-09-03T10:00:00Z sets the clock that a command goes by; it runs on from there.",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The hub's folder, with config/meterhub.toml; else METERHUB_HOME, else the current folder.",
)
@click.option("--json", is_flag=True, help="Answer in JSON.")
@click.version_option(package_name="meterhub", message="meterhub %(version)s")
@click.pass_context
def meterhub(context: click.Context, /, **_: object) -> None:  # --home and --json are read by options.Command
    """Takes meter readings from distribution companies and lays before each supplier its own accounts."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code."""
    asked = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return meterhub.main(asked, prog_name="meterhub", standalone_mode=False) or 0
    except MeterhubError as error:
        _tell(error, as_json="--json" in asked)
        return error.exit_code
    except click.ClickException as error:
        if "--json" in asked:
            _tell(MeterhubError("usage", error.format_message(), _help(error)), as_json=True)
        else:
            error.show()
        return error.exit_code
    except click.Abort:
        click.echo("stopped", err=True)
        return 1
    except BrokenPipeError:
        # Whoever read the answer has seen enough; the interpreter must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            return _of_a_place(error, as_json="--json" in asked)
        where = f" at {error.filename}" if error.filename else ""
        hint = "uploads are refused and loads wait; all goes on by itself when that is mended"
        told = OperatorError("disk-unwritable", f"the disk cannot be written{where}: {error.strerror}", hint)
        _tell(told, as_json="--json" in asked)
        return told.exit_code
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        told = OperatorError(
            "disk-full", "the disk is full: it was not written whole", "make room, and ask again"
        )
        _tell(told, as_json="--json" in asked)
        return told.exit_code


def _of_a_place(error: OSError, *, as_json: bool) -> int:
    """Tell of a file that is not there, or cannot be. Raises the error if it names none."""
    if error.filename is None or error.errno not in _OF_A_PLACE:
        raise error
    words = f"{error.filename}: {(error.strerror or 'not there').lower()}"
    told = OperatorError("no-such-place", words, "of what a home lacks, meterhub verify tells more")
    _tell(told, as_json=as_json)
    return told.exit_code


def _help(error: click.ClickException) -> str:
    """How to see what the command takes."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{context.command_path if context else 'meterhub'} --help"


def _tell(error: MeterhubError, *, as_json: bool) -> None:
    if as_json:
        told = {"code": error.code, "message": error.message, "hint": error.hint}
        click.echo(json.dumps({"error": told}, indent=2, ensure_ascii=False))
        return
    click.echo(f"meterhub: {error.message} ({error.code})", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)
