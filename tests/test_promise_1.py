"""Promise 1: no outbound file ever holds an account whose EGS of record, by the sync in force, is someone else.

Syncs, loads, replacements, switches, publications, collections, partners that come and go, days that pass
and restarts, in any order. After each step the outbound folders are read by splitting lines, and held to
what the EDCs sent: to their rosters, to the numbers on the files, and to what should have been delivered.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from config.home import Home
from hub_fixtures import CNP, LONG, PPL, Hub, morning, partner_text
from jobs.steps import collect, sync
from jobs.stores.ledger import syncs
from jobs_fixtures import (
    STRANGER_DUNS,
    Cut,
    Row,
    interval_name,
    lse,
    manifests_of,
    read_lse,
    send_sync,
)
from schemas.drop import Outcome
from schemas.sample import EGSS, Edc, Egs

DAY = date(2013, 9, 2)
STRANGER = Egs(id="stranger", name="Stranger Energy", duns=STRANGER_DUNS)
PARTIES = (*EGSS[:3], STRANGER)
ACCOUNTS = ("A", "A-1", "B", "C")
EDCS = (CNP, PPL)

Roster = dict[str, tuple[str, date]]  # account: the EGS's DUNS and its start
Block = tuple[str, str, str, str, str]  # EDC, account, day, stamp, first value

suppliers = st.sampled_from([egs.duns for egs in PARTIES for _ in range(2)] + [""])
starts = st.sampled_from([-100, -100, -100, 0, 1, 2])  # days from now
rosters = st.dictionaries(st.sampled_from(ACCOUNTS), st.tuples(suppliers, starts), min_size=2)
whole_rosters = st.fixed_dictionaries({account: st.tuples(suppliers, st.just(-100)) for account in ACCOUNTS})
edcs = st.sampled_from([*EDCS, CNP])


@dataclass
class Pushed:
    """A block that was loaded, and what its EGS of record was ever since."""

    block: Block
    stamp: str
    content: int
    owner: str  # DUNS; empty: nobody's, unknown, or not a partner's
    constant: bool = True  # the same owner, a partner all along
    dead: bool = False  # was superseded before it was laid out


@dataclass
class Stack:
    versions: list[Pushed] = field(default_factory=list)
    current: int = -1
    said: str = ""  # the latest stamp that the current version was sent with


class Promise1(RuleBasedStateMachine):
    """The outbound side of a hub, under whatever partners and operators do."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="promise-"))
        self.hub = Hub(Home(self.root / "hub"), morning(DAY, hour=15), "[sync]\nbrake = 0.8\n")
        self.hub.remove_partner(EGSS[3].id)
        self.partners = {egs.duns for egs in EGSS[:3]}
        self.sent: dict[str, Roster] = {}  # by sync
        self.stacks: dict[tuple[str, str, str], Stack] = {}
        self.seen: dict[tuple[str, str], list[Block]] = {}  # file of an EGS: its blocks, when it appeared
        self.collected: set[tuple[str, str]] = set()  # whole, files of EGSs
        self.withdrawn: set[tuple[str, str]] = set()
        self.uploads = 0

    def teardown(self) -> None:
        self.hub.end()
        shutil.rmtree(self.root)

    # ── what happens ──

    @initialize(roster=whole_rosters, published=st.booleans())
    def a_night_has_passed(self, roster: dict[str, tuple[str, int]], published: bool) -> None:
        for edc in EDCS:
            self._send_sync(edc, roster, as_of=0, parts=1)
            self.readings_are_sent(edc, dict.fromkeys(ACCOUNTS, (0, 1, 1)))
        if published:
            self.a_quarter_hour_comes(15)

    @rule(edc=edcs, roster=rosters, as_of=st.sampled_from([0, 0, 0, -1, 1]), parts=st.sampled_from([1, 1, 2]))
    def a_sync_is_sent(self, edc: Edc, roster: dict[str, tuple[str, int]], as_of: int, parts: int) -> None:
        self._send_sync(edc, roster, as_of=as_of, parts=parts)

    @rule(edc=edcs, account=st.sampled_from(ACCOUNTS), supplier=suppliers, start=starts)
    def one_account_switches(self, edc: Edc, account: str, supplier: str, start: int) -> None:
        roster = self._in_force(edc)
        today = self._today(edc)
        changed = {a: (duns, (start - today).days) for a, (duns, start) in roster.items()}
        self._send_sync(edc, changed | {account: (supplier, start)}, as_of=0, parts=1)

    @rule(edc=edcs, account=st.sampled_from(ACCOUNTS))
    def one_account_disappears(self, edc: Edc, account: str) -> None:
        today = self._today(edc)
        kept = {
            a: (duns, (start - today).days)
            for a, (duns, start) in self._in_force(edc).items()
            if a != account
        }
        if kept:
            self._send_sync(edc, kept, as_of=0, parts=1)

    @rule(
        edc=edcs,
        readings=st.dictionaries(
            st.sampled_from(ACCOUNTS),
            st.tuples(st.integers(0, 1), st.integers(1, 4), st.integers(1, 3)),
            min_size=1,
        ),
    )
    def readings_are_sent(self, edc: Edc, readings: dict[str, tuple[int, int, int]]) -> None:
        self.uploads += 1
        yesterday, late = (
            self._today(edc) - timedelta(days=1),
            f"{self.uploads // 60:02}{self.uploads % 60:02}",
        )  # no stamp twice
        cuts = [
            Cut(account=account, day=yesterday - timedelta(days=back), wh=wh, stamp=f"201309030{hour}{late}")
            for account, (back, hour, wh) in sorted(readings.items())
        ]
        content = lse(cuts, edc) + b"\n" * self.uploads  # never a duplicate
        drop = self.hub.upload(edc.id, interval_name(self.hub, edc), content)
        assert drop.outcome is Outcome.ACCEPTED
        for cut in cuts:
            self._push(edc, cut)

    @rule(edc=edcs, account=st.sampled_from(ACCOUNTS), hours=st.permutations([1, 2, 3]))
    def a_reading_is_sent_three_times(self, edc: Edc, account: str, hours: list[int]) -> None:
        for wh, hour in enumerate(hours, 1):
            self.readings_are_sent(edc, {account: (0, hour, wh)})

    @rule(minutes=st.sampled_from([15, 60]))
    def a_quarter_hour_comes(self, minutes: int) -> None:
        self.hub.on(minutes=minutes)
        self.hub.sweep()
        self._published(everything=True)

    @rule()
    def a_day_passes(self) -> None:
        self.hub.on(days=1)
        self._owners_change()
        self.hub.sweep()
        self._published(everything=True)

    @rule(which=st.integers(0, 50), whole=st.booleans())
    def a_file_is_collected(self, which: int, whole: bool) -> None:
        there = [(egs, path) for egs in PARTIES for path in self._files(egs)]
        if there:
            egs, path = there[which % len(there)]
            reading = collect.Reading(
                partner=egs.id, name=path.name, sent=1, whole=whole, began=self.hub.now, ended=self.hub.now,
                session="s", address="127.0.0.1", key_fingerprint="SHA256:x",
            )  # fmt: skip
            collect.collect(reading, stores=self.hub.stores)
            if whole:
                self.collected.add((egs.id, path.name))

    @rule(approved=st.booleans())
    def an_operator_decides_what_is_held(self, approved: bool) -> None:
        with self.hub.stores.ledger.read() as tx:
            held = syncs.in_state(tx, "held")
        for one in held[:1]:
            if approved:
                sync.approve(one, by="ann", stores=self.hub.stores, now=self.hub.now)
            else:
                sync.refuse(one, by="ann", why="", stores=self.hub.stores, now=self.hub.now)
            self.hub.sweep()
            self._owners_change()
            self._published()

    @precondition(lambda self: STRANGER_DUNS not in self.partners)
    @rule()
    def a_partner_is_added(self) -> None:
        self.hub.add_partner(partner_text(STRANGER, "egs"), STRANGER.id)
        self.partners.add(STRANGER_DUNS)
        self._owners_change()

    @precondition(lambda self: STRANGER_DUNS in self.partners)
    @rule()
    def a_partner_goes(self) -> None:
        self.hub.remove_partner(STRANGER.id)
        self.partners.discard(STRANGER_DUNS)
        self._owners_change()

    @rule()
    def the_hub_is_restarted(self) -> None:
        self.hub.restart()

    # ── what holds after each step ──

    @invariant()
    def no_file_holds_an_account_of_someone_else(self) -> None:
        for edc in EDCS:
            roster, today = self._in_force(edc), self._today(edc)
            for egs in PARTIES:
                for path in self._files(egs, edc):
                    for account, *_ in read_lse(path):
                        duns, start = roster.get(account, ("", today))
                        assert (duns, start <= today) == (egs.duns, True), (egs.id, path.name, account)

    @invariant()
    def numbers_have_no_gap_and_manifests_tell_the_truth(self) -> None:
        for egs in PARTIES:
            manifests = manifests_of(self.hub, egs.id)
            assert sorted(one["sequence"] for one in manifests) == list(range(1, len(manifests) + 1))
            there = {path.name for path in self._files(egs)}
            assert there == {one["file"] for one in manifests if "withdrawn" not in one}
            for one in manifests:
                self._observe(egs, one)

    # ── the model ──

    def _send_sync(self, edc: Edc, roster: dict[str, tuple[str, int]], *, as_of: int, parts: int) -> None:
        today = self._today(edc)
        says = {account: (duns, today + timedelta(days=start)) for account, (duns, start) in roster.items()}
        rows = [Row(account=account, duns=duns, start=start) for account, (duns, start) in says.items()]
        self.hub.on(seconds=1)
        parts = min(parts, len(rows))
        drops = [
            send_sync(
                self.hub,
                rows[k::parts],
                as_of=today + timedelta(days=as_of),
                part=k + 1,
                parts=parts,
                edc=edc,
            )
            for k in range(parts)
        ]
        note(f"{edc.id}: {says} as of {as_of}: {[drop.outcome for drop in drops]}")
        if as_of > 0:
            assert {drop.outcome for drop in drops} == {Outcome.REJECTED}
        for drop in drops:
            if drop.sync_id:
                self.sent.setdefault(drop.sync_id, {}).update(says)
        self.hub.sweep()
        self._owners_change()
        self._published()

    def _push(self, edc: Edc, cut: Cut) -> None:
        stack = self.stacks.setdefault((edc.id, cut.account, f"{cut.day:%Y%m%d}"), Stack())
        standing = stack.versions[stack.current] if stack.current >= 0 else None
        if standing is not None and standing.content == cut.wh:
            stack.said = max(stack.said, cut.stamp)
            return
        value = f"{cut.wh / 1000:g}"
        block = (edc.id, cut.account, f"{cut.day:%Y%m%d}", cut.stamp, value)
        pushed = Pushed(block=block, stamp=cut.stamp, content=cut.wh, owner=self._owner(edc, cut.account))
        stack.versions.append(pushed)
        if standing is None or cut.stamp >= stack.said:
            stack.current, stack.said = len(stack.versions) - 1, cut.stamp
            if standing is not None and not self._given_to(standing.block):
                standing.dead = True
        else:
            pushed.dead = True

    def _given_to(self, block: Block) -> list[str]:
        """The EGSs that were given a block, but for files that were taken back before they were fetched."""
        return [egs for (egs, _), blocks in self._given() if block in blocks]

    def _given(self) -> list[tuple[tuple[str, str], list[Block]]]:
        gone = self.withdrawn - self.collected
        return [(key, blocks) for key, blocks in self.seen.items() if key not in gone]

    def _owner(self, edc: Edc, account: str) -> str:
        today = self._today(edc)
        duns, start = self._in_force(edc).get(account, ("", today))
        return duns if duns in self.partners and start <= today else ""

    def _owners_change(self) -> None:
        for (edc_id, account, _), stack in self.stacks.items():
            owner = self._owner(next(edc for edc in EDCS if edc.id == edc_id), account)
            for pushed in stack.versions:
                pushed.constant &= owner == pushed.owner

    def _published(self, *, everything: bool = False) -> None:
        """Nothing is ever delivered twice, nor to another than whose it was all along. After a publication
        of `everything` that is new, what is current, and was one EGS's since it was loaded, is delivered; and
        what was laid out and never fetched is with nobody only if it is of days before its EGS's start.
        """
        for egs in PARTIES:
            for one in manifests_of(self.hub, egs.id):
                self._observe(egs, one)
        given = [block for _, blocks in self._given() for block in blocks]
        assert len(given) == len(set(given))
        for (edc_id, _, _), stack in self.stacks.items():
            edc = next(edc for edc in EDCS if edc.id == edc_id)
            fresh = self._is_fresh(edc)
            for at, pushed in enumerate(stack.versions):
                to = self._given_to(pushed.block)
                assert not (pushed.dead and to), pushed
                if pushed.constant and pushed.owner:
                    owner = next(egs for egs in PARTIES if egs.duns == pushed.owner)
                    if at == stack.current and fresh and everything:
                        assert to == [owner.id], (pushed, to)
                    assert set(to) <= {owner.id}
            if fresh and everything and stack.current >= 0:
                self._is_with_somebody(edc, stack.versions[stack.current])

    def _is_with_somebody(self, edc: Edc, pushed: Pushed) -> None:
        if self._given_to(pushed.block) or not any(pushed.block in blocks for blocks in self.seen.values()):
            return
        _, account, said, *_ = pushed.block
        day = date.fromisoformat(said)
        _, start = self._in_force(edc).get(account, ("", date.max))
        kept = self._today(edc) - day <= timedelta(days=30)
        assert not (kept and self._owner(edc, account) and start <= day), pushed

    def _is_fresh(self, edc: Edc) -> bool:
        with self.hub.stores.ledger.read() as tx:
            standing = syncs.in_force(tx, edc.id)
        return standing is not None and (self._today(edc) - standing.as_of).days <= 5

    def _observe(self, egs: Egs, manifest: dict[str, Any]) -> None:
        key = (egs.id, manifest["file"])
        if "withdrawn" in manifest:
            self.withdrawn.add(key)
        path = self.hub.stores.mailboxes.folder(egs.id, "outbound") / manifest["file"]
        if not path.exists():
            return
        blocks = [(manifest["edc"]["id"], account, day, stamp, values[0])
                  for account, _, day, stamp, values in read_lse(path)]  # fmt: skip
        assert len(blocks) == manifest["blocks"] > 0
        assert self.seen.setdefault(key, blocks) == blocks
        if "replaces" in manifest:
            assert set(blocks) < set(self.seen[egs.id, manifest["replaces"]])

    def _in_force(self, edc: Edc) -> Roster:
        with self.hub.stores.ledger.read() as tx:
            standing = syncs.in_force(tx, edc.id)
        return {} if standing is None else self.sent[standing.id]

    def _today(self, edc: Edc) -> date:
        return self.hub.now.astimezone(edc.zone).date()

    def _files(self, egs: Egs, edc: Edc | None = None) -> list[Path]:
        there = self.hub.laid(egs.id, "outbound", ".lse.gz")
        return [path for path in there if edc is None or path.name.startswith(edc.duns)]


TestPromise1 = Promise1.TestCase
TestPromise1.settings = settings(
    max_examples=150 if LONG else 8,
    stateful_step_count=50 if LONG else 30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
