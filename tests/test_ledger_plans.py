"""What a hub asks its ledger all the time is found by an index: a sweep costs the same after seven years."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, event

from config.home import Home
from hub_fixtures import Hub
from jobs.stores.ledger import claims, drops, events, holds, loads, outbox, publications, runs, syncs
from schemas.drop import UNDER_WAY, Drop, Stage

NOW = datetime(2013, 9, 3, 10, tzinfo=UTC)
DAY = date(2013, 9, 2)

TWIN = Drop(
    id="D130903-00001",
    partner="cnp",
    name="a",
    stage=Stage.RECEIVED,
    arrived_at=NOW,
    bytes=1,
    in_inbound=True,
)
ASKED: dict[str, Callable[[Connection], Any]] = {
    "the id of a new drop": lambda tx: drops.begin(
        tx, partner="cnp", name="b", stage=Stage.ARRIVED, at=NOW, size=1
    ),
    "days loaded since their report": lambda tx: runs.outdated(tx, "cnp", since=DAY),
    "a drop of the same bytes": lambda tx: drops.twin(tx, TWIN),
    "drops under way": lambda tx: drops.at_stage(tx, UNDER_WAY),
    "broken uploads": lambda tx: drops.at_stage(tx, [Stage.INCOMPLETE]),
    "receipts due": drops.receipts_due,
    "a file in inbound": lambda tx: drops.in_inbound(tx, partner="cnp", name="a"),
    "what a verdict waits for": lambda tx: drops.under_way_by(tx, partner="cnp", instant=NOW),
    "an EDC's first arrival": lambda tx: drops.first_arrival(tx, "cnp"),
    "the latest drops": drops.listed,
    "the latest drops of an EDC": lambda tx: drops.listed(tx, partner="cnp"),
    "the latest drops of a stage": lambda tx: drops.listed(tx, stage=Stage.REFUSED),
    "the latest drops of an EDC and a stage": lambda tx: drops.listed(tx, partner="cnp", stage=Stage.REFUSED),
    "the drops of a file name": lambda tx: drops.listed(tx, name="a"),
    "the latest load": lambda tx: loads.last_seq(tx, "cnp"),
    "the files of a day": lambda tx: loads.on_day(tx, edc="cnp", day=DAY, low="a", high="b"),
    "the files of new loads": lambda tx: loads.between(tx, edc="cnp", after_seq=1, through_seq=2),
    "the files of a drop": lambda tx: loads.of_drop(tx, "D130903-00001"),
    "the files of an account's day": lambda tx: loads.holding(tx, "a", edc="cnp", day=DAY),
    "how a night stands": lambda tx: loads.night(tx, edc="cnp", day=DAY, until=NOW),
    "the cursor of publication": lambda tx: publications.cursor(tx, "cnp"),
    "publications cut off": lambda tx: publications.unfinished(tx, "cnp"),
    "files to be written again": lambda tx: outbox.rewrites_due(tx, edc="cnp"),
    "files that lie in outbound": lambda tx: outbox.live(tx, edc="cnp"),
    "files that have lain long enough": lambda tx: outbox.laid_out_before(tx, NOW),
    "files laid out just now": lambda tx: outbox.laid_out_since(tx, NOW),
    "the next sequence number": lambda tx: outbox.last_sequences(tx, ["champion"]),
    "which names were used": lambda tx: outbox.used_names(tx, low="a", high="b"),
    "files of a name": lambda tx: outbox.named(tx, "a"),
    "files of a publication": lambda tx: outbox.of_publication(tx, "P130903-00001"),
    "what an EGS was given of a day": lambda tx: outbox.given_of(tx, egs="champion", edc="cnp", day=DAY),
    "what is held": lambda tx: holds.held(tx, edc="cnp"),
    "how much is held": lambda tx: holds.counts(tx, "cnp"),
    "who collected a file": lambda tx: outbox.collections_of(tx, 1),
    "the sync in force": lambda tx: syncs.in_force(tx, "cnp"),
    "the sync of an instant": lambda tx: syncs.in_force_at(tx, "cnp", NOW),
    "the syncs that ruled since": lambda tx: syncs.that_ruled(tx, "cnp", since=NOW),
    "a verdict": lambda tx: runs.verdict(tx, edc="cnp", day=DAY),
    "whether a job has run": lambda tx: runs.is_done(tx, "publish", "cnp"),
    "the history of a drop": lambda tx: events.about(tx, "D130903-00001"),
    "who holds a claim": lambda tx: claims.give_back(tx, "drop:D130903-00001"),
}
# An index that holds only what is open may be read from end to end, and one that is read backwards to a limit.
READ_THROUGH = ("ix_drop_receipt_due", "ix_drop_arrived_at")
LAST_EVENT = "SELECT event.id, event.hash"  # read backwards, one row: each event names the one before


@pytest.fixture(scope="module")
def asked_for(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, list[tuple[str, Any]]]]:
    """A hub, and the statements its ledger is sent."""
    hub = Hub(Home(tmp_path_factory.mktemp("plans") / "hub"), NOW)
    sent: list[tuple[str, Any]] = []
    event.listen(
        hub.stores.ledger.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, given, _context, _many: sent.append((statement, given)),
    )
    yield hub, sent
    hub.close()


@pytest.mark.parametrize("question", ASKED)
def test_it_is_found_by_an_index(asked_for: tuple[Hub, list[tuple[str, Any]]], question: str) -> None:
    hub, sent = asked_for
    sent.clear()
    with hub.stores.ledger.write() as tx:
        ASKED[question](tx)
    statements = [(said, given) for said, given in sent if not said.startswith(("begin", LAST_EVENT))]
    assert statements
    with hub.stores.ledger.read() as tx:
        for said, given in statements:
            plan = [row[3] for row in tx.exec_driver_sql(f"explain query plan {said}", given)]
            read = [step for step in plan if "SCAN" in step and not step.endswith(READ_THROUGH)]
            assert read == [], f"{said}\n{plan}"
