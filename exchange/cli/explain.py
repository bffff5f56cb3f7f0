"""`meterhub explain`: the whole story of a drop, a file, a sync, a publication or an account."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from exchange.cli import opened, options, show
from exchange.cli.options import Asked
from exchange.stories import accounts, search
from exchange.stories.story import Moment, Section, Story

_HASH = 64  # characters of a hash, of which people are shown the first twelve


@options.command(
    "explain",
    "meterhub explain D130903-00007",
    "meterhub explain 957877905IntervalData20130903041530001.lse",
    "meterhub explain 957877905IntervalData20130903101500001.lse.gz --egs champion",
    "meterhub explain 10443720000000001 --edc cnp --days 7",
    "meterhub explain S130903-cnp-1 --json",
)
@click.argument("subject", metavar="DROP|FILE|ACCOUNT")
@click.option("--edc", metavar="ID", help="Only what concerns this EDC.")
@click.option("--egs", metavar="ID", help="Of an outbound file: only the one of this EGS.")
@click.option(
    "--days",
    type=click.IntRange(min=0),
    default=accounts.DAYS,
    show_default=True,
    help="Of an account: how many usage days to tell of, the latest; 0: all.",
)
def command(asked: Asked, *, subject: str, edc: str | None, egs: str | None, days: int) -> None:
    """The whole story, with times, of a drop, a file that came or went, or an account.

    A sync or a publication can be asked for by its id, too. Exit code 1 if nothing is called so.
    """
    with opened.stores(asked) as stores:
        edcs = opened.edcs(stores, [edc] if edc else [])
        found = search.find(subject, edcs=edcs, egs=egs or "", days=days, stores=stores, now=asked.clock())
    first = [_several(found)] if len(found) > 1 else []
    parts = (part for one in found for part in _shown(one))
    asked.show([one.as_json() for one in found], *first, *parts)


def _several(found: list[Story]) -> RenderableType:
    """What is told of below, in a table, when a name stands for several."""
    facts = (("egs", "sender", "edc"), (), ("state", "stage"), ("blocks", "blocks_loaded"), ("collected_at",))
    rows = [[_first(one, *keys) if keys else one.subject for keys in facts] for one in found]
    title = f"{len(found)} are called so; each is told of below"
    return show.table(("whose", "what", "state", ">blocks", "collected"), rows, title=title, tight=True)


def _first(one: Story, *keys: str) -> str:
    """The first of these facts that is one of the story's."""
    return next((_text(one.facts[key]) for key in keys if key in one.facts), "")


def _shown(one: Story) -> Iterator[RenderableType]:
    yield Text(one.summary, "bold")
    facts = [(key.replace("_", " "), _text(value)) for key, value in one.facts.items() if _says(value)]
    yield show.table((one.kind.replace("-", " "), one.subject), facts)
    if one.timeline:
        yield show.table(("when (UTC)", "what", "", ""), (_moment(moment) for moment in one.timeline))
    for section in one.sections:
        yield _table(section)


def _moment(one: Moment) -> tuple[object, ...]:
    details = ", ".join(
        f"{key.replace('_', ' ')} {_text(value)}" for key, value in one.details.items() if _says(value)
    )
    return f"{show.instant(one.at)}", one.event, one.words, details


def _table(section: Section) -> RenderableType:
    title = f"{section.title} ({section.note})" if section.note else section.title
    rows = [[_text(row.get(key)) for key in section.columns] for row in section.rows]
    return show.table(tuple(section.columns.values()), rows, title=title)


def _says(value: object) -> bool:
    """Whether there is anything to show; a count of nothing is not."""
    return value is False or value not in (None, "", [], {}, 0)


def _text(value: Any) -> str:
    """A value as people are shown it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}"
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value)
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    text = str(value)
    is_hash = len(text) == _HASH and all(letter in "0123456789abcdef" for letter in text)
    return f"{text[:12]}…" if is_hash else text
