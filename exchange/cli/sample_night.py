"""`meterhub sample-night`: makes the files of a night, of any size, as distribution companies send them."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from config import partners
from config.errors import RefusedError
from config.home import Home
from config.partners import Partner
from exchange.cli import options, show
from exchange.cli.options import Asked
from schemas import sample, sample_faults
from schemas.sample import Edc, Egs, Night, SampleFile
from schemas.usage_day import due_at

_EXTRA = 3_000  # accounts of the extra bucket: enough for what is bad in it to be under 1 %


@options.command(
    "sample-night",
    "meterhub sample-night night --day 2026-03-08 --accounts 100000",
    "meterhub sample-night night --accounts 200 --replacements 10 --switches 5 --faults --gzip",
    "meterhub --home hub sample-night night --edc cnp --days 7",
)
@click.argument("out", metavar="OUT_DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The first usage day; by default the latest for which none of the files is of a day to come.",
)
@click.option(
    "--days",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="So many usage days, from that day on.",
)
@click.option("--edc", "only", multiple=True, metavar="ID", help="Only this EDC; may be given several times.")
@click.option(
    "--accounts", type=click.IntRange(1), default=100_000, show_default=True, help="Accounts of each EDC."
)
@click.option(
    "--bucket", type=click.IntRange(1), default=50_000, show_default=True, help="Accounts in a file."
)
@click.option(
    "--estimated",
    type=click.FloatRange(0, 1),
    default=0.02,
    show_default=True,
    help="Share of blocks with estimates.",
)
@click.option(
    "--net-metered",
    type=click.FloatRange(0, 1),
    default=0.04,
    show_default=True,
    help="Share of accounts that feed in, too.",
)
@click.option(
    "--default-service",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Share of accounts of no supplier.",
)
@click.option(
    "--replacements",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Accounts of each EDC with a new cut.",
)
@click.option(
    "--switches",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Accounts of each EDC that the next sync moves.",
)
@click.option(
    "--strangers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Accounts that only the next sync will name.",
)
@click.option("--faults", is_flag=True, help="A bucket with one block of each fault, and broken files.")
@click.option("--gzip", "gzipped", is_flag=True, help="Packed, as .gz.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same bytes."
)
def command(
    asked: Asked,
    *,
    out: Path,
    day: datetime | None,
    days: int,
    only: tuple[str, ...],
    replacements: int,
    switches: int,
    faults: bool,
    **recipe: Any,
) -> None:
    """Make the files of a night: for each EDC a sync, its buckets, and what else is asked for.

    They lie in OUT_DIR, in a folder for each EDC that may send them. The EDCs and suppliers are the home's,
    or two EDCs and four suppliers where there is no home.
    """
    edcs, egss = _parties(asked.place, only)
    ahead = max(days - 1, 1 if switches or recipe["strangers"] else 0)  # of the first day's own sync
    first = day.date() if day else _yesterday(edcs, asked.clock()) - timedelta(days=ahead)
    night = Night(day=first, edcs=edcs, egss=egss, extra=_EXTRA if faults else 0, **recipe)
    written = [
        _write(out, file)
        for file in _files(night, days=days, replacements=replacements, switches=switches, faults=faults)
    ]
    made = {Path(one["path"]) for one in written}
    others = sorted(str(path) for edc in edcs for path in (out / edc.id).iterdir() if path not in made)
    answer = {
        "folder": str(out),
        "days": [str(first + timedelta(days=k)) for k in range(days)],
        "files": written,
        "totals": {
            what: sum(one[what] for one in written) for what in ("bytes", "accounts", "blocks", "intervals")
        },
        "others": others,
    }
    asked.show(answer, *_readable(out, written))
    if others and not asked.json:
        options.warn(
            [f"{len(others)} files that are not of this night were there and still are: {others[0]} …"]
        )


def _files(
    night: Night, *, days: int, replacements: int, switches: int, faults: bool
) -> Iterator[SampleFile]:
    yield from night.syncs()
    for k in range(days):
        yield from night.buckets(day=night.day + timedelta(days=k))
    for edc in night.edcs:
        if faults:
            yield sample_faults.bad_bucket(night, edc)
            yield from sample_faults.broken(night, edc)
        elif night.strangers:
            yield night.extra_bucket(edc)
        if replacements:
            yield night.replacement(edc, accounts=replacements)
        if switches or night.strangers:
            yield from night.switch(edc, accounts=switches)


def _write(out: Path, file: SampleFile) -> dict[str, Any]:
    path = out / file.edc / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.content)
    facts = asdict(file)
    del facts["content"]
    return {**facts, "path": str(path), "bytes": len(file.content)}


def _parties(place: Home, only: tuple[str, ...]) -> tuple[tuple[Edc, ...], tuple[Egs, ...]]:
    """The EDCs and suppliers of the home, those that are disabled left out; or the built-in ones."""
    edcs, egss = sample.EDCS, sample.EGSS
    if place.settings_file.is_file():
        known = partners.known(place)
        options.tell_mistakes(known)
        edcs = tuple(_edc(one) for one in known.edcs if not one.disabled)
        egss = tuple(Egs(id=one.id, name=one.name, duns=one.duns) for one in known.egss if not one.disabled)
    if unknown := set(only) - {edc.id for edc in edcs}:
        raise RefusedError(
            "no-such-edc",
            f"no EDC is called {', '.join(sorted(unknown))}",
            f"there are: {', '.join(edc.id for edc in edcs) or 'none'}",
        )
    chosen = tuple(edc for edc in edcs if not only or edc.id in only)
    if not chosen or not egss:
        raise RefusedError(
            "no-parties",
            f"{place.root} has {len(edcs)} EDCs and {len(egss)} suppliers: a night needs one of each",
            "add some with: meterhub partner add, or: meterhub init --sample",
        )
    return chosen, egss


def _edc(partner: Partner) -> Edc:
    assert partner.zone is not None  # every EDC has one (config.partners)
    load = "4" if "4" in partner.channels else max(partner.channels)
    surplus = "1" if "1" in partner.channels and load != "1" else None
    return Edc(
        id=partner.id, name=partner.name, duns=partner.duns, zone=partner.zone, load=load, surplus=surplus
    )


def _yesterday(edcs: tuple[Edc, ...], now: datetime) -> date:
    """The last usage day that is over for all of them."""
    return min(due_at(now, edc.zone).date for edc in edcs)


def _readable(out: Path, written: list[dict[str, Any]]) -> list[Any]:
    rows = [
        (
            one["edc"],
            one["name"],
            _size(one["bytes"]),
            f"{one['accounts']:,}" if one["accounts"] else "",
            f"{one['blocks']:,}" if one["blocks"] else "",
            one["says"],
        )
        for one in written
    ]
    table = show.table(("EDC", "file", ">size", ">accounts", ">blocks", "what it is"), rows)
    return [table, f"{len(written)} files, {_size(sum(one['bytes'] for one in written))}, in {out}"]


def _size(octets: int) -> str:
    return f"{octets / 1e6:,.1f} MB" if octets >= 100_000 else f"{octets / 1e3:,.1f} kB"
