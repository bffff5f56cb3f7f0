"""All stores of a home, opened together."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from config.errors import OperatorError
from config.home import Home
from config.partners_folder import PartnersFolder
from config.settings import Settings
from jobs.stores.archive import Archive
from jobs.stores.lake import Lake
from jobs.stores.ledger import Ledger
from jobs.stores.ledger.claims import Owner
from jobs.stores.mailboxes import Mailboxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """All stores of a home, open, with its settings and partners."""

    home: Home
    settings: Settings
    partners: PartnersFolder
    ledger: Ledger
    lake: Lake
    archive: Archive
    mailboxes: Mailboxes
    owner: Owner

    @classmethod
    def open(cls, home: Home, settings: Settings) -> "Stores":
        """Open a home's stores; brings the ledger's tables up to date first. Raises OperatorError as
        `open_ledger` does.
        """
        ledger = open_ledger(home, settings)
        ledger.migrate()
        return cls(
            home=home,
            settings=settings,
            partners=PartnersFolder(home.partners, home.kept_partners),
            ledger=ledger,
            lake=Lake(settings.lake_folder(home)),
            archive=Archive(home.archive),
            mailboxes=Mailboxes(home.sftp_root),
            owner=Owner(home.locks),
        )

    def close(self) -> None:
        self.ledger.close()
        self.owner.close()


def open_ledger(home: Home, settings: Settings) -> Ledger:
    """The ledger of a home. Raises OperatorError where there is none and files tell that there was one: an empty
    one in its place would know of nothing, and number anew.
    """
    ledger = Ledger(settings.ledger_url(home))
    is_there = bool(settings.database_url) or home.ledger_file.exists()
    if not (is_there and ledger.version()) and (left := _left(home, settings)) is not None:
        ledger.close()
        raise OperatorError(
            "ledger-lost",
            f"the ledger is gone: there is {left}, and no ledger that knows of it",
            "put it back (a copy that `meterhub backup` made, or the file itself), or have it made again: "
            "meterhub rebuild",
        )
    return ledger


def _left(home: Home, settings: Settings) -> Path | None:
    """A file that only a hub with a ledger can have made, if there is one."""
    lake = settings.lake_folder(home)
    return next(chain(home.archive.glob("??/*"), lake.glob("usage/*/*.parquet")), None)
