"""`meterhub check`: a file judged as the hub would judge it, without taking it in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import pyarrow.compute as pc

from config import partners
from config.errors import RefusedError
from config.partners import Partner
from config.settings import Settings
from exchange.cli import options, show, timeline
from exchange.cli.options import Asked
from exchange.stories.story import Section
from jobs.rules import admission
from jobs.steps import parse
from schemas import receipt, sync_file
from schemas.drop import Outcome
from schemas.fault import Fault, deciding
from schemas.usage_day import UsageDay, local_date

_FEW = 10  # faults, all of which are shown
_OF_A_CODE = 3  # of more, the first of each code


@options.command(
    "check",
    "meterhub check 957877905IntervalData20130902041530001.lse --edc cnp",
    "meterhub check 957877905MeterDataSync20130903031000001.csv.gz --edc cnp --json",
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--edc", "login", required=True, metavar="ID", help="Who would send it.")
@click.option(
    "--all", "every", is_flag=True, help=f"Show all faults, not the first {_OF_A_CODE} of each code."
)
def command(asked: Asked, *, file: Path, login: str, every: bool) -> int:
    """Judge a file as the hub would, without taking it in: name, sender, packing, every line.

    No server need run, and nothing is written. What was loaded before is not looked at, so a duplicate is not
    noticed. Exit code 1 if any of it would be refused.
    """
    known = partners.known(asked.home)
    options.tell_mistakes(known)
    edc = known.get(login)
    if edc is None or edc.zone is None:
        there = ", ".join(one.id for one in known.edcs) or "none"
        raise RefusedError("no-such-edc", f"no EDC is called {login}", f"there are: {there}")
    checked = _check(file, edc, asked.settings, asked.clock())
    faults = [receipt.fault(fault) for fault in checked.faults]
    answer = {
        "file": file.name,
        "edc": edc.id,
        "outcome": str(checked.outcome),
        **checked.counts,
        "usage_days": checked.days,
        "faults": faults,
        "faults_total": len(faults),
    }
    why = deciding(checked.faults).code if checked.faults else ""
    asked.show(answer, *_readable(answer, edc.zone, why, every=every or len(faults) <= _FEW))
    return 0 if checked.outcome is Outcome.ACCEPTED else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What the hub would say. `days`: of each usage day its blocks, deadline, and whether now is in time."""

    outcome: Outcome
    faults: tuple[Fault, ...] = ()
    counts: dict[str, Any]
    days: Sequence[dict[str, Any]] = ()


def _check(file: Path, edc: Partner, settings: Settings, now: datetime) -> _Checked:
    assert edc.zone is not None
    size = file.stat().st_size
    counts: dict[str, Any] = {"bytes": size}
    name = admission.judge(file.name, sender=edc.id, duns=edc.duns, size=size)
    if isinstance(name, Fault):
        return _Checked(outcome=Outcome.REJECTED, faults=(name,), counts=counts)
    if size > settings.sftp.max_upload_bytes:
        words = f"{file.name} has {size} bytes; the door takes at most {settings.sftp.max_upload_bytes}"
        raise RefusedError("too-big", words, "sftp.max_upload_bytes says how many")
    found = parse.parse(
        file.read_bytes(),
        name=name,
        sender=edc,
        limits=settings.limits,
        today=local_date(now, edc.zone),
    )
    if isinstance(found, parse.Unusable):
        counts["blocks_rejected"] = found.rejected
        return _Checked(outcome=Outcome.REJECTED, faults=found.faults, counts=counts)
    if isinstance(found, sync_file.Part):
        counts |= {"as_of": found.as_of, "part": found.part, "parts": found.parts, "rows": len(found.rows)}
        return _Checked(outcome=Outcome.ACCEPTED, counts=counts)
    blocks = found.blocks
    counts |= {
        "accounts": pc.count_distinct(blocks["account"]).as_py(),
        "blocks": len(blocks),
        "intervals": pc.sum(pc.binary_length(blocks["status"])).as_py(),
        "blocks_rejected": found.rejected,
    }
    days = pc.value_counts(blocks["usage_date"]).to_pylist()
    return _Checked(
        outcome=Outcome.PARTIAL if found.rejected else Outcome.ACCEPTED,
        faults=found.faults,
        counts=counts,
        days=[
            _day(one["values"], one["counts"], edc, settings, now)
            for one in sorted(days, key=lambda one: one["values"])
        ],
    )


def _day(day: date, blocks: int, edc: Partner, settings: Settings, now: datetime) -> dict[str, Any]:
    assert edc.zone is not None
    deadline = UsageDay(day, edc.zone).deadline(settings.deadline.time)
    return {
        "usage_day": day,
        "blocks": blocks,
        "deadline": receipt.instant(deadline),
        "in_time": now <= deadline,
        "if_late": str(settings.deadline.late),
    }


_WORDS = {
    "accepted": "would be accepted",
    "partial": "would be taken in part",
    "rejected": "would be refused",
}
_COUNTS = (
    ("accounts", "account", ""),
    ("blocks", "block", ""),
    ("intervals", "interval", ""),
    ("blocks_rejected", "block", " rejected"),
)
_LATE = {"publish": "late: published all the same", "hold": "late: held for an operator", "refuse": "late: refused, unless they replace others"}  # fmt: skip


def _readable(answer: dict[str, Any], zone: ZoneInfo, why: str, *, every: bool) -> list[Any]:
    said = ", ".join(
        f"{answer[key]:,} {word}{'' if answer[key] == 1 else 's'}{more}"
        for key, word, more in _COUNTS
        if key in answer and (answer[key] or key != "blocks_rejected")
    )
    if answer["outcome"] == Outcome.REJECTED:
        said = f"all of it, for {why}" if why else said
    if "part" in answer:
        said = f"part {answer['part']} of {answer['parts']} of the sync as of {answer['as_of']}, {answer['rows']:,} rows"
    shown: list[Any] = [f"{answer['file']} {_WORDS[answer['outcome']]}" + (f": {said}" if said else "")]
    days = [
        (
            day["usage_day"],
            f"{day['blocks']:,}",
            show.local(datetime.fromisoformat(day["deadline"]), zone),
            "in time" if day["in_time"] else _LATE[day["if_late"]],
        )
        for day in answer["usage_days"]
    ]
    if days:
        shown.append(show.table(("usage day", ">blocks", "deadline", "sent now"), days))
    return shown + _faults(answer["faults"], every=every)


def _faults(faults: list[dict[str, Any]], *, every: bool) -> list[Any]:
    """All faults by line; or how many there are of each code, and the first few of each."""
    if not faults:
        return []
    by_code: dict[str, list[dict[str, Any]]] = {}
    for fault in faults:
        by_code.setdefault(fault["code"], []).append(fault)
    few = faults if every else [fault for some in by_code.values() for fault in some[:_OF_A_CODE]]
    columns = (">line", ">column", "account", "code", "found", "wanted")
    headed = {column.removeprefix(">"): column for column in columns}
    title = "" if every else f"The first of each code; all {len(faults):,}: --all, or --json"
    shown = timeline.Fitting(
        Section(key="faults", title=title or "What is wrong with it", columns=headed, rows=few)
    )
    if every:
        return [shown]
    counts = [
        (code, f"{len(some):,}", f"{len({fault['account'] for fault in some if fault['account']}):,}")
        for code, some in sorted(by_code.items(), key=lambda one: -len(one[1]))
    ]
    return [show.table(("what is wrong", ">faults", ">accounts"), counts), shown]
