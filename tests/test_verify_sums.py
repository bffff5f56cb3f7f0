"""`meterhub verify` finds what only a sum can show: what a publication counts and what the lake has of it."""

import contextlib
import sqlite3
from collections.abc import Callable

import pytest

from hub_fixtures import Hub
from jobs_fixtures import CHAMPION, Cut, send, send_sync
from look_fixtures import DAY, Desk


@pytest.mark.parametrize("by", [-96, 1, 96])
def test_intervals_of_an_expired_file_that_were_edited_in_the_ledger_are_missed_in_its_publication(
    make_hub: Callable[..., Hub],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    by: int,
) -> None:
    # The file and its manifest are gone, and no event tells how many intervals it had: only the lake knows.
    hub = make_hub("[outbound]\nkeep_days = 1\n")
    desk = Desk(hub, capsys, monkeypatch)
    send_sync(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY), Cut(account="B", day=DAY))
    hub.sweep()
    hub.on(days=3)
    hub.sweep()
    (file,) = hub.files(CHAMPION.id)
    assert file.state == "expired"
    assert desk.ask("verify", "--json").json["findings"] == []
    with contextlib.closing(sqlite3.connect(hub.home.ledger_file, timeout=30)) as ledger:
        ledger.execute("update outbound_file set intervals = intervals + ?", (by,))
        ledger.commit()
    (found,) = desk.ask("verify", "--json").json["findings"]
    assert (found["where"], found["check"]) == (file.publication_id, "sums")
    assert (
        f"2 blocks with {192 + by} intervals; its lists name 2 blocks, of which the lake has 192"
        in found["what"]
    )
