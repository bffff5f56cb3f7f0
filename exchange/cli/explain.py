"""`meterhub explain`: the whole story of a drop, a file, a sync, a publication, an account, or an EGS's day."""

import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import click
from rich.console import RenderableType
from rich.text import Text

from config.errors import RefusedError
from config.partners import Partner, Role
from exchange.cli import opened, options, show, timeline
from exchange.cli.options import Asked
from exchange.stories import accounts, partners, search, supplied
from exchange.stories.accounts import Span
from exchange.stories.fields import FIELDS
from exchange.stories.story import Story
from exchange.stories.supplied import Supplied
from jobs.stores.opened import Stores
from jobs.stores.supply import REASONS

_LISTED = 50  # accounts of an EGS's day on a terminal, if nothing else is asked for


@options.command(
    "explain",
    "meterhub explain D130903-00007",
    "meterhub explain 957877905IntervalData20130903041530001.lse",
    "meterhub explain 957877905IntervalData20130903101500001.lse.gz --egs champion",
    "meterhub explain 10443720000000001 --edc cnp --days 7",
    "meterhub explain 10443720000000001 --day 2013-09-02",
    "meterhub explain S130903-cnp-1 --json",
    "meterhub explain cnp",
    "meterhub explain champion --day 2013-09-02",
    "meterhub explain champion --day 2013-09-02 --list --reason missing --json",
)
@click.argument("subject", metavar="DROP|FILE|ACCOUNT|PARTNER")
@click.option("--edc", metavar="ID", help="Only what concerns this EDC.")
@click.option("--egs", metavar="ID", help="Of an outbound file: only the one of this EGS.")
@click.option(
    "--days",
    type=click.IntRange(min=0),
    default=accounts.DAYS,
    show_default=True,
    help="Of an account: how many usage days to tell of, the latest; 0: all.",
)
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Of an account: this usage day alone, held to the archived bytes. Of an EGS: which usage day.",
)
@click.option(
    "--list", "each", is_flag=True, help="Of an EGS's day: account by account. With --json a line each."
)
@click.option(
    "--reason", "reasons", multiple=True, type=click.Choice(list(REASONS)), metavar="REASON",
    help="With --list: only accounts that are in or out for this reason; may be given several times.",
)  # fmt: skip
@click.option("--after", default="", metavar="ACCOUNT", help="With --list: only accounts behind this one.")
@click.option(
    "--limit", type=click.IntRange(min=0),
    help=f"With --list: how many at most; 0: all. On a terminal {_LISTED}, else all, if not said.",
)  # fmt: skip
@options.AS_KNOWN_AT
def command(
    asked: Asked, *, subject: str, edc: str | None, egs: str | None, days: int, day: datetime | None, each: bool,
    reasons: tuple[str, ...], after: str, limit: int | None, known_at: datetime | None,
) -> int:  # fmt: skip
    """The whole story, with times, of a drop, a file that came or went, an account, a partner, or an EGS's day.

    A sync or a publication can be asked for by its id, too. Of an account: who was of record by which sync, each
    version with the line of its file, who was given which and fetched it by which key from where. Of an EGS and a
    usage day: why each account is in what it was given, or is not. Exit code 1 if nothing is called so, or if
    nothing says why an EGS was not given what is its.
    """
    if not subject:
        raise click.UsageError("say of what: a drop, a file, an account, a partner")
    now = known_at or asked.clock()
    span = Span(days=days, day=day.date() if day else None)
    wanted = _Wanted(each=each, reasons=reasons, after=after, limit=limit)
    with opened.stores_of(asked, known_at) as stores:
        edcs = opened.edcs(stores, [edc] if edc else [])
        partner = stores.partners.current().get(subject)
        if partner is not None and partner.role is Role.EGS and (span.day is not None or wanted.asks):
            return _of_egs(asked, partner, edcs, span.day, wanted, stores=stores, now=now)
        if wanted.asks:
            raise click.UsageError("--list, --reason, --after and --limit are of an EGS and a usage day")
        if partner is not None and span.day is not None:
            instead = (
                f"meterhub status --day {span.day}, or: meterhub deadline --edc {partner.id} --day {span.day}"
            )
            raise click.UsageError(f"--day is of an account or an EGS; of an EDC's day: {instead}")
        if partner is not None:
            story = partners.tell(partner, stores=stores, now=now)
            asked.show([story.as_json()], *_shown(story))
            return 0
        found = search.find(subject, edcs=edcs, egs=egs or "", span=span, stores=stores, now=now)
    first = [_several(found)] if len(found) > 1 else []
    parts = (part for one in found for part in _shown(one))
    asked.show([one.as_json() for one in found], *first, *parts)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Which accounts of an EGS's day are listed, if any are."""

    each: bool
    reasons: tuple[str, ...]
    after: str
    limit: int | None

    @property
    def asks(self) -> bool:
        return self.each or bool(self.reasons) or bool(self.after) or self.limit is not None


def _fields() -> str:
    """What JSON holds, for the help."""
    said = []
    for kind, names in FIELDS.items():
        listed = "\n".join(f"  {name}: {means}" for name, means in names.items())
        said.append(f"\b\n{kind}:\n{listed}")
    return "\n\n".join(said)


command.help = f"""{inspect.cleandoc(command.help or "")}

With --json, a list of stories: kind, subject and summary of each, its facts, its timeline (at, event, words and
details), and these:

{_fields()}
"""


def _of_egs(
    asked: Asked, egs: Partner, edcs: Sequence[Partner], day: date | None, wanted: _Wanted, *, stores: Stores,
    now: datetime,
) -> int:  # fmt: skip
    """An EGS's day, EDC by EDC; each account is said as soon as it is known. The exit code."""
    if day is None:
        raise click.UsageError(f"of {egs.id}, which is an EGS, say which usage day: --day 2013-09-02")
    found, code = [], 0
    for edc in edcs:
        with supplied.told(egs, edc, day, stores=stores, now=now) as it:
            if it is None:
                continue
            found.append(it.story)
            code |= it.unexplained
            if not asked.json and not wanted.after:
                asked.show(None, *_shown(it.story))
            if wanted.asks:
                _list(asked, it, wanted)
    if not found:
        there = ", ".join(one.id for one in edcs) or "any EDC"
        words = f"nothing of {day} is loaded of {there}, and {egs.id} was given nothing of it"
        raise RefusedError("nothing-of-that-day", words, "see what came with: meterhub drops")
    if asked.json and not wanted.asks:
        asked.show([one.as_json() for one in found])
    return code


def _list(asked: Asked, it: Supplied, wanted: _Wanted) -> None:
    most = wanted.limit if wanted.limit is not None else 0 if asked.json else _LISTED
    account, count = "", 0  # the last one, and how many
    for row in it.listed(reasons=wanted.reasons, after=wanted.after, limit=most):
        count += row["account"] != account
        account = row["account"]
        if asked.json:
            click.echo(json.dumps(row, ensure_ascii=False))
        else:
            which = f"{account:<22} {row['channel']:<2} {'in ' if row['in'] else 'out'}"
            click.echo(f"{which} {row['reason']:<15} {supplied.proof(row)}".rstrip())
    if most and count == most and not asked.json:
        click.echo(f"The first {most:,}; what is behind: --after {account}")


def _several(found: list[Story]) -> RenderableType:
    """What is told of below, in a table, when a name stands for several."""
    facts = (("egs", "sender", "edc"), (), ("state", "stage"), ("blocks", "blocks_loaded"), ("collected_at",))
    rows = [[_first(one, *keys) if keys else one.subject for keys in facts] for one in found]
    title = f"{len(found)} are called so; each is told of below"
    return show.table(("whose", "what", "state", ">blocks", "collected"), rows, title=title, tight=True)


def _first(one: Story, *keys: str) -> str:
    """The first of these facts that is one of the story's."""
    return next((timeline.text(one.facts[key]) for key in keys if key in one.facts), "")


def _shown(one: Story) -> Iterator[RenderableType]:
    yield Text(one.summary, "bold")
    yield timeline.facts(one.kind, one.subject, one.facts)
    if one.timeline:
        yield timeline.Timeline(one.timeline)
    for section in one.sections:
        if section.key not in one.in_timeline:
            yield timeline.Fitting(section)
