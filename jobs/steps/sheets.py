"""sheets: each usage day's proof sheet for each partner, signed, when its verdict is given.

A sheet tells what the chain of events says of its partner, from where the last one ended; and nothing of others.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from config.partners import Partner, Role
from jobs.stores import signing
from jobs.stores.ledger import claims, drops, events, outbox, runs, syncs
from jobs.stores.ledger.events import Head
from jobs.stores.opened import Stores
from jobs.stores.signing import Signer
from schemas import proof_sheet, receipt, ssh_signature
from schemas.usage_day import UsageDay

_JOB, _LAST = "sheet", "sheet-last"
_FOR = timedelta(days=60)  # a day whose verdict came later than that after it has no sheet of its own
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """So many sheets were laid into partners' reports/."""

    sheets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoKey:
    """There is no key to sign with: `meterhub init` makes one."""


def write(*, stores: Stores, now: datetime) -> Written | NoKey:
    """Write every sheet that is due: of an EDC when its day has a verdict, of an EGS when it has all of them."""
    signer = signing.load(stores.home.signing_key)
    if signer is None:
        return NoKey()
    with stores.ledger.read() as tx:
        due = list(_due(tx, stores=stores, now=now))
    return Written(sheets=sum(_claim(one, day, signer, stores=stores, now=now) for day, one in due))


def _due(tx: Connection, *, stores: Stores, now: datetime) -> Iterator[tuple[date, Partner]]:
    """The sheets that are due, by day."""
    partners = stores.partners.current()
    edcs = [edc for edc in partners.edcs if not edc.disabled]
    since = now.date() - _FOR
    done = runs.done_since(tx, _JOB, since.isoformat())
    judged = {edc.id: {day for day in runs.judged(tx, edc.id) if day >= since} for edc in edcs}
    first = {edc.id: drops.first_arrival(tx, edc.id) for edc in edcs}

    def is_settled(edc: Partner, day: date) -> bool:
        assert edc.zone is not None
        came = first[edc.id]
        deadline = UsageDay(day, edc.zone).deadline(stores.settings.deadline.time)
        return day in judged[edc.id] or came is None or deadline < came

    for day in sorted(set().union(*judged.values())):
        of_day = [edc for edc in edcs if day in judged[edc.id]]
        if all(is_settled(edc, day) for edc in edcs):
            of_day += [egs for egs in partners.egss if not egs.disabled]
        yield from ((day, one) for one in of_day if _key(day, one) not in done)


def _key(day: date, partner: Partner) -> str:
    return f"{day}/{partner.id}"


def _claim(partner: Partner, day: date, signer: Signer, *, stores: Stores, now: datetime) -> bool:
    """Write one sheet, unless another process has that in hand."""
    key = f"verdict:{partner.id}/{day}"  # as whoever lays other reports of the day
    with claims.claimed(stores.ledger, key, owner=stores.owner, now=now) as mine:
        return mine and _write(partner, day, signer, stores=stores, now=now)


def _write(partner: Partner, day: date, signer: Signer, *, stores: Stores, now: datetime) -> bool:
    """One sheet, unless there is nothing to tell. Its files are laid before the transaction ends; a sheet of ours
    that lies there whole already, from before a crash or of a ledger that was lost, stays as it is.
    """
    with stores.ledger.write() as tx:
        if runs.is_done(tx, _JOB, _key(day, partner)):  # by another process, a moment ago
            return False
        runs.keep(tx, _JOB, _key(day, partner), at=now)
        head = events.head(tx)
        name = proof_sheet.name(day)
        text = _lies(partner, name, signer, stores=stores) or _made(tx, partner, day, head)
        if not text:
            return False
        sheet = stores.mailboxes.lay(partner.id, "reports", name, text)
        signature = signer.sign(text.encode(), namespace=proof_sheet.NAMESPACE)
        beside = stores.mailboxes.lay(partner.id, "reports", name + ssh_signature.ENDING, signature)
        for laid in (sheet, beside):
            say = {"file": laid.name, "sha256": laid.sha256}
            events.record(tx, events.SHEET, at=now, about=f"{partner.id}/{day}", partner=partner.id, **say)
        through = events.Head.read(json.loads(text)["chain"]["through"])
        if not events.has(
            tx, through
        ):  # of a chain that is lost: the next sheet begins with what is told since
            through = head
        last = {"file": name, "sha256": sheet.sha256}
        runs.keep(tx, _LAST, partner.id, at=now, through=str(through), sheet=last)
    return True


def _lies(partner: Partner, name: str, signer: Signer, *, stores: Stores) -> str:
    """The sheet of that name that lies there with our signature; nothing if there is none."""
    sheet = stores.mailboxes.whole(partner.id, name, "reports")
    beside = sheet.with_name(name + ssh_signature.ENDING)
    if not (sheet.is_file() and beside.is_file()):
        return ""
    text = sheet.read_bytes()
    is_ours = beside.read_bytes() == signer.sign(text, namespace=proof_sheet.NAMESPACE).encode()
    return text.decode() if is_ours else ""


def _made(tx: Connection, partner: Partner, day: date, head: Head) -> str:
    """The text of a sheet; nothing if there is nothing to tell."""
    before = runs.get(tx, _LAST, partner.id)
    after = events.Head.read(before["said"]["through"]) if before else events.NOTHING_YET
    rows = events.of_partner(tx, partner.id, after=after.id, through=head.id)
    tells = _of_edc(tx, partner, day, rows) if partner.role is Role.EDC else _of_egs(tx, partner, rows)
    if tells is None:
        return ""
    said = proof_sheet.sheet(
        partner={"id": partner.id, "duns": partner.duns, "role": str(partner.role)},
        day=day,
        after=str(after),
        through=str(head),
        before=before["said"]["sheet"] if before else None,
        tells=tells,
    )
    return json.dumps(said, indent=1) + "\n"


def _of_edc(tx: Connection, partner: Partner, day: date, rows: Sequence[Row]) -> dict[str, Any]:
    in_force = [syncs.get(tx, row["about"]) for row in rows if row["name"] == "sync.enforced"]
    return proof_sheet.of_edc(
        verdict=runs.verdict(tx, edc=partner.id, day=day),
        drops=[drops.get(tx, row["about"]) for row in rows if row["name"] in proof_sheet.OF_A_DROP],
        syncs=[
            {"sync": sync.id, "as_of": sync.as_of.isoformat(), "accounts": sync.accounts} for sync in in_force
        ],
    )


def _of_egs(tx: Connection, partner: Partner, rows: Sequence[Row]) -> dict[str, Any] | None:
    """What a supplier's sheet tells; None when nothing happened."""
    named = [row["about"] for row in rows if row["name"] == "outbound.recorded"]
    withdrawn = [row for row in rows if row["name"] == "outbound.withdrawn"]
    fetched = [row for row in rows if row["name"] == "outbound.collected"]
    if not (named or withdrawn or fetched):
        return None
    return proof_sheet.of_egs(
        files=[file for name in named for file in outbox.named(tx, name, egs=partner.id)],
        withdrawn=[_happened(row, "by") for row in withdrawn],
        fetched=[_happened(row, "bytes", "of", "whole") for row in fetched],
    )


def _happened(row: Row, *details: str) -> dict[str, Any]:
    """What an event says of an outbound file."""
    said = {name: row["details"][name] for name in details}
    return {"file": row["about"], "at": receipt.instant(row["at"]), **said}
