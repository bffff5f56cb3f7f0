"""The stores of a home, open for as long as a command works with them."""

import difflib
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from config import log as log_setup
from config.errors import OperatorError, RefusedError
from config.partners import Partner
from exchange.cli import options
from exchange.cli.options import Asked
from jobs.stores.opened import Stores

T = TypeVar("T")

LOOK_AGAIN = 0.2  # seconds after which what another process has in hand is looked at again
_PATIENCE = 600.0  # seconds that it may have it in hand


@contextmanager
def stores(asked: Asked) -> Iterator[Stores]:
    """The stores of the home that was asked for. What happens is logged to state/logs/, as by the server."""
    home, settings = asked.home, asked.settings
    home.lay_out()
    log_setup.configure(home, settings, console=False)
    opened = Stores.open(home, settings)
    options.tell_mistakes(opened.partners.current())
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def stores_of(asked: Asked, known_at: datetime | None) -> Iterator[Stores]:
    """The stores of the home that was asked for; as they were known at an instant, if one is given."""
    with stores(asked) as opened:
        if known_at is None:
            yield opened
            return
        from jobs.stores.as_known import as_known

        with as_known(opened, known_at, now=asked.clock()) as then:
            yield then


def edc(opened: Stores, login: str) -> Partner:
    """The EDC of that id. Raises RefusedError if there is none."""
    known = {one.id: one for one in opened.partners.current().edcs}
    if login not in known:
        near = difflib.get_close_matches(login, known, n=1)
        raise RefusedError(
            "no-such-edc",
            f"no EDC is called {login}",
            f"is {near[0]} meant?" if near else f"there are: {', '.join(known) or 'none'}",
        )
    return known[login]


def edcs(opened: Stores, only: Collection[str] = ()) -> list[Partner]:
    """All EDCs, or those asked for. Raises RefusedError if one of these is unknown."""
    return [edc(opened, login) for login in only] or list(opened.partners.current().edcs)


def when_free(work: Callable[[], T | None]) -> T:
    """What `work` answers. It answers None while another process has in hand what is to be worked on."""
    until = time.monotonic() + _PATIENCE
    while (outcome := work()) is None:
        if time.monotonic() > until:
            raise OperatorError(
                "busy",
                f"another process has had this in hand for {_PATIENCE / 60:.0f} minutes",
                "see what `meterhub serve` is doing in state/logs/",
            )
        time.sleep(LOOK_AGAIN)
    return outcome
