"""An operator who never rests: beside the hub, has parked work tried again and sweeps, over and over.

A process of its own (`python -m exchange.torture.beside HOME`), for commands work beside a running hub, and may be
struck and killed as it may. Its clock is that of the hub.
"""

import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from config import log as log_setup
from config import settings as settings_file
from config.errors import MeterhubError
from config.home import Home
from exchange.cli import options
from jobs.schedule import Schedule
from jobs.stores.ledger import failures
from jobs.stores.opened import Stores

_BETWEEN = 0.2  # seconds between two sweeps


def main(root: Path) -> NoReturn:
    """Sweep until killed."""
    home, settings, clock = Home(root), settings_file.load(root), options.the_clock(os.environ[options.NOW])
    log_setup.configure(home, settings, console=False)
    stores = Stores.open(home, settings)
    schedule = Schedule(stores, clock, inline=True)
    while True:
        try:
            retry(stores, now=clock())
            schedule.sweep(to_the_end=True)
        except (MeterhubError, OSError) as error:  # the disk is full, or the ledger is away: they come back
            sys.stderr.write(f"{error}\n")
        time.sleep(_BETWEEN)


def retry(stores: Stores, *, now: datetime) -> int:
    """Have tried again what was parked; how much that was."""
    with stores.ledger.write() as tx:
        parked = failures.parked(tx)
        for failure in parked:
            failures.retry(tx, failure, by="torture", at=now)
    return len(parked)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
