"""Who is in a sample night: distribution companies, suppliers, and the customers of each.

Customers are columns, an entry each, and follow from a seed alone: the same night has the same people.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import sample_curves, sync_file

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edc:
    """A distribution company whose meters are read."""

    id: str
    name: str
    duns: str
    zone: ZoneInfo
    load: str = "4"  # the channel of what is used
    surplus: str | None = "1"  # the channel of what is fed in; None: none is metered


@dataclass(frozen=True, slots=True, kw_only=True)
class Egs:
    """A supplier."""

    id: str
    name: str
    duns: str


EDCS: tuple[Edc, ...] = (
    Edc(id="cnp", name="CenterPoint Energy", duns="957877905", zone=ZoneInfo("America/Chicago")),
    Edc(id="ppl", name="PPL Electric Utilities", duns="007909427AC", zone=ZoneInfo("America/New_York")),
)
EGSS: tuple[Egs, ...] = (
    Egs(id="champion", name="Champion Energy", duns="799530915"),
    Egs(id="bluebonnet", name="Bluebonnet Power", duns="148055531"),
    Egs(id="keystone", name="Keystone Supply", duns="831174007"),
    Egs(id="lonestar", name="Lone Star Retail", duns="620951184"),
)
NOBODY = -1  # default service: of no supplier


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looks:
    """How an EDC's accounts look: what they begin with, how long they are, where they live."""

    prefix: str
    length: int
    first: int
    zip: int


_KNOWN = {
    "957877905": _Looks(prefix="1008901", length=22, first=23_817_400_000, zip=77_002),
    "1039940674000": _Looks(prefix="10443720", length=17, first=100_000, zip=75_001),
    "007909427AC": _Looks(prefix="", length=10, first=2_104_510_000, zip=18_015),
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class People:
    """An EDC's customers: an entry each, in the order of their accounts."""

    accounts: pa.Array
    meters: pa.Array
    kinds: npt.NDArray[np.int8]  # sample_curves.CustomerClass
    watts: sample_curves.Floats
    solar: Flags
    suppliers: Numbers  # the place of their EGS among the night's, or NOBODY
    days: Numbers  # for how many days it has supplied them
    homes: Numbers  # a number from 0 that ZIP, bill cycle and load profile follow from

    def __len__(self) -> int:
        return len(self.kinds)


def rng(seed: int, edc: Edc, *what: int) -> np.random.Generator:
    """A source of numbers that depends on nothing but what it is asked for."""
    return np.random.default_rng([seed, zlib.crc32(edc.duns.encode()), *what])


def people(
    edc: Edc, n: int, *, suppliers: int, seed: int, net_metered: float, default_service: float
) -> People:
    """`n` customers of an EDC; shares are of customers."""
    draw = rng(seed, edc)
    numbers = _looks(edc).first + 7 * np.arange(n) + draw.integers(0, 7, n)
    kinds = sample_curves.classes(n, draw)
    supplied = draw.random(n) >= default_service
    return People(
        accounts=_accounts(edc, numbers),
        meters=_digits("MTR", numbers % 10**10, 10),
        kinds=kinds,
        watts=sample_curves.sizes(kinds, draw),
        solar=(draw.random(n) < net_metered) if edc.surplus else np.zeros(n, bool),
        suppliers=np.where(supplied, draw.integers(0, max(suppliers, 1), n), NOBODY),
        days=draw.integers(31, 1_500, n),
        homes=draw.integers(0, 10_000, n),
    )


def roster(
    them: People, edc: Edc, egss: tuple[Egs, ...], *, first: date, as_of: date, switched: Numbers
) -> pa.Table:
    """The rows (`sync_file.ROSTER`) of the customers.

    Their EGSs supply them since so many days before `first`; those at `switched` have gone to the next EGS
    on `as_of`.
    """
    nobody = len(egss)
    at = np.where(them.suppliers == NOBODY, nobody, them.suppliers)
    at[switched] = (at[switched] + 1) % len(egss)
    start = np.datetime64(first, "D") - them.days
    start[switched] = np.datetime64(as_of, "D")
    columns = {
        "account": them.accounts,
        "egs_duns": _pick([*(egs.duns for egs in egss), ""], at),
        "egs_name": _pick([*(egs.name.upper() for egs in egss), ""], at),
        "egs_start": pa.array(start, pa.date32(), mask=at == nobody),
        "account_status": _pick(["A"], np.zeros(len(them))),
        "customer_class": _pick([kind.name for kind in sample_curves.CustomerClass], them.kinds),
        "load_profile": _pick(_PROFILES, 2 * them.kinds + them.homes % 2),
        "bill_cycle": _pick([f"{k:02}" for k in range(1, 22)], them.homes % 21),
        "zip": _pick([str(_looks(edc).zip + k) for k in range(80)], them.homes % 80),
        "meter": them.meters,
        "meter_multiplier": _pick(["1", "1", "40"], them.kinds),
        "channels": _pick([edc.load, f"{edc.load};{edc.surplus}"], them.solar),
        "interval_seconds": pa.array(np.full(len(them), 900, np.int32)),
        "ami": pa.array(np.ones(len(them), bool)),
    }
    return pa.table(columns, schema=sync_file.ROSTER)


_PROFILES = ("RESLOWR", "RESHIWR", "BUSLOLF", "BUSMEDLF", "BUSHILF", "BUSIDRRQ")


def _looks(edc: Edc) -> _Looks:
    own = zlib.crc32(edc.duns.encode())
    return _KNOWN.get(edc.duns) or _Looks(
        prefix=str(100 + own % 900), length=13, first=1_000_000, zip=10_001 + own % 80_000
    )


def _accounts(edc: Edc, numbers: Numbers) -> pa.Array:
    looks = _looks(edc)
    return _digits(looks.prefix, numbers, looks.length - len(looks.prefix))


def _digits(prefix: str, numbers: Numbers, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def _pick(words: Sequence[str], at: npt.NDArray[Any]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(at.astype(np.int32)), pa.array(words, pa.string()))
