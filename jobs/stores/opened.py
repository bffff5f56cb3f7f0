"""All stores of a home, opened together."""

from dataclasses import dataclass

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
        """Open a home's stores; brings the ledger's tables up to date first."""
        ledger = Ledger(settings.ledger_url(home))
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
