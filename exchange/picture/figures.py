"""The figures of a usage day's page. Each is the answer to a question that anybody can ask again with
`meterhub query`, or what `meterhub status --day` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from exchange import tonight
from exchange.tonight import OfEdc, Tonight
from jobs.stores import views
from jobs.stores.ledger import runs
from jobs.stores.opened import Stores
from schemas import receipt

Row = Mapping[str, Any]

_ARRIVED = """
select edc, received_at, drop_id, count(*) as blocks, count(*) filter (version = 1) as first_versions
from usage where usage_date = date '{day}' group by all order by edc, received_at, drop_id
"""

_VERSIONS = """
select edc, version, count(*) as blocks, count(*) filter (estimated > 0) as blocks_with_estimates,
    sum(estimated)::bigint as estimated_intervals, sum(wh_total)::bigint as wh
from usage where usage_date = date '{day}' group by all order by edc, version
"""

_CURRENT = """
select edc, count(*) as blocks, count(*) filter (estimated > 0) as blocks_with_estimates,
    sum(estimated)::bigint as estimated_intervals, sum(wh_total)::bigint as wh
from usage_current where usage_date = date '{day}' group by all order by edc
"""

_GIVEN = """
select egs, edc, count(*) as files, sum(blocks)::bigint as blocks, sum(intervals)::bigint as intervals,
    sum(estimated)::bigint as estimated, sum(versions_above_1)::bigint as versions_above_1,
    count(*) filter (withdrawn_at is not null) as withdrawn,
    count(*) filter (collected_at is not null) as collected,
    coalesce(sum(blocks) filter (collected_at is not null), 0)::bigint as blocks_collected
from outbound_files
where laid_out_at >= timestamptz '{since}' and list_contains(usage_days, date '{day}')
group by all order by egs, edc
"""

_FAULTY = """
select partner as edc, name, id as drop_id, arrived_at, coalesce(outcome, stage) as became, blocks_rejected,
    faults_total, list_sort(list_distinct([fault.code for fault in faults])) as codes
from drops
where arrived_at >= timestamptz '{since}' and arrived_at < timestamptz '{until}'
    and (faults_total > 0 or stage = 'refused')
order by edc, arrived_at, drop_id
"""

QUESTIONS: Mapping[str, str] = {
    "arrived": _ARRIVED,
    "versions": _VERSIONS,
    "current": _CURRENT,
    "given": _GIVEN,
    "faulty": _FAULTY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A usage day in figures. `answers` and `asked`: the rows and the text of each of QUESTIONS."""

    day: date
    at: datetime
    seen: Tonight
    verdicts: Mapping[str, Row]  # by EDC: rows of schemas.tables.verdict
    names: Mapping[str, str]  # of partners, by id
    zones: Mapping[str, ZoneInfo]  # of EDCs
    answers: Mapping[str, list[Row]]
    asked: Mapping[str, str]

    def of(self, question: str, edc: str) -> list[Row]:
        """The rows of an answer that are about one EDC."""
        return [row for row in self.answers[question] if row["edc"] == edc]

    def in_time(self, edc: OfEdc) -> int | None:
        """What was loaded in time of what was due, by the verdict; None before there is one."""
        verdict = self.verdicts.get(edc.edc)
        return None if verdict is None or verdict["verdict"] == "unknown" else int(verdict["in_time"])

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON holds them; instants as partners read them."""
        plain = {
            question: [{name: _plain(said) for name, said in row.items()} for row in rows]
            for question, rows in self.answers.items()
        }
        return {"usage_day": self.day.isoformat(), "status": tonight.as_json(self.seen), **plain}


def gather(day: date, *, stores: Stores, now: datetime) -> Figures:
    """Ask for all of it."""
    seen = tonight.look(stores=stores, now=now, day=day)
    partners = stores.partners.current()
    with stores.ledger.read() as tx:
        judged = {edc.edc: runs.verdict(tx, edc=edc.edc, day=day) for edc in seen.edcs}
    span = {
        "since": receipt.instant(min((edc.since for edc in seen.edcs), default=now)),
        "until": receipt.instant(max((edc.until for edc in seen.edcs), default=now)),
    }
    asked = {name: text.format(day=day, **span).strip() for name, text in QUESTIONS.items()}
    return Figures(
        day=day,
        at=now,
        seen=seen,
        verdicts={edc: row for edc, row in judged.items() if row is not None},
        names={one.id: one.name for one in (*partners.edcs, *partners.egss)},
        zones={edc.id: edc.zone for edc in partners.edcs if edc.zone is not None},
        answers={name: _ask(text, stores=stores) for name, text in asked.items()},
        asked=asked,
    )


def _ask(question: str, *, stores: Stores) -> list[Row]:
    with views.ask(question, stores=stores) as answer:
        return [row for batch in answer for row in batch.to_pylist()]


def _plain(said: Any) -> Any:
    return receipt.instant(said) if isinstance(said, datetime) else said
