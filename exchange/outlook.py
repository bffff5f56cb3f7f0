"""What a coming change would mean for the ways in which a partner's client comes. By what was seen of it alone."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from config.partners import Partner
from exchange import algorithms
from exchange.algorithms import NEXT_TO_GO, Lists
from jobs.stores.ledger.visits import Way

STAYS, MOVES, UNSURE, BREAKS = "stays", "moves", "unsure", "breaks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that ends: algorithms that are no longer offered, or a key that is no longer taken."""

    name: str
    when: date | None = None  # its last day; None: nobody has fixed one
    gone: frozenset[str] = frozenset()  # algorithms
    left: Lists | None = None  # what is offered then
    credential: str = ""  # fingerprint of the key or authority


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a change means for one way."""

    change: Change
    client: str
    last_at: datetime
    verdict: str  # stays | moves | unsure | breaks
    words: str


def coming(partner: Partner, *, allows: Collection[str]) -> Iterator[Change]:
    """What will change for a partner by its file and the hub's policy. `allows`: old algorithms of today."""
    for what, held in (("key", partner.keys), ("authority", partner.authorities)):
        for one in held:
            if one.expires is not None:
                name = f"{what} {one.comment or one.fingerprint} ends"
                yield Change(name=name, when=one.expires, credential=one.fingerprint)
    if partner.legacy is not None and allows:
        until, gone = partner.legacy.until, frozenset(allows)
        yield Change(name="its exception ends", when=until, gone=gone, left=algorithms.OFFERED)
    yield without(NEXT_TO_GO.keys(), allows=allows, name="the hub offers fewer algorithms")


def without(names: Collection[str], *, allows: Collection[str], name: str = "") -> Change:
    """The hub no longer offers these."""
    left = algorithms.offered(allows).without(names)
    return Change(name=name or f"the hub is without {', '.join(names)}", gone=frozenset(names), left=left)


def effects(change: Change, ways: Iterable[Way]) -> Iterator[Effect]:
    """What it means for each way, the worst it can; ways that log in by another key are passed over."""
    for way in ways:
        if change.credential and way.credential != change.credential:
            continue
        verdict, words = (
            (BREAKS, "logs in by it") if change.left is None else _spoken(change, way, change.left)
        )
        yield Effect(change=change, client=way.client, last_at=way.last_at, verdict=verdict, words=words)


def _spoken(change: Change, way: Way, left: Lists) -> tuple[str, str]:
    """What the client would speak with what is left, by the lists it showed when it was here last."""
    used = sorted(change.gone & set(way.spoken.values()))
    if not used:
        return STAYS, "uses none of it"
    if not way.offers:
        return UNSURE, f"uses {', '.join(used)}; what else it can is not known"
    found = algorithms.agreed(lists(way), left)
    if isinstance(found, str):
        return BREAKS, f"no {found} is left that it knows"
    if (signature := way.spoken.get("signature", "")) in change.gone:
        return UNSURE, f"its key signs with {signature}; whether it can do otherwise is not known"
    now = [getattr(found, kind) for kind, name in way.spoken.items() if name in used and kind != "signature"]
    return MOVES, f"goes over from {', '.join(used)} to {', '.join(dict.fromkeys(now))}"


def lists(way: Way) -> Lists:
    """What the client of a way can speak."""
    return Lists(**{kind: tuple(names) for kind, names in way.offers.items()})
