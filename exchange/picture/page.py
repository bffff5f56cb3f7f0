"""A usage day as one page of HTML that needs nothing else: no script, no font, no picture from elsewhere.

It is well-formed XML, so that programs can read it, and plain black on white, so that paper can carry it.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

from exchange.picture import curve
from exchange.picture.curve import Curve
from exchange.picture.figures import Figures, Row
from exchange.tonight import OfEdc
from schemas import receipt

_SHOWN = 40  # faulty drops of an EDC that are named
_STYLE = """
body { font: 10.5pt/1.4 Georgia, serif; color: #000; background: #fff; max-width: 48rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; border-bottom: 1.5px solid }
h3 { font-size: 1rem; margin: 1rem 0 .2rem } p { margin: .3rem 0 }
table { border-collapse: collapse; width: 100%; font-size: .88rem } th { text-align: left; border-bottom: 1px solid }
th, td { padding: .18rem .5rem .18rem 0; vertical-align: top } .n { text-align: right; font-variant-numeric: tabular-nums }
tbody tr + tr td { border-top: 1px solid #bbb } .name { overflow-wrap: anywhere } .note { font-size: .85rem }
pre { font-size: .68rem; line-height: 1.35; white-space: pre-wrap; margin: .3rem 0 } svg { display: block }
.curve { width: 100% } .bar { width: 10rem; margin-top: .3rem } .defs { position: absolute }
h2, h3, thead { break-after: avoid } tr, .curve, pre { break-inside: avoid }
@media print { body { margin: 0; max-width: none } }
"""


def rendered(figures: Figures) -> str:
    """The whole page."""
    title = f"Usage day {figures.day}"
    parts = [
        *_head(figures),
        *_arrivals(figures),
        *_completeness(figures),
        *_versions(figures),
        *_given(figures),
        *_faults(figures),
        *_questions(figures),
    ]
    return (
        "<!DOCTYPE html>\n"
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width"/>'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _head(figures: Figures) -> Iterator[str]:
    yield f'<svg class="defs" width="0" height="0"><defs>{curve.HATCH}</defs></svg>'
    yield f"<h1>Usage day {figures.day:%A %-d %B %Y}</h1>"
    yield f'<p class="note">As it stood at {figures.at:%Y-%m-%d %H:%M:%S} UTC. Times are by the clocks of each EDC.</p>'
    if not figures.seen.edcs:
        yield "<p>No EDC is among the partners.</p>"
    for edc in figures.seen.edcs:
        yield f"<p><b>{_who(figures, edc.edc)}</b>: {_text(_said(figures, edc))}</p>"


def _said(figures: Figures, edc: OfEdc) -> str:
    """How an EDC's day stands, in a sentence."""
    if edc.verdict == "unknown" or (edc.due is None and edc.minutes_left is None):
        return f"no verdict: there is no sync to hold the day to; {edc.loaded:,} blocks are loaded."
    if edc.verdict is None:
        due = "nobody knows how many" if edc.due is None else f"{edc.due:,}"
        when = "the deadline is to come" if edc.minutes_left is not None else "not judged yet"
        return f"{when}; {edc.loaded:,} of {due} blocks due are loaded."
    in_time = figures.in_time(edc)
    said = f"deadline {edc.verdict}: {in_time:,} of {edc.due:,} blocks due were loaded in time"
    verdict = figures.verdicts[edc.edc]
    if verdict["late"]:
        said += f", {verdict['late']:,} late"
    if verdict["missing"]:
        said += f", {verdict['missing']:,} are missing"
    return f"{said}."


def _arrivals(figures: Figures) -> Iterator[str]:
    yield "<h2>When it came</h2>"
    yield '<p class="note">Blocks that came first for their account and channel, by the arrival of their file.</p>'
    for edc in figures.seen.edcs:
        zone = figures.zones[edc.edc]
        of_edc = Curve(
            since=edc.since,
            deadline=edc.deadline,
            zone=zone,
            due=edc.due,
            arrived=[(row["received_at"], row["first_versions"]) for row in figures.of("arrived", edc.edc)],
        )
        before = sum(blocks for at, blocks in of_edc.arrived if at <= edc.deadline)
        says = f"{before:,} of {of_edc.total:,} came by the deadline, {_local(edc.deadline, zone)}"
        if figures.at < edc.deadline:
            says = f"{of_edc.total:,} came so far; the deadline is {_local(edc.deadline, zone)}"
        beyond = f"; {of_edc.beyond:,} came after what is drawn" if of_edc.beyond else ""
        yield f"<section><h3>{_who(figures, edc.edc)}</h3>{curve.drawn(of_edc, says=_text(says))}"
        yield f'<p class="note">{_text(says + beyond)}.</p></section>'


def _completeness(figures: Figures) -> Iterator[str]:
    columns = ("EDC", ">due", ">in time", ">late", ">missing", "", "verdict", "last load")
    rows = []
    for edc in figures.seen.edcs:
        verdict, in_time = figures.verdicts.get(edc.edc), figures.in_time(edc)
        judged = verdict is not None and in_time is not None
        counts = [verdict[name] for name in ("late", "missing")] if verdict and judged else [None, None]
        share = receipt.percent(in_time or 0, of=edc.due or 0) if judged else None
        percent = "" if share is None else f"{share:.3f} %"
        drawn = curve.bar(in_time or 0, *(count or 0 for count in counts)) if judged else ""
        cells = [_text(edc.edc), _count(edc.due), _count(in_time), *(_count(count) for count in counts)]
        last = _local(edc.last_load_at, figures.zones[edc.edc])
        rows.append([*cells, drawn + percent, _text(edc.verdict or "none yet"), _text(last)])
    yield "<section><h2>Complete?</h2>" + _table(columns, rows)
    yield '<p class="note">Bars: black in time, hatched late, white missing.</p>'
    for edc in figures.seen.edcs:
        held = [
            (edc.suspense, f"held in suspense, of {edc.suspense_accounts:,} accounts that no sync names"),
            (edc.unfetched, "held, taken back from suppliers before they were fetched, and with nobody"),
            (edc.nobodys, "held, of any day, with nobody of record"),
            (sum(edc.unclaimed.values()), "held, of any day, for suppliers that are no partners"),
            (edc.held_late, "held, of any day, for having come late"),
        ]
        told = "; ".join(f"{count:,} {words}" for count, words in held if count)
        sync = "no sync is in force" if edc.sync is None else f"sync in force: {edc.sync.id}"
        yield f'<p class="note">{_text(edc.edc)}: {_text("; ".join(filter(None, (sync, told))))}.</p>'
    yield "</section>"


def _versions(figures: Figures) -> Iterator[str]:
    columns = ("EDC", "version", ">blocks", ">of them with estimates", ">estimated intervals", ">MWh")
    rows = []
    for edc in figures.seen.edcs:
        rows += [_counted(row, str(row["version"])) for row in figures.of("versions", edc.edc)]
        rows += [_counted(row, "current") for row in figures.of("current", edc.edc)]
    yield "<section><h2>Versions and estimates</h2>" + _table(columns, rows)
    yield '<p class="note">Current: of each account and channel the version that counts now.</p></section>'


def _counted(row: Row, version: str) -> list[str]:
    names = ("blocks", "blocks_with_estimates", "estimated_intervals")
    return [_text(row["edc"]), version, *(_count(row[name]) for name in names), f"{row['wh'] / 1e6:,.3f}"]


def _given(figures: Figures) -> Iterator[str]:
    columns = ("EGS", "from", ">files", ">taken back", ">fetched whole", ">blocks laid out", ">blocks fetched", ">estimated intervals", ">above version 1")  # fmt: skip
    names = ("files", "withdrawn", "collected", "blocks", "blocks_collected", "estimated", "versions_above_1")
    rows = [
        [_text(row["egs"]), _text(row["edc"]), *(_count(row[name]) for name in names)]
        for row in figures.answers["given"]
    ]
    yield "<section><h2>What each supplier got</h2>" + _table(columns, rows)
    yield '<p class="note">Files that hold this usage day, with those that were taken back later; counts are of all that is in them.</p></section>'


def _faults(figures: Figures) -> Iterator[str]:
    yield "<section><h2>Faults</h2>"
    for edc in figures.seen.edcs:
        rows = figures.of("faulty", edc.edc)
        yield f"<h3>{_who(figures, edc.edc)}</h3>"
        if edc.arrived.duplicates:
            yield f"<p>Files whose bytes had come before, and were not taken again: {edc.arrived.duplicates:,}.</p>"
        if not rows:
            yield "<p>None: no file that came that night was refused, in whole or in part.</p>"
            continue
        faults = sum(row["faults_total"] for row in rows)
        yield f"<p>Faults: {faults:,}, in files: {len(rows):,}.</p>"
        columns = ("drop", "file", "came", "became", ">faults", ">blocks refused", "codes among the first")
        yield _table(columns, [_faulty(row, figures) for row in rows[:_SHOWN]])
        if len(rows) > _SHOWN:
            yield f"<p>… and {len(rows) - _SHOWN:,} more.</p>"
    yield "</section>"


def _faulty(row: Row, figures: Figures) -> list[str]:
    return [
        _text(row["drop_id"]),
        f'<span class="name">{_text(row["name"])}</span>',
        _text(_local(row["arrived_at"], figures.zones[row["edc"]])),
        _text(row["became"]),
        _count(row["faults_total"]),
        _count(row["blocks_rejected"]),
        _text(", ".join(row["codes"] or ())),
    ]


def _questions(figures: Figures) -> Iterator[str]:
    yield "<section><h2>Where the figures come from</h2>"
    yield f"<p>Of <code>meterhub status --day {figures.day}</code>, and of these, each for <code>meterhub query</code>:</p>"
    for text in figures.asked.values():
        yield f"<pre>{_text(text)}</pre>"
    yield "</section>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; columns whose name begins with `>` are of numbers."""
    kinds = [' class="n"' if column.startswith(">") else "" for column in columns]
    heads = (
        f"<th{kind}>{column.removeprefix('>')}</th>" for column, kind in zip(columns, kinds, strict=True)
    )
    body = (
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{''.join(heads)}</tr></thead>\n<tbody>{chr(10).join(body) or _EMPTY.format(len(columns))}</tbody></table>"


_EMPTY = '<tr><td colspan="{}">nothing</td></tr>'


def _who(figures: Figures, partner: str) -> str:
    name = figures.names.get(partner, "")
    return _text(f"{name} ({partner})" if name else partner)


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _local(at: datetime | None, zone: ZoneInfo) -> str:
    return "" if at is None else f"{at.astimezone(zone):%b %-d, %H:%M:%S %Z}"


def _text(said: str) -> str:
    """Text as HTML holds it. What cannot be printed, and no XML may hold, is a question mark in a box."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in said))
