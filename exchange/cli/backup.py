"""`meterhub backup`: a consistent copy of the ledger, and what else belongs to a backup, in which order."""

from pathlib import Path
from typing import Any

import click

from config.errors import OperatorError, RefusedError
from exchange.cli import options, show
from exchange.cli.options import Asked
from jobs.proofs import known
from jobs.stores.ledger import Ledger, copies


@options.command(
    "backup", "meterhub backup /mnt/backup/meterhub", "meterhub backup /mnt/backup/meterhub --json"
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def command(asked: Asked, *, folder: Path) -> int:
    """Copy the ledger as it is at this moment, also of a running hub, and say what else to copy.

    The copy is read again from its first event to its last before it counts. All other files are written before
    the ledger tells of them and are never changed where they matter, so they are copied after it, in the order
    given, by any means. Exit code 1 if the ledger that was copied is not as it was recorded.
    """
    home, settings = asked.home, asked.settings
    url = settings.ledger_url(home)
    if not settings.database_url and not home.ledger_file.is_file():
        hint = "to make it again from the archive and the lake: meterhub rebuild"
        raise OperatorError("no-ledger", f"there is no {home.ledger_file}", hint)
    folder.mkdir(parents=True, exist_ok=True)
    to = folder.absolute() / f"ledger.{asked.clock():%Y%m%dT%H%M%SZ}.sqlite"
    try:
        copies.copy(url, to)
    except FileExistsError as error:
        raise RefusedError("backup-exists", f"{to} is there already", "try again in a second") from error
    copied = Ledger(f"sqlite:///{to}")
    try:
        found = known.read(copied, expected={}, whole=True)
    finally:
        copied.close()
    to.chmod(0o600)
    rest = [home.archive, settings.lake_folder(home), home.state / "contents", home.kept_partners]
    rest += [home.sftp_root, home.settings_file.parent, home.logs]
    answer: dict[str, Any] = {
        "ledger": str(to),
        "bytes": to.stat().st_size,
        "head": str(found.head),
        "wrong": [one.what for one in found.broken],
        "copy_next": [str(path) for path in rest if path.exists()],
    }
    rows = [(number, path) for number, path in enumerate(answer["copy_next"], 1)]
    asked.show(
        answer,
        f"The ledger is copied: {to}, {answer['bytes']:,} bytes",
        f"Head of the chain: {found.head}",
        *(f"Wrong in it: {what}" for what in answer["wrong"]),
        show.table((">", "copy these now, in this order"), rows, tight=True),
        f"To restore: put all back, the ledger as {home.ledger_file}, and: meterhub verify",
    )
    return 1 if found.broken else 0
