"""Publications: what is new, to whom it belongs, under which name and number, and how it appears."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub_fixtures import CNP, PPL, Hub, small_night
from jobs.steps import publish
from jobs.stores.ledger import holds, outbox
from jobs_fixtures import (
    BLUEBONNET,
    CHAMPION,
    KEYSTONE,
    LONESTAR,
    Cut,
    Row,
    accounts_found,
    found,
    local,
    manifests_of,
    read_lse,
    send,
    send_sync,
)
from schemas.sample import EGSS

DAY = date(2013, 9, 2)


def run(hub: Hub, edc: Any = CNP, **given: Any) -> publish.Outcome:
    return publish.publish(hub.partner(edc.id), stores=hub.stores, now=hub.now, **given)


def files_of(hub: Hub, egs: Any) -> list[Path]:
    return hub.laid(egs.id, "outbound", ".lse.gz")


def test_each_egs_is_given_one_file_of_each_edc_a_run_with_its_own_accounts_only(hub: Hub) -> None:
    night = small_night(DAY)
    hub.send(*night.syncs(), *night.buckets())
    hub.sweep()
    for egs in EGSS:
        names = [path.name for path in files_of(hub, egs)]
        assert len(names) == 2
        assert {name.split("IntervalData")[0] for name in names} == {CNP.duns, PPL.duns}
    given: Counter[tuple[str, str]] = Counter()
    for edc in (CNP, PPL):
        rows = night.roster(edc).to_pylist()
        expected = {row["account"]: row["egs_duns"] for row in rows}
        for egs in EGSS:
            for path in files_of(hub, egs):
                if path.name.startswith(edc.duns):
                    for account, channel, *_ in read_lse(path):
                        assert expected[account] == egs.duns
                        given[account, channel] += 1
    sent = sum(file.blocks for file in night.buckets())
    nobodys = sum(
        row["channels"].count(";") + 1
        for edc in (CNP, PPL)
        for row in night.roster(edc).to_pylist()
        if not row["egs_duns"]
    )
    assert set(given.values()) == {1}
    assert len(given) == sent - nobodys


def test_a_manifest_says_what_its_file_holds(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY), Cut(account="B", day=DAY, status="E"))
    send(hub, Cut(account="A", day=DAY - timedelta(days=1)))
    send(hub, Cut(account="A", day=DAY, wh=7, stamp="20130903080000"))
    hub.sweep()
    (path,) = files_of(hub, CHAMPION)
    (manifest,) = manifests_of(hub, CHAMPION.id)
    content = path.read_bytes()
    assert manifest == {
        "file": path.name,
        "sequence": 1,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "edc": {"id": "cnp", "duns": CNP.duns},
        "egs": {"id": "champion", "duns": CHAMPION.duns},
        "usage_days": ["2013-09-01", "2013-09-02"],
        "blocks": 3,
        "intervals": 288,
        "estimated_intervals": 96,
        "versions_above_1": 1,
        "sync": {"id": "S130903-cnp-1", "as_of": "2013-09-03"},
        "laid_out_at": "2013-09-03T10:00:00Z",
    }
    assert path.name == f"{CNP.duns}IntervalData20130903050000001.lse.gz"
    assert content[4:8] == bytes(4)  # no time in the gzip header: the same blocks give the same bytes


def test_only_what_is_new_is_laid_out(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    first, second = Cut(account="A", day=DAY), Cut(account="B", day=DAY)
    send(hub, first)
    assert run(hub) == publish.Published(files=1, blocks=1)
    assert run(hub) == publish.NothingNew()
    hub.on(minutes=15)
    send(hub, second, first.again(stamp="20130903090000"))  # the one of A has not changed
    assert run(hub) == publish.Published(files=1, blocks=1)
    assert found(hub, CHAMPION.id) == [first.read(CNP), second.read(CNP)]


def test_what_was_superseded_before_it_was_laid_out_is_not_laid_out(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    cuts = [Cut(account="A", day=DAY, wh=wh, stamp=f"201309030{wh}0000") for wh in (4, 6, 5)]
    for cut in cuts:
        send(hub, cut)
    run(hub)
    assert found(hub, CHAMPION.id) == [cuts[1].read(CNP)]
    late = Cut(account="A", day=DAY, wh=3, stamp="20130903010000")  # an old cut, sent after all
    send(hub, late)
    assert run(hub) == publish.NothingNew()
    hub.on(minutes=15)
    newer = Cut(account="A", day=DAY, wh=9, stamp="20130903090000")
    send(hub, newer)
    run(hub)
    assert found(hub, CHAMPION.id) == [cuts[1].read(CNP), newer.read(CNP)]


def test_a_replacement_of_what_was_laid_out_is_laid_out_too(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns})
    a, b = Cut(account="A", day=DAY), Cut(account="B", day=DAY)
    send(hub, a, b)
    run(hub)
    hub.on(minutes=15)
    mended = a.again(wh=1, stamp="20130903100000")
    send(hub, mended)
    run(hub)
    assert found(hub, CHAMPION.id) == [a.read(CNP), mended.read(CNP)]
    assert found(hub, KEYSTONE.id) == [b.read(CNP)]
    assert [one["versions_above_1"] for one in manifests_of(hub, CHAMPION.id)] == [0, 1]


def test_what_is_published_goes_to_whoever_is_of_record_then(hub: Hub) -> None:
    """Loaded while one was of record, published when another is."""
    send_sync(hub, {"A": CHAMPION.duns} | {f"B{k}": CHAMPION.duns for k in range(20)})
    send(hub, Cut(account="A", day=DAY))
    hub.on(minutes=1)
    send_sync(hub, {"A": KEYSTONE.duns} | {f"B{k}": CHAMPION.duns for k in range(20)})
    run(hub)
    assert accounts_found(hub, CHAMPION.id) == []
    assert accounts_found(hub, KEYSTONE.id) == ["A"]


def test_default_service_is_given_to_nobody(hub: Hub) -> None:
    send_sync(hub, {"A": ""})
    send(hub, Cut(account="A", day=DAY))
    assert run(hub) == publish.NothingNew()
    assert not any(files_of(hub, egs) for egs in EGSS)
    assert run(hub) == publish.NothingNew()
    with hub.stores.ledger.read() as tx:
        assert holds.held(tx, edc=CNP.id) == []


def test_each_edc_has_a_cursor_of_its_own(hub: Hub) -> None:
    for edc in (CNP, PPL):
        send_sync(hub, {"A": CHAMPION.duns}, edc=edc)
    ours, theirs = Cut(account="A", day=DAY, wh=1), Cut(account="A", day=DAY, wh=2)
    send(hub, ours)
    send(hub, theirs, edc=PPL)
    assert run(hub, PPL) == publish.Published(files=1, blocks=1)
    assert found(hub, CHAMPION.id) == [theirs.read(PPL)]
    assert run(hub, CNP) == publish.Published(files=1, blocks=1)
    assert found(hub, CHAMPION.id) == [theirs.read(PPL), ours.read(CNP)]
    assert [one["edc"]["id"] for one in manifests_of(hub, CHAMPION.id)] in (["ppl", "cnp"], ["cnp", "ppl"])
    assert sorted(one["sequence"] for one in manifests_of(hub, CHAMPION.id)) == [1, 2]


def test_names_are_never_used_twice_and_numbers_have_no_gap(hub: Hub) -> None:
    roster = {"A": CHAMPION.duns, "B": KEYSTONE.duns}
    send_sync(hub, roster)
    for wh in range(1, 13):  # all in the same second
        send(hub, *[Cut(account=account, day=DAY, wh=wh, stamp=f"201309030400{wh:02}") for account in roster])
        run(hub)
    for egs in (CHAMPION, KEYSTONE):
        manifests = sorted(manifests_of(hub, egs.id), key=lambda one: one["sequence"])
        assert [one["sequence"] for one in manifests] == list(range(1, 13))
        names = [f"{CNP.duns}IntervalData20130903050000{k:03}.lse.gz" for k in range(1, 13)]
        assert [one["file"] for one in manifests] == names


def test_in_the_hour_that_comes_twice_names_are_not(make_hub: Callable[..., Hub]) -> None:
    autumn = date(2013, 11, 3)
    hub = make_hub(now=local(CNP, autumn, 1, 30))
    send_sync(hub, {"A": CHAMPION.duns})
    for wh in (1, 2):
        send(hub, Cut(account="A", day=autumn - timedelta(days=1), wh=wh, stamp=f"2013110300000{wh}"))
        run(hub)
        hub.at(local(CNP, autumn, 1, 30).replace(fold=1))
    names = [path.name for path in files_of(hub, CHAMPION)]
    assert names == [f"{CNP.duns}IntervalData20131103013000{k:03}.lse.gz" for k in (1, 2)]


def test_a_partner_added_later_is_given_what_is_new_since(hub: Hub) -> None:
    hub.remove_partner(LONESTAR.id)
    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY))
    run(hub)
    assert not files_of(hub, LONESTAR)


@pytest.fixture
def recorded(hub: Hub) -> Hub:
    """A hub whose publication was cut off when it was in the ledger, before any file of it appeared."""
    send_sync(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns})
    send(hub, Cut(account="A", day=DAY), Cut(account="B", day=DAY))
    staged = hub.home.staging / f"publish-{CNP.id}"
    run(hub)
    with hub.stores.ledger.write() as tx:
        from sqlalchemy import update

        from schemas import tables

        tx.execute(update(tables.publication).values(laid_out=False))
        tx.execute(update(tables.outbound_file).values(state="recorded", laid_out_at=None))
        files = outbox.listed(tx)
    for file in files:
        data = hub.stores.mailboxes.folder(file.egs, "outbound") / file.name
        contents = hub.home.state / file.contents
        data.rename(staged / f"{contents.stem}.lse.gz")
        contents.rename(staged / f"{contents.stem}.arrow")
        data.with_name(f"{file.name}.manifest.json").unlink()
    return hub


def test_what_was_recorded_and_had_not_appeared_appears_at_the_next_sweep(recorded: Hub) -> None:
    assert not files_of(recorded, CHAMPION)
    recorded.on(minutes=15)
    recorded.sweep()
    assert accounts_found(recorded, CHAMPION.id) == ["A"]
    assert accounts_found(recorded, KEYSTONE.id) == ["B"]
    for egs in (CHAMPION, KEYSTONE):
        (manifest,) = manifests_of(recorded, egs.id)
        assert manifest["sequence"] == 1
    recorded.on(minutes=15)
    recorded.sweep()
    assert accounts_found(recorded, CHAMPION.id) == ["A"]


def test_a_sync_withdraws_what_was_recorded_and_had_not_appeared(recorded: Hub) -> None:
    recorded.on(minutes=1)
    send_sync(recorded, [Row(account="A", duns=KEYSTONE.duns), Row(account="B", duns=KEYSTONE.duns)])
    (held,) = recorded.events("sync.held")
    from jobs.steps import sync
    from jobs.stores.ledger import syncs

    with recorded.stores.ledger.read() as tx:
        waiting = syncs.get(tx, held["about"])
    sync.approve(waiting, by="ann", stores=recorded.stores, now=recorded.now)
    recorded.sweep()
    assert accounts_found(recorded, CHAMPION.id) == []
    assert accounts_found(recorded, KEYSTONE.id) == ["B", "A"]  # which nobody had fetched
    (manifest,) = manifests_of(recorded, CHAMPION.id)
    assert manifest["withdrawn"]["sync"] == waiting.id


def test_a_file_is_never_there_without_its_manifest(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY))
    run(hub)
    (path,) = files_of(hub, CHAMPION)
    manifest = path.with_name(f"{path.name}.manifest.json")
    assert manifest.stat().st_ctime_ns <= path.stat().st_ctime_ns
    assert json.loads(manifest.read_text())["file"] == path.name


def test_a_withheld_publication_keeps_what_it_would_have_laid_out(hub: Hub) -> None:
    send(hub, Cut(account="A", day=DAY))
    assert isinstance(run(hub), publish.Withheld)
    send_sync(hub, {"A": CHAMPION.duns})
    assert run(hub) == publish.Published(files=1, blocks=1)


def test_what_an_egs_reads_means_what_the_edc_sent(hub: Hub) -> None:
    """Half-hours and hours, both channels, estimates and odd values, field by field."""
    send_sync(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    cuts = [
        Cut(account="A", day=DAY, seconds=1800, wh=0),
        Cut(account="A", day=DAY, channel="1", seconds=3600, wh=999_999_999),
        Cut(account="B", day=DAY, status="E", origin="X", wh=1),
    ]
    send(hub, *cuts)
    run(hub)
    (path,) = files_of(hub, CHAMPION)
    text = gzip.decompress(path.read_bytes()).decode()
    assert text.count("\r") == 0
    assert ",1800,01," in text
    assert ",3600,01," in text
    assert "999999.999,A," in text
    assert "00000004,20130903041530,X\n" in text
    assert sorted(read_lse(path)) == sorted(cut.read(CNP) for cut in cuts)


def test_two_publishers_of_one_edc_do_not_run_side_by_side(hub: Hub) -> None:
    from jobs.stores import layout
    from jobs.stores.ledger import claims
    from jobs.stores.ledger.claims import Owner

    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY))
    other = Owner(hub.home.locks)
    with hub.stores.ledger.write() as tx:
        assert claims.take(tx, layout.claim_key(CNP.id), owner=other, now=hub.now)
    assert run(hub) == publish.Busy()
    other.close()
    assert run(hub) == publish.Published(files=1, blocks=1)


def test_late_blocks_that_are_held_are_laid_out_when_an_operator_releases_them(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub('[deadline]\nlate = "hold"\n', local(CNP, date(2013, 9, 3), 23, 0, 1))
    send_sync(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns, "D": ""})
    cuts = [Cut(account=account, day=DAY) for account in ("A", "D", "S")]
    drop = send(hub, *cuts)
    other = send(hub, Cut(account="B", day=DAY))
    assert (drop.blocks_late, other.blocks_late) == (3, 1)
    run(hub)
    assert accounts_found(hub, CHAMPION.id) == []
    replaced = Cut(account="B", day=DAY, wh=8, stamp="20130904000000")
    assert send(hub, replaced).blocks_late == 0  # replacements are never late
    run(hub)
    assert found(hub, CHAMPION.id) == [replaced.read(CNP)]
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns, "D": "", "S": CHAMPION.duns})
    run(hub)
    assert accounts_found(hub, CHAMPION.id) == ["B"]  # the late one in suspense waits for its release, too
    assert run(hub, release=[drop.id]) == publish.Published(files=1, blocks=2)
    assert accounts_found(hub, CHAMPION.id) == ["B", "A", "S"]
    assert run(hub, release=[drop.id, other.id]) == publish.NothingNew()  # B's was replaced meanwhile
    assert accounts_found(hub, CHAMPION.id) == ["B", "A", "S"]
    assert not files_of(hub, BLUEBONNET)
