"""LSE blocks for tests: written out row by row, and as Hypothesis draws them."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from schemas import interval_file
from schemas.interval_file import Parsed
from schemas.interval_grammar import Terms
from schemas.usage_day import UsageDay

CHICAGO = ZoneInfo("America/Chicago")
NAME_STAMP = "20131201041530"
LATEST = date(2013, 12, 1)
TERMS = Terms(stamp=NAME_STAMP, zone=CHICAGO, channels=frozenset({"4", "1"}), latest=LATEST)

ORDINARY, SPRING, AUTUMN = date(2013, 9, 1), date(2013, 3, 10), date(2013, 11, 3)


def parse(text: bytes, *, max_accounts: int = 50_000, latest: date = LATEST) -> Parsed:
    return interval_file.parse(
        text,
        stamp=NAME_STAMP,
        zone=CHICAGO,
        channels=TERMS.channels,
        max_accounts=max_accounts,
        latest=latest,
    )


def codes(parsed: Parsed) -> list[str]:
    return [fault.code for fault in parsed.faults]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A block as its sender writes it."""

    account: str = "10443720000000001"
    channel: str = "4"
    day: date = ORDINARY
    stop: str = "{day}235959"
    meter: tuple[str, ...] = ("", "", "1", "0", "1", "0", "{seconds}", "01", "", "12", "", "", "CST6CDT")
    seconds: int = 900
    text: str = ""
    stamp: str = "20130902041530"
    origin: str = "M"
    triplets: tuple[str, ...] | None = None  # None: as many as the day has, 0.001, 0.002 and so on
    width: int = 200  # triplets a data row
    trailing: bool = False
    line_ends: tuple[str, ...] = ("\n",)  # in turn

    def starts(self) -> list[str]:
        starts = UsageDay(self.day, CHICAGO).interval_starts(self.seconds)
        return [f"{start.astimezone(CHICAGO):%Y%m%d%H%M%S}" for start in starts]

    def rows(self) -> list[str]:
        day, next_day = f"{self.day:%Y%m%d}", f"{self.day + timedelta(days=1):%Y%m%d}"
        stop = self.stop.format(day=day, next_day=next_day)
        meter = ",".join(self.meter).format(seconds=self.seconds)
        triplets = self.triplets
        if triplets is None:
            triplets = tuple(f"0.{number:03d},A," for number in range(1, len(self.starts()) + 1))
        return [
            f"00000001,{self.account},{self.channel},{day}000000,{stop},Y,N",
            f"00000002,{meter}",
            f"00000003,{self.text}",
            f"00000004,{self.stamp},{self.origin}",
            *(
                f"{10_000_000 + row},{','.join(triplets[at : at + self.width])}{',' * self.trailing}"
                for row, at in enumerate(range(0, len(triplets), self.width))
            ),
        ]

    def __bytes__(self) -> bytes:
        ends = self.line_ends
        return "".join(row + ends[k % len(ends)] for k, row in enumerate(self.rows())).encode()

    def having(self, **changes: object) -> "Written":
        return replace(self, **changes)


WORDS = st.text(st.characters(codec="utf-8", exclude_characters=",\r\n"), max_size=6)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)
ACCOUNTS = st.text("AZaz09._-", min_size=1, max_size=64)
DAYS = st.sampled_from([ORDINARY, SPRING, AUTUMN, date(2013, 1, 31), date(2012, 12, 31)])
STAMPS = st.sampled_from(["", "20130902041530", "20131103235959"])
LINE_ENDS = st.sampled_from([("\n",), ("\r\n",), ("\r\n", "\n"), ("\n", "\n", "\r\r\n")])
VALUES = st.one_of(
    st.integers(0, 5_000).map(lambda wh: f"{wh / 1000:.3f}"),
    st.integers(0, 999_999_999).map(lambda wh: f"{wh // 1000}.{wh % 1000:03d}"),
    st.sampled_from(["0", ".5", "12.", "000007", "0.1550000", "999999.999", "1.5", ".001", "0.", "00.000"]),
)


@st.composite
def blocks(draw: st.DrawFn) -> Written:
    """Any legal block: all that senders are known to do, mixed."""
    seconds = draw(st.sampled_from([900, 900, 1800, 3600]))
    filled = draw(st.sampled_from(["never", "always", "now and then"]))
    blank = draw(st.sampled_from(["A", "", "AE", "AE "]))
    block = Written(
        account=draw(ACCOUNTS),
        channel=draw(st.sampled_from("41")),
        day=draw(DAYS),
        stop=draw(st.sampled_from(["{day}235959", "{day}235900", "{next_day}000000"])),
        meter=(
            *(draw(WORDS.map(_braced)) for _ in range(6)),
            "{seconds}",
            "01",
            *(draw(WORDS.map(_braced)) for _ in range(5)),
        ),
        seconds=seconds,
        text=draw(TEXTS),
        stamp=draw(STAMPS),
        origin=draw(st.sampled_from(["", "M", "z"])),
        width=draw(st.sampled_from([200, 200, 1, 7, 24])),
        trailing=draw(st.booleans()),
        line_ends=draw(LINE_ENDS),
    )
    palette = draw(st.lists(VALUES, min_size=1, max_size=4))
    random = draw(st.randoms(use_true_random=False))
    triplets = []
    for start in block.starts():
        fill = filled == "always" or (filled == "now and then" and random.random() < 0.3)
        status = random.choice(blank or " ").strip()
        triplets.append(f"{random.choice(palette)},{status},{start if fill else ''}")
    return block.having(triplets=tuple(triplets))


def _braced(word: str) -> str:
    """A word that `str.format` leaves as it is."""
    return word.replace("{", "{{").replace("}", "}}")


ODD = [
    b"",
    b",",
    b"\n",
    b"\r",
    b"-",
    b"+1",
    b"1e3",
    b"nan",
    b"0.1234",
    b"1234567",
    b" ",
    b"\x00",
    b"\xff",
    b"\xe9",
    b"A",
    b"E",
    b"x",
    b"00000001",
    b"00000003,",
    b"10000000,",
    b"20130901001500",
    b"\xef\xbb\xbf",
    "…".encode(),
]


@st.composite
def mutilated(draw: st.DrawFn, text: bytes) -> bytes:
    """The text with one to three things done to it."""
    for _ in range(draw(st.integers(1, 3))):
        text = draw(st.sampled_from([_cut, _odd, _row_gone, _row_twice, _rows_swapped, _field]))(draw, text)
    return text


def _cut(draw: st.DrawFn, text: bytes) -> bytes:
    return text[: draw(st.integers(0, len(text)))]


def _odd(draw: st.DrawFn, text: bytes) -> bytes:
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.sampled_from(ODD)) + text[at + draw(st.integers(0, 2)) :]


def _row_gone(draw: st.DrawFn, text: bytes) -> bytes:
    rows = text.splitlines(keepends=True)
    at = draw(st.integers(0, max(len(rows) - 1, 0)))
    return b"".join(rows[:at] + rows[at + 1 :])


def _row_twice(draw: st.DrawFn, text: bytes) -> bytes:
    rows = text.splitlines(keepends=True)
    at = draw(st.integers(0, max(len(rows) - 1, 0)))
    return b"".join(rows[: at + 1] + rows[at:])


def _rows_swapped(draw: st.DrawFn, text: bytes) -> bytes:
    rows = text.splitlines(keepends=True)
    at = draw(st.integers(0, max(len(rows) - 1, 0)))
    return b"".join(rows[:at] + rows[at : at + 2][::-1] + rows[at + 2 :])


def _field(draw: st.DrawFn, text: bytes) -> bytes:
    """One field is another, or gone with its comma."""
    fields = text.split(b",")
    at = draw(st.integers(0, len(fields) - 1))
    return b",".join(fields[:at] + draw(st.sampled_from([[odd] for odd in ODD] + [[]])) + fields[at + 1 :])
