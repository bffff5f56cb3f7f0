"""What becomes of an upload: its outcome, its receipts to the letter, and its bytes in the archive."""

import csv
import gzip
import hashlib
import io
import json
import random
import zlib
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub_fixtures import CNP, PPL, Hub, morning
from jobs.steps import arrive
from jobs_fixtures import (
    CHAMPION,
    Cut,
    Row,
    found,
    interval_name,
    local,
    lse,
    send,
    send_sync,
    sync_name,
    sync_part,
)
from schemas.drop import Drop, Outcome, Stage

DAY = date(2013, 9, 2)
FINAL = {"accepted", "partial", "rejected", "duplicate"}
COUNTS = (
    "blocks_loaded",
    "blocks_late",
    "blocks_replacing",
    "blocks_unchanged",
    "blocks_rejected",
    "intervals_loaded",
    "suspense",
    "faults_total",
)


def cuts(count: int, **changes: Any) -> list[Cut]:
    return [Cut(account=f"1044372{k:04}", day=DAY, wh=100 + k, **changes) for k in range(count)]


def receipts(hub: Hub, drop: Drop) -> dict[str, Any]:
    """What lies in receipts/ of a drop, by the word that its name ends in."""
    folder = hub.stores.mailboxes.folder(drop.partner, "receipts")
    said: dict[str, Any] = {}
    for path in folder.iterdir():
        head, _, rest = path.name.partition(f".{drop.id}.")
        if rest:
            assert head == drop.name
            word, _, kind = rest.partition(".")
            said[word] = json.loads(path.read_text()) if kind == "json" else path.read_text()
    return said


def final(hub: Hub, drop: Drop) -> tuple[str, dict[str, Any]]:
    """The one word and content of a final receipt, with all else that has to be beside it."""
    said = receipts(hub, drop)
    (word,) = FINAL & set(said)
    assert drop.outcome == word
    receipt = said[word]
    assert said["received"] == {
        key: receipt[key] for key in ("drop", "file", "bytes", "sha256", "received_at")
    }
    assert ("faults" in said) == (receipt["faults_total"] > 0)
    assert set(said) == {"received", word} | ({"faults"} if receipt["faults_total"] else set())
    if receipt["faults_total"]:
        rows = list(csv.DictReader(io.StringIO(said["faults"])))
        assert len(rows) == receipt["faults_total"]
        shown = [{key: str("" if v is None else v) for key, v in one.items()} for one in receipt["faults"]]
        assert rows[:100] == shown
    return word, receipt


def archived(hub: Hub, content: bytes) -> Path:
    """Where the archive has the content, which it gives back to the byte."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = hub.stores.archive.path(sha256)
    assert path is not None
    assert hub.stores.archive.read(sha256) == content
    assert path.stat().st_mode & 0o222 == 0
    assert sum(one.is_file() for one in hub.stores.archive.root.rglob(f"*{sha256}*")) == 1
    return path


def inbound(hub: Hub, edc: str = CNP.id) -> list[str]:
    return sorted(path.name for path in hub.stores.mailboxes.folder(edc, "inbound").iterdir())


def test_a_good_bucket_is_accepted_and_its_receipt_counts_it(hub: Hub) -> None:
    send_sync(hub, {cut.account: CHAMPION.duns for cut in cuts(3)})
    content = lse(cuts(4))
    name = interval_name(hub)
    drop = hub.upload(CNP.id, name, content)
    word, receipt = final(hub, drop)
    assert word == "accepted"
    assert receipt == {
        "drop": drop.id,
        "file": name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "received_at": "2013-09-03T10:00:00Z",
        "outcome": "accepted",
        "usage_days": ["2013-09-02"],
        "deadline": "2013-09-04T04:00:00Z",
        "blocks_loaded": 4,
        "blocks_late": 0,
        "blocks_replacing": 0,
        "blocks_unchanged": 0,
        "blocks_rejected": 0,
        "intervals_loaded": 384,
        "suspense": 1,
        "faults": [],
        "faults_total": 0,
    }
    assert inbound(hub) == []
    assert archived(hub, content).suffix == ".gz"


def test_the_received_receipt_is_there_before_anything_is_decided(hub: Hub) -> None:
    events = [e["name"] for e in hub.events(about=send(hub, *cuts(1)).id)]
    before, after = ["drop.arrived", "drop.received"], ["drop.accepted", "drop.loaded"]
    assert events == [*before, "receipt.laid", *after, "receipt.laid"]


def test_bad_blocks_are_refused_by_name_and_the_rest_loads(hub: Hub) -> None:
    good = cuts(150)
    content = lse(good[:75]) + good[149].text(CNP, intervals=95).encode() + lse(good[75:149])
    drop = hub.upload(CNP.id, interval_name(hub), content)
    word, receipt = final(hub, drop)
    assert word == "partial"
    assert (receipt["blocks_loaded"], receipt["blocks_rejected"]) == (149, 1)
    assert receipt["faults"] == [
        {
            "line": 380,
            "account": good[149].account,
            "code": "interval-count",
            "column": receipt["faults"][0]["column"],
            "found": "95",
            "wanted": "96",
            "message": receipt["faults"][0]["message"],
        }
    ]


@pytest.mark.parametrize(
    ("blocks", "bad", "word"),
    [
        (1, 1, "rejected"),  # nothing is left
        (2, 1, "partial"),  # at least one may be bad
        (3, 2, "rejected"),
        (99, 1, "partial"),
        (199, 2, "rejected"),  # 1 % of 199 is 1
        (200, 2, "partial"),
        (200, 3, "rejected"),
        (700, 7, "partial"),
        (700, 8, "rejected"),
    ],
)
def test_more_than_one_in_a_hundred_bad_blocks_refuse_the_file(
    hub: Hub, blocks: int, bad: int, word: str
) -> None:
    rows = cuts(blocks)
    content = b"".join(
        cut.text(CNP, intervals=95 if k < bad else None).encode() for k, cut in enumerate(rows)
    )
    drop = hub.upload(CNP.id, interval_name(hub), content)
    got, receipt = final(hub, drop)
    assert got == word
    if word == "rejected":
        assert drop.stage is Stage.REFUSED
        assert [receipt[key] for key in ("blocks_loaded", "intervals_loaded")] == [0, 0]
        assert receipt["faults"][0]["code"] == "too-many-bad-blocks"
        assert receipt["faults"][0]["found"] == f"{bad} of {blocks} blocks"
        assert receipt["faults_total"] == bad + 1
    else:
        assert receipt["blocks_loaded"] == blocks - bad


@pytest.mark.parametrize("share", [0.01, 0.05, 0.07, 0.29])
def test_the_border_of_bad_blocks_is_not_moved_by_rounding(
    make_hub: Callable[..., Hub], share: float
) -> None:
    hub = make_hub(f"[limits]\nmax_bad_blocks = {share}\n")
    rows = cuts(100)
    allowed = round(share * 100)
    content = b"".join(
        cut.text(CNP, intervals=95 if k < allowed else None).encode() for k, cut in enumerate(rows)
    )
    assert hub.upload(CNP.id, interval_name(hub), content).outcome == Outcome.PARTIAL


def test_a_file_with_more_faults_than_a_receipt_shows_has_all_of_them_in_a_table(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub("[limits]\nmax_bad_blocks = 0.9\n")
    rows = cuts(150)
    content = b"".join(
        cut.text(CNP, intervals=95 if k < 120 else None).encode() for k, cut in enumerate(rows)
    )
    word, receipt = final(hub, hub.upload(CNP.id, interval_name(hub), content))
    assert (word, receipt["faults_total"], len(receipt["faults"])) == ("partial", 120, 100)


def _bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    chunk = b"0" * (1 << 20)
    return b"".join(packer.compress(chunk) for _ in range(size >> 20)) + packer.flush()


GOOD = lse(cuts(2))


@pytest.mark.parametrize(
    ("ending", "content", "code"),
    [
        ("lse", b"", "empty"),
        ("lse", b"\r\n\n\r\n", "empty"),
        ("lse.gz", b"", "empty"),
        ("lse.gz", gzip.compress(b""), "empty"),
        ("lse.gz", gzip.compress(GOOD)[:-30], "broken-gzip"),
        ("lse.gz", gzip.compress(GOOD)[:-1], "broken-gzip"),
        ("lse.gz", gzip.compress(GOOD)[:-8] + bytes(8), "broken-gzip"),
        ("lse.gz", GOOD, "broken-gzip"),
        ("lse.gz", gzip.compress(GOOD) + b"more", "broken-gzip"),
        ("lse", gzip.compress(GOOD), "not-text"),
        ("lse", random.Random(7).randbytes(4096), "not-text"),
        ("lse", GOOD.decode().encode("utf-16"), "utf-16"),
        ("lse", GOOD.decode().encode("utf-16-be"), "utf-16"),
        ("lse", GOOD[: -9 * 60], "cut-short"),
        ("lse", b"ESIID,USAGE_DATE\n1,2\n", "not-lse"),
        ("lse", b"HDR,METERDATASYNC,1,957877905,20130903,1,1\n", "not-lse"),
    ],
    ids=[
        "empty", "line ends", "empty gz", "gz of nothing", "gz cut", "gz without its last byte", "gz checksum",
        "no gz", "gz and more", "gz called plain", "binary", "utf-16", "utf-16-be", "cut", "csv", "sync",
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_whole_and_kept(
    hub: Hub, ending: str, content: bytes, code: str
) -> None:
    drop = hub.upload(CNP.id, interval_name(hub, ending=ending), content)
    word, receipt = final(hub, drop)
    assert (drop.stage, word) == (Stage.REFUSED, "rejected")
    assert receipt["faults"][-1]["code"] == code
    assert receipt["faults"][0]["found"]
    assert receipt["faults"][0]["wanted"]
    assert all(receipt[key] == 0 for key in COUNTS if not key.endswith(("rejected", "total")))
    assert receipt["usage_days"] == []
    assert inbound(hub) == []
    archived(hub, content)


@pytest.mark.parametrize(
    ("name", "code", "wanted"),
    [
        ("intervals-monday.lse", "name", "IntervalData"),
        ("957877905IntervalData20130903041530001.txt", "name", "(lse|csv)"),
        ("957877905IntervalData20130903041530.lse", "name", "counter"),
        ("957877905IntervalData20130931041530001.lse", "name", "a time that exists"),
        ("957877905MeterDataSync20130903041530001.lse", "name", ".csv"),
        ("957877905DailySummary20130903041530001.csv", "kind-not-taken", "IntervalData"),
        ("007909427ACIntervalData20130903041530001.lse", "sender", "957877905"),
        ("957877905MeterDataSync20130903041530001.csv", "sync-header", "METERDATASYNC"),
    ],
)
def test_a_file_of_a_wrong_name_sender_or_kind_is_refused_and_kept(
    hub: Hub, name: str, code: str, wanted: str
) -> None:
    drop = hub.upload(CNP.id, name, GOOD)
    hub.on(minutes=10)
    hub.sweep()
    drop = hub.drop(drop.id)
    word, receipt = final(hub, drop)
    assert (drop.stage, word) == (Stage.REFUSED, "rejected")
    assert receipt["faults"][0]["code"] == code
    assert wanted in receipt["faults"][0]["wanted"]
    archived(hub, GOOD)
    assert inbound(hub) == []


def test_gzip_comes_in_any_number_of_members_and_is_archived_as_it_came(hub: Hub) -> None:
    rows = cuts(3)
    content = b"".join(gzip.compress(lse([cut])) for cut in rows) + bytes(512)
    drop = hub.upload(CNP.id, interval_name(hub, ending="lse.gz"), content)
    assert final(hub, drop)[1]["blocks_loaded"] == 3
    assert archived(hub, content).read_bytes() == content


def test_csv_is_taken_for_lse_on_the_way_in(hub: Hub) -> None:
    assert hub.upload(CNP.id, interval_name(hub, ending="csv"), GOOD).outcome == Outcome.ACCEPTED


def test_gzip_that_unpacks_to_too_much_is_refused(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("[limits]\nmax_unpacked_bytes = 8388608\n")
    drop = hub.upload(CNP.id, interval_name(hub, ending="lse.gz"), _bomb(9 << 20))
    fault = final(hub, drop)[1]["faults"][0]
    assert (fault["code"], fault["wanted"]) == ("too-big-unpacked", "at most 8388608 bytes")
    plain = hub.upload(CNP.id, interval_name(hub), b"0" * 8388609)
    assert final(hub, plain)[1]["faults"][0]["code"] == "too-big-unpacked"


def test_the_same_bytes_again_are_a_duplicate_whatever_their_name(hub: Hub) -> None:
    first = hub.upload(CNP.id, interval_name(hub), GOOD)
    hub.on(minutes=1)
    again = hub.upload(CNP.id, interval_name(hub), GOOD)
    word, receipt = final(hub, again)
    assert (again.stage, word) == (Stage.DUPLICATE, "duplicate")
    assert receipt["duplicate_of"] == first.id
    assert all(receipt[key] == 0 for key in COUNTS)
    archived(hub, GOOD)


def test_the_same_bytes_of_another_sender_are_no_duplicate(hub: Hub) -> None:
    hub.upload(CNP.id, interval_name(hub), GOOD)
    other = hub.upload(PPL.id, interval_name(hub, PPL), GOOD)
    assert other.outcome == Outcome.ACCEPTED


def test_bytes_that_were_refused_before_are_looked_at_anew(hub: Hub) -> None:
    content = cuts(1)[0].text(CNP, intervals=95).encode()
    outcomes = [hub.upload(CNP.id, interval_name(hub), content).outcome for _ in range(2)]
    assert outcomes == [Outcome.REJECTED, Outcome.REJECTED]


def test_the_same_bytes_wait_for_what_becomes_of_the_first(hub: Hub) -> None:
    bad = cuts(1)[0].text(CNP, intervals=95).encode()
    first = hub.arrive(CNP.id, interval_name(hub), bad)
    again = hub.arrive(CNP.id, interval_name(hub), bad)
    for drop in (first, again):
        _only_accepted(hub, drop)
    assert hub.drop(first.id).stage is Stage.ACCEPTED
    assert hub.drop(again.id).stage is Stage.RECEIVED
    hub.sweep()
    assert hub.drop(first.id).outcome is Outcome.REJECTED
    hub.sweep()
    assert hub.drop(again.id).outcome is Outcome.REJECTED


def _only_accepted(hub: Hub, drop: Drop) -> None:
    """Take a drop as far as its acceptance, as a worker that dies then would have."""
    from jobs.steps import accept, receive

    content = hub.stores.mailboxes.whole(drop.partner, drop.name).read_bytes()
    received = receive.receive(drop, content, stores=hub.stores, now=hub.now)
    accept.accept(received.drop, sender=hub.partner(drop.partner), stores=hub.stores, now=hub.now)


def test_one_file_may_hold_several_usage_days(hub: Hub) -> None:
    days = [DAY - timedelta(days=k) for k in (2, 1, 0)]
    drop = send(hub, *[Cut(account=f"A{k}", day=day) for day in days for k in range(2)])
    _, receipt = final(hub, drop)
    assert receipt["usage_days"] == ["2013-08-31", "2013-09-01", "2013-09-02"]
    assert receipt["deadline"] == "2013-09-04T04:00:00Z"  # the latest day's
    assert (receipt["blocks_loaded"], receipt["blocks_late"]) == (6, 4)


def test_a_day_that_is_not_over_is_refused(hub: Hub) -> None:
    today = local(CNP, DAY, 12).date()
    hub.at(local(CNP, DAY, 23, 59, 59))
    drop = send(hub, Cut(account="A", day=today), Cut(account="B", day=today - timedelta(days=1)))
    assert final(hub, drop)[1]["faults"][0]["code"] == "future-day"


def test_accounts_of_every_legal_kind_stand_side_by_side(hub: Hub) -> None:
    accounts = ["AB", "AB-1", "AB.1", "AB_1", "ab", "AB0", "A" * 63, "0", "-", ".", "_"]
    send_sync(hub, dict.fromkeys(accounts, CHAMPION.duns))
    rows = [Cut(account=account, day=DAY, channel=channel) for account in accounts for channel in ("4", "1")]
    drop = send(hub, *rows)
    assert drop.blocks_loaded == len(rows)
    again = send(hub, *[cut.again(wh=200) for cut in rows])
    assert (again.blocks_replacing, again.suspense) == (len(rows), 0)
    hub.sweep()
    got = sorted(found(hub, CHAMPION.id))
    assert got == sorted(cut.again(wh=200).read(CNP) for cut in rows)


@pytest.mark.parametrize("accounts", [("AB-1", "AB"), ("AB", "AB.1"), ("A", "A-", "A-B")])
def test_an_account_that_begins_like_another_is_a_range_of_its_own(
    hub: Hub, accounts: tuple[str, ...]
) -> None:
    send_sync(hub, dict.fromkeys(accounts, CHAMPION.duns))
    rows = [Cut(account=account, day=DAY) for account in accounts]
    assert send(hub, *rows).blocks_loaded == len(rows)
    for cut in rows:
        assert send(hub, cut.again(wh=7)).blocks_replacing == 1
    hub.sweep()
    assert sorted(found(hub, CHAMPION.id)) == sorted(cut.again(wh=7).read(CNP) for cut in rows)


def test_an_unknown_account_is_loaded_and_counted_as_suspense(hub: Hub) -> None:
    assert send(hub, *cuts(3)).suspense == 3  # no sync at all
    send_sync(hub, {"1044372" + f"{k:04}": CHAMPION.duns for k in (0, 1)})
    assert send(hub, *cuts(3, channel="1")).suspense == 1


def test_a_whole_file_under_a_temporary_name_waits_for_its_rename(hub: Hub) -> None:
    name = interval_name(hub)
    drop = hub.upload(CNP.id, "upload.tmp", GOOD)
    assert drop.stage is Stage.MISNAMED
    hub.on(minutes=9, seconds=59)
    hub.sweep()
    assert hub.drop(drop.id).stage is Stage.MISNAMED
    renamed = arrive.renamed(CNP.id, "upload.tmp", name, whole=True, stores=hub.stores, now=hub.now)
    assert (renamed.id, renamed.name, renamed.arrived_at) == (drop.id, name, hub.now)
    hub.sweep()
    word, receipt = final(hub, hub.drop(drop.id))
    assert (word, receipt["file"]) == ("accepted", name)
    assert receipt["received_at"] == "2013-09-03T10:09:59Z"


def test_a_name_is_free_again_when_its_file_was_taken_in(hub: Hub) -> None:
    name = interval_name(hub)
    drops = [hub.upload(CNP.id, name, lse([Cut(account="A", day=DAY, wh=wh)])) for wh in (1, 2, 3)]
    assert len({drop.id for drop in drops}) == 3
    assert [drop.outcome for drop in drops] == [Outcome.ACCEPTED] * 3
    for drop in drops:
        final(hub, drop)


def test_a_file_that_is_being_taken_in_can_be_neither_renamed_removed_nor_sent_over(hub: Hub) -> None:
    name = interval_name(hub)
    hub.arrive(CNP.id, name, GOOD)
    with pytest.raises(arrive.TakenError):
        arrive.renamed(CNP.id, name, "other.lse", whole=True, stores=hub.stores, now=hub.now)
    with pytest.raises(arrive.TakenError):
        arrive.removed(CNP.id, name, whole=True, stores=hub.stores, now=hub.now)
    with pytest.raises(arrive.TakenError):
        hub.arrive(CNP.id, name, b"other")
    assert hub.stores.mailboxes.whole(CNP.id, name).read_bytes() == GOOD
    hub.stores.mailboxes.part(CNP.id, name).unlink()


def test_an_upload_that_broke_off_can_be_resumed_renamed_and_removed(hub: Hub) -> None:
    name = interval_name(hub)
    part = hub.stores.mailboxes.part(CNP.id, name)
    part.write_bytes(GOOD[:100])
    drop = arrive.broken(CNP.id, name, size=100, stores=hub.stores, now=hub.now)
    hub.sweep()
    assert hub.drop(drop.id).stage is Stage.INCOMPLETE
    hub.on(hours=1)
    part.write_bytes(GOOD[:200])
    again = arrive.broken(CNP.id, name, size=200, stores=hub.stores, now=hub.now)
    assert (again.id, again.bytes, again.arrived_at) == (drop.id, 200, hub.now)
    whole = hub.upload(CNP.id, name, GOOD)
    assert (whole.id, whole.outcome) == (drop.id, Outcome.ACCEPTED)
    part.write_bytes(GOOD[:10])
    gone = arrive.broken(CNP.id, name, size=10, stores=hub.stores, now=hub.now)
    arrive.removed(CNP.id, name, whole=False, stores=hub.stores, now=hub.now)
    assert hub.drop(gone.id).stage is Stage.DISCARDED
    assert inbound(hub) == []


def test_a_partner_whose_file_is_gone_has_its_uploads_refused_by_words(hub: Hub) -> None:
    drop = hub.arrive(CNP.id, interval_name(hub), GOOD)
    hub.remove_partner(CNP.id)
    hub.schedule.wake(drop.id)
    word, receipt = final(hub, hub.drop(drop.id))
    assert (word, receipt["faults"][0]["code"]) == ("rejected", "sender")


def test_every_day_of_the_clock_change_loads_with_its_own_number_of_intervals(
    make_hub: Callable[..., Hub],
) -> None:
    for day, intervals in ((date(2013, 3, 10), 92), (date(2013, 11, 3), 100), (date(2013, 7, 1), 96)):
        hub = make_hub(now=morning(day))
        send_sync(hub, {"A": CHAMPION.duns})
        cut = Cut(account="A", day=day)
        assert cut.intervals(CNP) == intervals
        drop = send(hub, cut)
        assert (drop.intervals_loaded, drop.blocks_late) == (intervals, 0)
        hub.sweep()
        assert found(hub, CHAMPION.id) == [cut.read(CNP)]


def test_more_accounts_than_a_file_may_have_are_refused(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("[limits]\nmax_accounts_per_file = 3\n")
    assert send(hub, *cuts(3)).outcome == Outcome.ACCEPTED
    _, receipt = final(hub, send(hub, *cuts(4)))
    assert [fault["code"] for fault in receipt["faults"]] == ["too-many-accounts"]


def test_a_part_of_a_sync_is_receipted_like_a_bucket(hub: Hub) -> None:
    drop = send_sync(hub, {"A": CHAMPION.duns, "B": ""})
    word, receipt = final(hub, drop)
    assert (word, receipt["sync"], receipt["rows_loaded"]) == ("accepted", "S130903-cnp-1", 2)
    bad = sync_part([Row(account="A", ami="1"), Row(account="B", status="X")], as_of=date(2013, 9, 3))
    word, receipt = final(hub, hub.upload(CNP.id, sync_name(hub), bad))
    assert word == "rejected"
    assert [fault["code"] for fault in receipt["faults"]] == ["sync-ami", "sync-account-status"]


def test_a_file_that_vanished_before_it_was_taken_in_is_said_to_be_gone(hub: Hub) -> None:
    name = interval_name(hub)
    drop = hub.arrive(CNP.id, name, GOOD)
    hub.stores.mailboxes.whole(CNP.id, name).unlink()
    hub.sweep()
    assert hub.drop(drop.id).stage is Stage.DISCARDED
    (event,) = hub.events("drop.discarded")
    assert event["details"]["why"] == "gone from inbound/"


def test_ids_go_on_counting_after_99999_in_a_day(hub: Hub) -> None:
    from sqlalchemy import update

    from schemas import tables

    first = hub.arrive(CNP.id, interval_name(hub), GOOD)
    with hub.stores.ledger.write() as tx:
        tx.execute(update(tables.drop).where(tables.drop.c.id == first.id).values(id="D130903-99999"))
    ids = [hub.arrive(CNP.id, interval_name(hub), GOOD + b"\n" * k).id for k in (1, 2, 3)]
    assert ids == ["D130903-100000", "D130903-100001", "D130903-100002"]
