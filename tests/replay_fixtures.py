"""A small year of nights, and how a day of it is done again."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

from config.home import Home
from hub_fixtures import CNP, PATIENCE, PPL, Hub
from interruption_fixtures import DIED, FORKS, act
from jobs.replay.compare import Difference
from jobs.replay.day import replay
from jobs.replay.window import Replayed, windows
from jobs.steps import collect
from jobs.steps import sync as sync_step
from jobs.stores.ledger import syncs
from jobs_fixtures import BLUEBONNET, CHAMPION, KEYSTONE, STRANGER_DUNS, Cut, Row, local, send, send_sync
from schemas.sample import Edc

ACCOUNTS = tuple(f"10{k}" for k in range(8))
SPRING, AUTUMN = date(2013, 3, 10), date(2013, 11, 3)


def again(hub: Hub, day: date, *, edcs: Sequence[str] = (), keep: Path | None = None) -> list[Replayed]:
    """The load of a day, done again for all EDCs, or for some."""
    wanted = [edc for edc in hub.stores.partners.current().edcs if not edcs or edc.id in edcs]
    return replay(windows(wanted, day, stores=hub.stores, now=hub.now), stores=hub.stores, keep=keep)


def differences(hub: Hub, day: date, **how: Sequence[str]) -> list[Difference]:
    return [one for replayed in again(hub, day, **how) for one in replayed.differences]


def a_night(hub: Hub, day: date, number: int) -> None:
    """What happens on the day after a usage day, from the morning to past the deadline; each night is unlike
    the one before.
    """
    for edc in (CNP, PPL) if number % 2 == 0 else (CNP,):
        hub.at(max(hub.now, local(CNP, day + timedelta(days=1), 4)))
        _rosters(hub, edc, day, number)
        hub.on(minutes=10)
        wh = 100 + number
        held_back = ACCOUNTS[number % 8]  # its reading comes late
        cuts = [Cut(account=one, day=day, wh=wh + k) for k, one in enumerate(ACCOUNTS) if one != held_back]
        send(hub, *cuts[:4], edc=edc)
        send(hub, *cuts[4:], Cut(account="S1", day=day, wh=7), edc=edc)
    hub.sweep()
    _collect(hub, number)
    hub.on(minutes=30)
    if number % 2:  # switches between load and publication
        send(hub, Cut(account="101", day=day, wh=5, stamp=_stamp(day, 9)))
        send_sync(hub, _roster(number + 1, CNP), as_of=day + timedelta(days=1))
    hub.on(minutes=30)
    hub.sweep()
    if number % 3 == 0:  # an upload of the same bytes, a refused one, and a bad block
        hub.upload(
            "cnp", f"957877905IntervalData{day:%Y%m%d}12000090{number % 10}.lse", b"nothing of the kind\n"
        )
        bad = [
            Cut(account="101", day=day, wh=3, stamp=_stamp(day, 7)),
            Cut(account="102", day=day, wh=9, stamp=_stamp(day, 8)),
        ]
        send(hub, *bad)
    # Replacements that cross the deadline: one before it, one after it; and what came late.
    hub.at(local(CNP, day + timedelta(days=1), 22, 55))
    send(hub, Cut(account="102", day=day, wh=40 + number, stamp=_stamp(day, 10)))
    hub.sweep()
    hub.at(local(CNP, day + timedelta(days=1), 23, 5))
    late = Cut(account=ACCOUNTS[number % 8], day=day, wh=11)
    send(hub, Cut(account="102", day=day, wh=60 + number, stamp=_stamp(day, 11)), late)
    hub.sweep()


def _stamp(day: date, hour: int) -> str:
    return f"{day + timedelta(days=1):%Y%m%d}{hour:02}0000"


def _roster(number: int, edc: Edc) -> list[Row]:
    owners = [CHAMPION.duns, BLUEBONNET.duns, KEYSTONE.duns, STRANGER_DUNS, ""]
    turn = number if edc is CNP else 0
    rows = [Row(account=one, duns=owners[(k + turn * (k == 3)) % 5]) for k, one in enumerate(ACCOUNTS)]
    return rows + ([Row(account="S1")] if number % 4 == 3 else [])


def _rosters(hub: Hub, edc: Edc, day: date, number: int) -> None:
    as_of = day + timedelta(days=1)
    rows = _roster(number, edc)
    send_sync(hub, rows[:4], as_of=as_of, part=1, parts=2, edc=edc)
    send_sync(hub, rows[4:], as_of=as_of, part=2, parts=2, edc=edc)
    with hub.stores.ledger.read() as tx:
        held = syncs.in_state(tx, "held")
    for one in held:
        hub.on(minutes=1)
        sync_step.approve(one, by="ann", stores=hub.stores, now=hub.now)
        hub.on(minutes=1)
        hub.sweep()


def _collect(hub: Hub, number: int) -> None:
    """An EGS fetches a file whole, another breaks off."""
    for n, egs in enumerate((CHAMPION, BLUEBONNET)):
        files = [file for file in hub.files(egs.id) if file.state == "laid-out"]
        if files and number % 2 == n:
            reading = collect.Reading(
                partner=egs.id, name=files[-1].name, sent=files[-1].bytes, whole=n == 0, began=hub.now,
                ended=hub.now + timedelta(seconds=1), session="s", address="127.0.0.1", key_fingerprint="SHA256:x",
            )  # fmt: skip
            collect.collect(reading, stores=hub.stores)


def killed_in_the_middle(hub: Hub, day: date, number: int, moment: int) -> Hub:
    """On the morning before the night of that number, a process that loads, switches and publishes dies at its
    n-th change; the hub is taken up again.
    """
    hub.at(local(CNP, day + timedelta(days=1), 12))
    hub.close()
    work = partial(a_switch, day=day, number=number)
    child = FORKS.Process(target=act, args=(hub.home.root, hub.now, work, moment))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == DIED
    up_again = Hub(Home(hub.home.root), hub.now + timedelta(minutes=15), fresh=False)
    up_again.restart()
    up_again.sweep()
    return up_again


def a_switch(hub: Hub, *, day: date, number: int) -> None:
    """A replacement is loaded, and two accounts go to another EGS: what held them is withdrawn and written again."""
    before = number - number % 2  # whose roster is in force
    rows = [
        replace(row, duns=KEYSTONE.duns) if row.account in {"100", "105"} else row
        for row in _roster(before, CNP)
    ]
    send(hub, Cut(account="104", day=day, wh=77, stamp=_stamp(day, 12)))
    send_sync(hub, rows, as_of=day + timedelta(days=1))
    hub.sweep()


def morning_of(day: date) -> datetime:
    return local(CNP, day, 4)
