"""Who is given what, held to a model of a block at a time: decision 6 of jobs/README.md and 'Download' of
exchange/PARTNERS.md, written down in dicts and loops.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from config.home import Home
from hub_fixtures import CNP, LONG, Hub, morning, partner_text
from jobs.steps import publish
from jobs.stores.ledger import holds
from jobs_fixtures import (
    BLUEBONNET,
    CHAMPION,
    KEYSTONE,
    STRANGER_DUNS,
    Cut,
    Row,
    local,
    read_lse,
    send,
    send_sync,
)
from schemas.drop import Outcome
from schemas.sample import Egs
from sync_fixtures import DAY, OPEN, laid, read, settle

STRANGER = Egs(id="stranger", name="Stranger Energy", duns=STRANGER_DUNS)
PARTIES = (CHAMPION, KEYSTONE, BLUEBONNET, STRANGER)
CLAIM = timedelta(days=3)
ACCOUNTS = ("A", "B")
HEADROOM = "max_age_days = 365\n[outbound]\nclaim_days = 3\n"

Said = tuple[str, date | None]  # an EGS's DUNS, and from when
Drawn = tuple[str, int | None]  # in days from DAY + 1, the first morning


@dataclass(kw_only=True, eq=False)
class Block:
    """A version. `held`: why, for whom and since when; `nobodys`: when it was published to nobody."""

    account: str
    channel: str
    day: date
    stamp: str
    wh: int  # of no other version
    drop: str
    late: bool = False
    looked_at: bool = False
    held: tuple[str, str, datetime] | None = None
    nobodys: datetime | None = None

    @property
    def key(self) -> tuple[str, str, date]:
        return self.account, self.channel, self.day

    @property
    def read(self) -> tuple[str, str, str, str]:
        """As it is told from the others in an outbound file."""
        return self.account, self.channel, f"{self.day:%Y%m%d}", f"{self.wh / 1000:g}"


@dataclass(eq=False)
class File:
    egs: str
    blocks: set[Block]
    fetched: bool = False


@dataclass
class Model:
    """What the documents promise, a block at a time."""

    late_waits: bool
    partners: dict[str, str]  # ids by DUNS
    roster: dict[str, Said] = field(default_factory=dict)
    loaded: list[Block] = field(default_factory=list)
    current: dict[tuple[str, str, date], Block] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)  # that lie in outbound/
    taken_back: list[File] = field(default_factory=list)  # and are to be written again
    fetched: list[tuple[str, Block]] = field(default_factory=list)

    def of_record(self, account: str, today: date) -> tuple[str, str]:
        """The id of the EGS of record; or none, and why."""
        if account not in self.roster:
            return "", "suspense"
        duns, start = self.roster[account]
        if not duns or (start is not None and start > today):
            return "", "nobody"
        return self.partners.get(duns, ""), "unclaimed"

    def supplied_on(self, block: Block) -> bool:
        start = self.roster.get(block.account, ("", None))[1]
        return start is not None and start <= block.day

    def load(self, block: Block) -> None:
        self.loaded.append(block)
        stands = self.current.get(block.key)
        block.late &= stands is None
        if stands is None or block.stamp >= stands.stamp:
            self.current[block.key] = block

    def switch(self, roster: dict[str, Said], today: date) -> bool:
        self.roster, before = roster, len(self.files)
        for file in list(self.files):
            if any(self.of_record(block.account, today)[0] != file.egs for block in file.blocks):
                self.files.remove(file)
                if not file.fetched:
                    self.taken_back.append(file)
        return len(self.files) < before

    def fetch(self, file: File) -> None:
        file.fetched = True
        self.fetched += [(file.egs, block) for block in file.blocks]

    def publish(self, now: datetime, release: set[str]) -> None:
        today = now.astimezone(CNP.zone).date()
        lost: list[Block] = []
        for file in self.taken_back:
            newest = {block for block in file.blocks if self.current[block.key] is block}
            stays = {block for block in newest if self.of_record(block.account, today)[0] == file.egs}
            self._lay(file.egs, stays)
            lost += newest - stays
        self.taken_back = []
        for block in lost:
            block.held = ("unfetched", "", now)
        given: dict[str, set[Block]] = {egs: set() for egs in self.partners.values()}
        for block in self.loaded:
            egs = self._given_to(block, now, release)
            if egs and self.current[block.key] is block:
                given[egs].add(block)
        for egs, blocks in given.items():
            self._lay(egs, blocks)

    def _given_to(self, block: Block, now: datetime, release: set[str]) -> str:
        """Whose the block becomes by a publication, if anybody's; where it waits otherwise."""
        egs, why = self.of_record(block.account, now.astimezone(CNP.zone).date())
        duns = self.roster[block.account][0] if not egs and why == "unclaimed" else ""
        if not block.looked_at:
            block.looked_at = True
            return self._first_given_to(block, egs, why, duns, now)
        if block.nobodys is not None and block.held is None:
            kept = block.nobodys >= now - CLAIM and self.current[block.key] is block
            if not (kept and self.supplied_on(block) and (egs or duns)):
                return ""
            block.held, block.nobodys = ("nobody", "", now), None
        if block.held is None:
            return ""
        reason, _, since = block.held
        if reason == "late" and block.drop not in release:
            return ""
        if reason not in {"late", "suspense"} and since < now - CLAIM:
            return ""  # given up
        if reason in {"suspense", "unclaimed", "late"}:
            block.held = None if egs else (why, duns, since)
            return egs
        if egs and self.supplied_on(block):
            block.held = None
            return egs
        block.held = (reason, duns if self.supplied_on(block) else "", since)
        return ""

    def _first_given_to(self, block: Block, egs: str, why: str, duns: str, now: datetime) -> str:
        if self.current[block.key] is not block:
            return ""
        if block.late and self.late_waits:
            block.held = ("late", "", now)
            return ""
        if not egs and why == "nobody":
            block.nobodys = now
        elif not egs:
            block.held = (why, duns, now)
        return egs

    def _lay(self, egs: str, blocks: set[Block]) -> None:
        if blocks:
            self.files.append(File(egs, blocks))

    def waits(self, now: datetime, *, overdue: bool) -> Counter[tuple[str, str, str, str]]:
        """What is held; without, or with, what is given up when it is looked at next."""
        return Counter(
            (block.account, block.channel, *block.held[:2])
            for block in self.loaded
            if block.held
            and (overdue or block.held[0] in {"suspense", "late"} or block.held[2] >= now - CLAIM)
        )


suppliers = st.sampled_from([egs.duns for egs in PARTIES] + [CHAMPION.duns, ""])
starts = st.sampled_from([None, -90, -90, -2, -1, 0, 0, 1])
said = st.one_of(st.none(), *[st.tuples(suppliers, starts)] * 5)  # none: not in the roster
rosters = st.fixed_dictionaries(dict.fromkeys(ACCOUNTS, said))
loads = st.dictionaries(
    st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from(["4", "4", "1"]), st.sampled_from([-1, 0, 0, 1])),
    st.integers(1, 3),
    min_size=1,
    max_size=4,
)


class Given(RuleBasedStateMachine):
    """One EDC's readings, its rosters, and what lies before each EGS."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="given-"))
        self.number = 0
        self.contents: dict[tuple[str, str], list[tuple[str, str, str, str]]] = {}

    def teardown(self) -> None:
        self.hub.end()
        shutil.rmtree(self.root)

    # ── what happens ──

    @initialize(roster=rosters, readings=loads, late_waits=st.sampled_from([False, False, True]))
    def a_night(
        self, roster: dict[str, Drawn | None], readings: dict[tuple[str, str, int], int], late_waits: bool
    ) -> None:
        late = '[deadline]\nlate = "hold"\n' if late_waits else ""
        self.hub = Hub(Home(self.root / "hub"), morning(DAY, hour=15), OPEN + HEADROOM + late)
        self.model = Model(late_waits, {egs.duns: egs.id for egs in PARTIES[:3]})
        self.a_roster(roster, at_once=True)
        self.some_readings(readings)
        self.publication()

    def a_roster(self, roster: dict[str, Drawn | None], *, at_once: bool) -> None:
        """A roster comes into force, and withdrawn files are written again `at_once`, or that is cut off."""
        self.number += 1
        self.hub.on(seconds=1)
        said = {
            account: (one[0], DAY + timedelta(days=1 + one[1]) if one[0] and one[1] is not None else None)
            for account, one in roster.items()
            if one is not None
        }
        rows = [Row(account=a, duns=duns, start=start) for a, (duns, start) in said.items()]
        rows.append(Row(account="Z", duns="", meter=f"M{self.number}"))  # no sync is as another was
        withdrawn = self.model.switch(said, self.today)
        if at_once:
            assert send_sync(self.hub, rows).outcome is Outcome.ACCEPTED
            if withdrawn:
                self.model.publish(self.hub.now, set())
        else:
            settle(self.hub, rows)
        self.roster = roster
        note(f"roster {said} on {self.today}")

    @rule(roster=rosters, at_once=st.booleans())
    def another_roster(self, roster: dict[str, Drawn | None], at_once: bool) -> None:
        self.a_roster(roster, at_once=at_once)

    @rule(account=st.sampled_from(ACCOUNTS), to=said, at_once=st.booleans())
    def one_switches(self, account: str, to: Drawn | None, at_once: bool) -> None:
        self.a_roster(self.roster | {account: to}, at_once=at_once)

    @rule(readings=loads)
    def some_readings(self, readings: dict[tuple[str, str, int], int]) -> None:
        cuts = []
        for (account, channel, day), hour in readings.items():
            if DAY + timedelta(days=day) >= self.today:
                continue  # a day that is not over is refused
            self.number += 1
            stamp = f"201309050{hour}{self.number // 60:02}{self.number % 60:02}"
            cuts.append(
                Cut(
                    account=account,
                    channel=channel,
                    day=DAY + timedelta(days=day),
                    wh=self.number,
                    stamp=stamp,
                )
            )
        if not cuts:
            return
        drop = send(self.hub, *cuts)
        assert (drop.outcome, drop.blocks_loaded) == (Outcome.ACCEPTED, len(cuts)), self.hub.receipt(drop)
        for cut in cuts:
            late = self.hub.now > local(CNP, cut.day + timedelta(days=1), 23)
            self.model.load(
                Block(
                    account=cut.account,
                    channel=cut.channel,
                    day=cut.day,
                    stamp=cut.stamp,
                    wh=cut.wh,
                    drop=drop.id,
                    late=late,
                )
            )
        note(f"{drop.id}: {[(cut.account, cut.channel, cut.day, cut.wh, cut.stamp) for cut in cuts]}")

    @rule()
    def a_quarter_hour(self) -> None:
        self.publication()

    @rule(days=st.sampled_from([1, 2, 4]))
    def days_pass(self, days: int) -> None:
        self.hub.on(days=days)

    @rule(
        account=st.sampled_from(ACCOUNTS),
        mistake=st.sampled_from([None, ("", None), ("", None), ("", None)]),
        readings=loads,
        days=st.sampled_from([0, 1, 3, 4]),
        to=st.tuples(st.sampled_from([CHAMPION.duns, KEYSTONE.duns]), st.sampled_from([-90, 0])),
        then=suppliers,
    )
    def a_roster_is_mistaken_for_some_days(
        self,
        account: str,
        mistake: Drawn | None,
        readings: dict[tuple[str, str, int], int],
        days: int,
        to: Drawn,
        then: str,
    ) -> None:
        self.one_switches(account, mistake, True)
        for _ in range(2):  # the second are corrections
            self.some_readings(
                {(account, channel, day): hour for (_, channel, day), hour in readings.items()}
            )
            self.publication()
        self.days_pass(days)
        self.one_switches(account, to, True)
        self.publication()
        self.one_switches(account, (then, -90), True)
        self.publication()

    @rule(which=st.integers(0, 20), whole=st.sampled_from([True, True, False]))
    def a_file_is_fetched(self, which: int, whole: bool) -> None:
        there = [(egs, name) for egs in self.egss for name in laid(self.hub, egs)]
        if there:
            egs, name = there[which % len(there)]
            read(self.hub, egs, name, whole=whole)
            if whole:
                blocks = sorted(self.read(egs, name))
                (file, *_) = [
                    one
                    for one in self.model.files
                    if one.egs == egs.id and sorted(block.read for block in one.blocks) == blocks
                ]
                if not file.fetched:
                    self.model.fetch(file)
            note(f"{egs.id} fetched {name}, whole: {whole}")

    @precondition(lambda self: STRANGER_DUNS not in self.model.partners)
    @rule()
    def the_stranger_becomes_a_partner(self) -> None:
        self.hub.add_partner(partner_text(STRANGER, "egs"), STRANGER.id)
        self.model.partners[STRANGER_DUNS] = STRANGER.id

    @precondition(lambda self: self.model.late_waits)
    @rule()
    def an_operator_releases_what_came_late(self) -> None:
        self.publication({block.drop for block in self.model.loaded})

    def publication(self, release: Collection[str] = ()) -> None:
        self.hub.on(minutes=15)
        edc = self.hub.partner(CNP.id)
        said = publish.publish(edc, stores=self.hub.stores, now=self.hub.now, release=sorted(release))
        assert isinstance(said, publish.Published | publish.NothingNew)
        self.model.publish(self.hub.now, set(release))

    # ── what holds after each step ──

    @invariant()
    def each_egs_has_what_the_model_says(self) -> None:
        for egs in self.egss:
            there = sorted(sorted(self.read(egs, name)) for name in laid(self.hub, egs))
            files = [one.blocks for one in self.model.files if one.egs == egs.id]
            should = sorted(sorted(block.read for block in blocks) for blocks in files)
            assert there == should, (egs.id, there, should)

    @invariant()
    def what_is_held_is_what_the_model_holds(self) -> None:
        with self.hub.stores.ledger.read() as tx:
            held = Counter(
                (one.account, one.channel, one.reason, one.egs_duns) for one in holds.held(tx, edc=CNP.id)
            )
        least, most = (self.model.waits(self.hub.now, overdue=overdue) for overdue in (False, True))
        assert (least - held, held - most) == (Counter(), Counter()), (least - held, held - most)

    @invariant()
    def nobody_is_shown_what_is_not_its_account(self) -> None:
        for egs in self.egss:
            for name in laid(self.hub, egs):
                for account, *_ in self.read(egs, name):
                    assert self.model.of_record(account, self.today)[0] == egs.id

    @invariant()
    def no_version_is_fetched_twice(self) -> None:
        fetched = Counter(block.read for _, block in self.model.fetched)
        assert not [one for one, times in fetched.items() if times > 1]

    @property
    def today(self) -> date:
        return self.hub.now.astimezone(CNP.zone).date()

    @property
    def egss(self) -> Iterator[Egs]:
        return (egs for egs in PARTIES if egs.duns in self.model.partners)

    def read(self, egs: Egs, name: str) -> list[tuple[str, str, str, str]]:
        """The blocks of a file, which is never changed once it lies there."""
        if (egs.id, name) not in self.contents:
            path = self.hub.stores.mailboxes.folder(egs.id, "outbound") / name
            self.contents[egs.id, name] = [
                (account, channel, day, values[0]) for account, channel, day, _, values in read_lse(path)
            ]
        return self.contents[egs.id, name]


TestGiven = Given.TestCase
TestGiven.settings = settings(
    max_examples=150 if LONG else 7,
    stateful_step_count=40 if LONG else 20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
