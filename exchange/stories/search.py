"""Finds what a word is about: a drop, a file, a sync, a publication or an account; and what is like it."""

import difflib
from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from config.errors import RefusedError
from config.partners import Partner
from exchange.stories import accounts, drops, outbound, syncs
from exchange.stories.accounts import Span
from exchange.stories.story import Story
from jobs.stores.ledger import drops as drops_kept
from jobs.stores.ledger import outbox, traces
from jobs.stores.ledger import syncs as syncs_kept
from jobs.stores.opened import Stores
from schemas import ids

_NEAR = 3  # matches that are named
_LATEST = 500  # of each kind, among which near ones are looked for
_MANIFEST = ".manifest.json"


def find(
    subject: str, *, edcs: Sequence[Partner], egs: str = "", span: Span, stores: Stores, now: datetime
) -> list[Story]:
    """The stories of what is called so: one as a rule, several when a name was used more than once.

    `edcs` narrows the search to what concerns these, `egs` to what was laid before that one. Raises RefusedError, with what is like it, when nothing is.
    """
    word = subject.strip().rpartition("/")[2]
    found = [*_by_id(word, stores=stores), *_by_name(word, stores=stores)]
    wanted = {edc.id for edc in edcs}
    found = [story for story in found if (story.facts.get("edc") or story.facts.get("sender")) in wanted]
    if egs and not (found := [story for story in found if story.facts.get("egs") == egs]):
        raise RefusedError(
            "nothing-of-that-name",
            f"no file called {word} was laid before {egs}",
            "without --egs, all that is called so is told of",
        )
    for edc in edcs if not found else ():
        story = accounts.tell(word, edc, span=span, stores=stores, now=now)
        found += [story] if story is not None else []
    if not found:
        raise _unknown(word, edcs, stores=stores)
    return found


def _by_id(word: str, *, stores: Stores) -> Iterator[Story]:
    with stores.ledger.read() as tx:
        try:
            if ids.DROP.fullmatch(word):
                yield drops.tell(drops_kept.get(tx, word), stores=stores)
            if ids.SYNC.fullmatch(word):
                yield syncs.tell(syncs_kept.get(tx, word), stores=stores)
        except KeyError:
            return
        row = traces.publication(tx, word) if ids.PUBLICATION.fullmatch(word) else None
    if row is not None:
        yield outbound.tell_publication(row, stores=stores)


def _by_name(word: str, *, stores: Stores) -> Iterator[Story]:
    """By the name of an uploaded file, an outbound file or its manifest, or a receipt."""
    with stores.ledger.read() as tx:
        uploaded = drops_kept.listed(tx, name=word)
        laid_out = outbox.named(tx, word.removesuffix(_MANIFEST))
    for drop in reversed(uploaded):
        yield drops.tell(drop, stores=stores)
    for file in laid_out:
        yield outbound.tell(file, stores=stores)
    if word.endswith((".json", ".csv")) and not uploaded and not laid_out:
        for drop_id in ids.DROP.findall(word):
            yield from _by_id(drop_id, stores=stores)


def _unknown(word: str, edcs: Sequence[Partner], *, stores: Stores) -> RefusedError:
    near = _like(word, edcs, stores=stores)
    looked = (
        f"no drop, file, sync, publication or account of {', '.join(edc.id for edc in edcs) or 'any EDC'}"
    )
    return RefusedError(
        "nothing-of-that-name",
        f"{looked} is called {word}",
        f"is one of these meant? {', '.join(near)}" if near else "see what there is with: meterhub drops",
    )


def _like(word: str, edcs: Sequence[Partner], *, stores: Stores) -> list[str]:
    with stores.ledger.read() as tx:
        near = difflib.get_close_matches(word, traces.latest_names(tx, limit=_LATEST), n=_NEAR, cutoff=0.6)
        rosters = [syncs_kept.in_force(tx, edc.id) for edc in edcs]
    for sync in rosters:
        if sync is not None:
            column = stores.lake.read(sync.path, columns=["account"])["account"].cast(pa.string())
            near += _like_account(word, column.combine_chunks())
    return near[: 2 * _NEAR]


def _like_account(word: str, known: pa.Array) -> list[str]:
    """The accounts that differ from a word in two characters at most, the nearest first; else those that
    begin as it does.
    """
    same = pc.unique(known.filter(pc.equal(pc.binary_length(known), len(word.encode()))))
    if len(same):
        letters = np.frombuffer("".join(same.to_pylist()).encode(), np.uint8).reshape(len(same), -1)
        differs = (letters != np.frombuffer(word.encode(), np.uint8)).sum(axis=1)
        nearest = np.argsort(differs, kind="stable")[:_NEAR]
        if found := [same[int(place)].as_py() for place in nearest if differs[place] <= 2]:
            return found
    if len(word) < 4:
        return []
    begins = pc.unique(known.filter(pc.starts_with(known, word[: max(4, len(word) - 2)])))
    return [account.as_py() for account in begins[:_NEAR]]
