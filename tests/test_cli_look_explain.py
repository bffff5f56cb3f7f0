"""`meterhub explain`: the whole story of a drop, a file, a sync, a publication or an account."""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest

from hub_fixtures import Hub, morning
from jobs.steps import arrive
from jobs_fixtures import CHAMPION, Cut, lse, send, send_sync
from look_fixtures import DAY, Desk, Told, on_a_terminal, told_once
from schemas.receipt import manifest_name


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    yield from told_once(tmp_path_factory)


@pytest.fixture
def desk(told: Told, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(told.hub, capsys, monkeypatch)


def story(desk: Desk, *words: str) -> dict[str, Any]:
    """The one story that is told."""
    answer = desk.ask("explain", *words, "--json")
    assert answer.code == 0, answer.out
    (only,) = answer.json
    assert [one["at"] for one in only["timeline"]] == sorted(one["at"] for one in only["timeline"])
    return dict(only)


def events(told: dict[str, Any]) -> list[str]:
    return [one["event"] for one in told["timeline"]]


def test_a_drop_is_told_from_its_arrival_to_who_collected_it(desk: Desk, told: Told) -> None:
    said = story(desk, told.bucket.id)
    assert events(said) == [
        "drop.arrived",
        "drop.received",
        "drop.accepted",
        "drop.loaded",
        "outbound.laid_out",
        "outbound.laid_out",
        "outbound.collected",
        "outbound.withdrawn",
        "outbound.laid_out",
    ]
    assert said["sender"] == "cnp"
    assert said["blocks_loaded"] == 6
    assert {(row["egs"], row["blocks"], row["state"]) for row in said["went_to"]} == {
        ("champion", 2, "withdrawn"),
        ("bluebonnet", 1, "laid-out"),
        ("champion", 1, "laid-out"),  # what was in suspense, and went to champion with the sync that knew it
    }
    assert [(row["reason"], row["blocks"], bool(row["released_at"])) for row in said["held"]] == [
        ("suspense", 1, True),
        ("unclaimed", 1, False),
    ]
    assert [(row["first_versions"], row["versions"]) for row in said["lake_files"]] == [(6, "1 to 1")]
    assert [name.rpartition(f"{told.bucket.id}.")[2] for name in said["receipts"]] == [
        "received.json",
        "accepted.json",
    ]


def test_a_drop_is_told_to_people_as_a_timeline(desk: Desk, told: Told) -> None:
    said = desk.ask("explain", told.bucket.id).out
    assert said.startswith(
        f"{told.bucket.id} is {told.bucket.name}, which cnp sent: 6 blocks of it loaded, "
        "1 account unknown when it was loaded.\n"
    )
    assert "2013-09-03  (UTC)\n  10:00:00  ● a whole upload of an agreed name is in\n" in said
    assert "  10:05:00  ● 2 blocks of it laid before champion\n" in said
    assert "Where its blocks went" in said


def test_a_fault_is_told_by_line_column_found_and_wanted(desk: Desk, told: Told) -> None:
    (fault,) = story(desk, told.partial.id)["faults"]
    assert (fault["line"], fault["found"]) == (told.partial.faults[0].line, told.partial.faults[0].found)
    assert fault["column"]
    assert fault["wanted"]
    said = desk.ask("explain", told.partial.id).out
    assert "What is wrong with it" in said
    assert f"{told.partial.id}.faults.csv" in said


def test_what_a_duplicate_and_a_refused_drop_were_is_said_at_once(desk: Desk, told: Told) -> None:
    assert f"had come before, as {told.bucket.id}" in story(desk, told.twin.id)["summary"]
    assert "it was refused" in story(desk, told.refused.id)["summary"]


@pytest.mark.parametrize(
    "called",
    [
        lambda drop: drop.name,
        lambda drop: f"cnp/inbound/{drop.name}",
        lambda drop: f"{drop.name}.{drop.id}.received.json",
        lambda drop: f"{drop.name}.{drop.id}.faults.csv",
    ],
    ids=["name", "path", "receipt", "faults"],
)
def test_a_drop_is_found_by_its_file_and_its_receipts(
    desk: Desk, told: Told, called: Callable[[Any], str]
) -> None:
    assert story(desk, called(told.bucket))["subject"] == told.bucket.id


def test_a_name_that_was_sent_twice_has_two_stories(hub: Hub, capsys: Any, monkeypatch: Any) -> None:
    name = "957877905IntervalData20130903050000001.lse"
    first = hub.upload("cnp", name, b"nothing\n")
    hub.on(minutes=1)
    second = hub.upload("cnp", name, b"nothing either\n")
    found = Desk(hub, capsys, monkeypatch).ask("explain", name, "--json").json
    assert [one["subject"] for one in found] == [first.id, second.id]


def test_an_outbound_file_says_who_read_how_much_of_it_and_from_where(desk: Desk, told: Told) -> None:
    first = told.hub.files("bluebonnet")[0]
    (said,) = [one for one in desk.ask("explain", first.name, "--json").json if one["egs"] == "bluebonnet"]
    (reading,) = said["collections"]
    assert (reading["partner"], reading["address"], reading["whole"]) == ("bluebonnet", "203.0.113.9", False)
    assert reading["bytes"] == first.bytes // 2
    assert reading["of"] == first.bytes
    assert said["collected_at"] is None
    assert said["publication"] == first.publication_id
    assert said["sync"] == "S130903-cnp-1"
    assert said["manifest"] == manifest_name(first.name)
    assert (said["blocks"], said["estimated"], said["sequence"]) == (1, 96, 1)
    assert [(row["drop"], row["blocks"]) for row in said["came_from"]] == [(told.bucket.id, 1)]
    assert events(said) == ["publication.recorded", "publication.laid_out", "outbound.collected"]


def test_a_file_of_several_egss_is_told_for_each_and_a_withdrawn_one_by_which_sync(
    desk: Desk, told: Told
) -> None:
    first = told.hub.files("champion")[0]
    stories = desk.ask("explain", manifest_name(first.name), "--json").json
    assert [one["egs"] for one in stories] == ["bluebonnet", "champion"]
    champions = stories[1]
    assert (champions["state"], champions["withdrawn_by"]) == ("withdrawn", "S130904-cnp-1")
    assert "withdrawn by S130904-cnp-1 after it was collected" in champions["summary"]


def test_a_file_of_several_egss_begins_with_a_table_and_can_be_asked_for_of_one(
    desk: Desk, told: Told
) -> None:
    name = told.hub.files("champion")[0].name
    said = desk.ask("explain", name).out
    assert said.startswith("2 are called so; each is told of below\n")
    assert [line.split()[0] for line in said.splitlines()[4:6]] == ["bluebonnet", "champion"]
    assert story(desk, name, "--egs", "champion")["egs"] == "champion"
    assert "are called so" not in desk.ask("explain", name, "--egs", "champion").out
    answer = desk.ask("explain", name, "--egs", "keystone")
    assert (answer.code, f"no file called {name} was laid before keystone" in answer.err) == (1, True)


def test_an_upload_that_was_resumed_is_told_as_such(hub: Hub, capsys: Any, monkeypatch: Any) -> None:
    name = "957877905IntervalData20130903050000001.lse"
    part = hub.stores.mailboxes.part("cnp", name)
    part.write_bytes(b"0000")
    drop = arrive.broken("cnp", name, size=4, stores=hub.stores, now=hub.now)
    hub.on(minutes=1)
    arrive.resumed("cnp", name, whole=False, stores=hub.stores, now=hub.now)
    hub.on(minutes=1)
    arrive.broken("cnp", name, size=4, stores=hub.stores, now=hub.now)
    said = story(Desk(hub, capsys, monkeypatch), drop.id)
    assert events(said) == ["drop.incomplete"] * 3
    assert ["went on" in one["words"] for one in said["timeline"]] == [False, True, False]


def test_a_sync_is_told_with_its_parts_and_what_it_took_back(desk: Desk) -> None:
    said = story(desk, "S130904-cnp-1")
    assert said["state"] == "in-force"
    assert said["moved"] == 1
    assert [row["part"] for row in said["parts"]] == [1]
    assert [(row["egs"], row["sequence"]) for row in said["withdrawn"]] == [("champion", 1)]
    assert events(said)[-1] == "sync.enforced"
    assert events(story(desk, "S130903-cnp-1"))[-1] == "sync.superseded"


def test_a_publication_is_told_with_its_files(desk: Desk, told: Told) -> None:
    file = told.hub.files("champion")[0]
    said = story(desk, file.publication_id)
    assert [(row["egs"], row["blocks"]) for row in said["files"]] == [("bluebonnet", 1), ("champion", 2)]
    assert events(said) == ["publication.recorded", "publication.laid_out", "outbound.collected"]


def test_an_account_is_told_with_its_versions_and_who_was_given_which(desk: Desk, told: Told) -> None:
    said = story(desk, "1001")
    assert said["of_record"] == f"champion, DUNS {CHAMPION.duns}"
    assert (said["edc"], said["sync"], said["sync_as_of"]) == ("cnp", "S130904-cnp-1", "2013-09-04")
    assert [(row["meter"], row["account_status"], row["channels"]) for row in said["meters"]] == [
        ("M1001", "A", "4")
    ]
    versions = [
        (row["version"], row["current"], row["drop"], row["on_time"], row["kwh"], row["estimated"])
        for row in said["versions"]
    ]
    assert versions == [
        (1, False, told.bucket.id, True, 9.6, 0),
        (2, True, told.replacement.id, True, 14.4, 0),
    ]
    assert said["versions"][0]["received_at"] == "2013-09-03T10:00:00Z"
    assert [
        (row["version"], row["egs"], row["state"], bool(row["collected_at"])) for row in said["carried"]
    ] == [
        (1, "champion", "withdrawn", True),
        (2, "champion", "laid-out", False),
    ]


def test_a_version_names_the_line_of_the_file_on_which_its_block_begins(desk: Desk, told: Told) -> None:
    (version,) = story(desk, "1003")["versions"]
    content = told.hub.stores.archive.read(told.bucket.sha256).decode().splitlines()
    assert (version["file"], version["line"]) == (told.bucket.name, 11)
    assert content[version["line"] - 1].startswith("00000001,1003,4,20130902")
    assert (version["intervals"], version["estimated"], version["kwh"]) == (96, 96, 28.8)


def test_a_day_is_held_to_the_archived_bytes(desk: Desk, told: Told) -> None:
    first, second = story(desk, "1001", "--day", str(DAY))["versions"]
    assert (first["archive"], first["archived_kwh"]) == ("agrees", 9.6)
    assert first["archived_row"] == "00000001,1001,4,20130902000000,20130902235959,Y,N"
    assert (second["archive"], second["archived_kwh"]) == ("agrees", 14.4)
    assert desk.ask("explain", "1001", "--day", "2013-09-01").out.count("came") == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace(b"0.100,A", b"0.101,A", 1), "other bytes than came"),
        (None, "lost"),
    ],
    ids=["changed", "lost"],
)
def test_archived_bytes_that_are_not_those_that_came_prove_nothing(
    hub: Hub, capsys: Any, monkeypatch: Any, change: Callable[[bytes], bytes] | None, said: str
) -> None:
    drop = send(hub, Cut(account="7", day=DAY))
    path = hub.stores.archive.path(drop.sha256)
    assert path is not None
    content = hub.stores.archive.read(drop.sha256)
    path.unlink()
    if change is not None:
        path.with_suffix("").write_bytes(change(content))
    (version,) = story(Desk(hub, capsys, monkeypatch), "7", "--day", str(DAY))["versions"]
    assert version["archive"].startswith(said)
    assert (version["archived_row"], version["archived_kwh"]) == (None, None)


def test_a_lake_file_that_says_other_than_the_archive_is_told(
    hub: Hub, capsys: Any, monkeypatch: Any
) -> None:
    send(hub, Cut(account="7", day=DAY))
    (path,) = hub.stores.lake.root.glob("usage/*/*.parquet")
    rows = pq.ParquetFile(path).read()
    place = rows.schema.get_field_index("wh_total")
    path.chmod(0o644)
    pq.write_table(rows.set_column(place, rows.schema.field(place), [[9_601]]), path)
    (version,) = story(Desk(hub, capsys, monkeypatch), "7", "--day", str(DAY))["versions"]
    assert (version["archive"], version["archived_kwh"]) == ("another wh_total than in the lake", 9.6)


def test_who_was_of_record_is_told_with_the_sync_that_said_so(desk: Desk) -> None:
    def told(account: str) -> list[tuple[str, ...]]:
        rows = story(desk, account, "--edc", "cnp")["of_record_since"]
        return [(row["words"].partition(",")[0], row["since"], row["until"], row["sync"]) for row in rows]

    until = "2013-09-04T06:35:00Z"
    assert told("1002") == [
        ("champion", "2013-09-03T10:00:00Z", until, "S130903-cnp-1"),
        ("bluebonnet", until, None, "S130904-cnp-1"),
    ]
    assert [row[0] for row in told("1005")] == [
        "nobody: the sync in force does not name the account (suspense)",
        "champion",
    ]
    (one,) = story(desk, "1001")["of_record_since"]
    assert (one["syncs"], one["last_sync"], one["egs_start"]) == (2, "S130904-cnp-1", "2013-01-15")


def test_a_supplier_that_starts_later_is_of_record_from_its_local_midnight(
    hub: Hub, capsys: Any, monkeypatch: Any
) -> None:
    send_sync(hub, {"7": (CHAMPION.duns, date(2013, 9, 5))})
    send(hub, Cut(account="7", day=DAY))
    desk = Desk(hub, capsys, monkeypatch)
    assert [row["words"][:10] for row in story(desk, "7")["of_record_since"]] == ["nobody yet"]
    hub.on(days=3)
    rows = story(desk, "7")["of_record_since"]
    assert [(row["egs"], row["since"]) for row in rows] == [
        (None, "2013-09-03T10:00:00Z"),
        ("champion", "2013-09-05T05:00:00Z"),
    ]


def test_who_fetched_what_carried_an_account_is_told_with_key_address_and_bytes(
    desk: Desk, told: Told
) -> None:
    file = told.hub.files("champion")[0]
    first, _ = story(desk, "1001")["carried"]
    (reading,) = first["collections"]
    assert (first["publication"], first["sync"], first["withdrawn_by"]) == (
        file.publication_id,
        "S130903-cnp-1",
        "S130904-cnp-1",
    )
    assert (reading["key_fingerprint"], reading["address"]) == ("SHA256:abc", "203.0.113.9")
    assert (reading["bytes"], reading["of"], reading["whole"]) == (file.bytes, file.bytes, True)
    broken = [one for one in story(desk, "1003")["timeline"] if one["event"] == "outbound.collected"]
    assert [(one["words"][:20], one["whole"]) for one in broken] == [("bluebonnet broke off", False)]


def test_as_known_at_an_instant_an_account_is_told_as_it_was_then(desk: Desk) -> None:
    said = story(desk, "1002", "--as-known-at", "2013-09-03T10:10Z")
    assert said["of_record"] == f"champion, DUNS {CHAMPION.duns}"
    assert [row["state"] for row in said["carried"]] == ["laid-out"]
    assert [row["until"] for row in said["of_record_since"]] == [None]


def test_as_known_at_an_instant_a_drop_that_was_under_way_is_told_as_far_as_it_was(
    hub: Hub, capsys: Any, monkeypatch: Any
) -> None:
    drop = hub.arrive("cnp", "957877905IntervalData20130903050000001.lse", lse([Cut(account="7", day=DAY)]))
    hub.on(minutes=1)
    then = hub.now.isoformat()
    hub.on(minutes=1)
    hub.sweep()
    desk = Desk(hub, capsys, monkeypatch)
    assert (story(desk, drop.id)["stage"], story(desk, "7")["versions"][0]["drop"]) == ("loaded", drop.id)
    was = story(desk, drop.id, "--as-known-at", then)
    assert (was["stage"], was["outcome"], events(was)) == ("arrived", None, ["drop.arrived"])
    assert desk.ask("explain", "7", "--as-known-at", then).code == 1


@pytest.mark.parametrize(
    "words",
    [
        ("1005", "--day", "2013-09-02"),
        ("D130903-00002",),
        ("957877905IntervalData20130903050500001.lse.gz",),
    ],
    ids=lambda words: words[0],
)
def test_every_story_fits_80_columns(told: Told, words: tuple[str, ...]) -> None:
    lines = on_a_terminal(told.hub, "explain", *words)
    assert any(line.startswith("  10:05:0") for line in lines)
    assert [line for line in lines if len(line) > 80] == []


def test_every_field_of_the_json_is_in_the_help(desk: Desk, told: Told) -> None:
    said = desk.ask("explain", "--help").out
    stories = [story(desk, "1001", "--day", str(DAY)), story(desk, "1005"), story(desk, told.bucket.id)]
    stories += desk.ask("explain", "champion", "--day", str(DAY), "--json").json
    line = desk.ask("explain", "champion", "--day", str(DAY), "--list", "--json", "--limit", "1").json
    rows = [
        one
        for told_of in stories
        for key in ("of_record_since", "versions", "carried", "held", "reasons")
        for one in told_of.get(key, [])
    ]
    rows += [one for row in rows for one in row.get("collections", [])]
    named = {name for row in (*rows, line) for name in row}
    assert len(named) > 40
    assert sorted(name for name in named if not re.search(rf"\b{name}\b", said)) == []


@pytest.mark.parametrize(
    ("account", "record", "reasons"),
    [
        ("1004", "an EGS that is no partner (unclaimed), DUNS 999888777", [("unclaimed", None)]),
        ("1005", f"champion, DUNS {CHAMPION.duns}", [("suspense", "P")]),
        ("1006", "nobody: default service", []),
        ("1009", "nobody: the sync in force does not name the account (suspense)", [("suspense", None)]),
    ],
)
def test_an_account_says_what_is_held_of_it_and_why(
    desk: Desk, account: str, record: str, reasons: list[tuple[str, str | None]]
) -> None:
    said = story(desk, account, "--edc", "cnp")
    assert said["of_record"] == record
    held = [(row["reason"], row["release"] and row["release"][0]) for row in said.get("held", [])]
    assert held == reasons


def test_a_late_block_is_told_as_late(desk: Desk, told: Told) -> None:
    (version,) = story(desk, "1007")["versions"]
    assert (version["drop"], version["on_time"]) == (told.late.id, False)


def test_an_affirmation_is_told_with_its_stamp(hub: Hub, capsys: Any, monkeypatch: Any) -> None:
    cut = Cut(account="7", day=DAY, stamp="20130903040000")
    send(hub, cut)
    send(hub, cut.again(stamp="20130903060000"))
    send(hub, cut.again(wh=3, stamp="20130903050000"))
    rows = story(Desk(hub, capsys, monkeypatch), "7")["versions"]
    assert [(row["current"], row["affirmed"]) for row in rows] == [(True, ["20130903060000"]), (False, [])]


def test_of_an_account_as_many_days_are_told_as_are_asked_for(
    make_hub: Callable[..., Hub], capsys: Any, monkeypatch: Any
) -> None:
    hub = make_hub(now=morning(date(2013, 9, 9)))
    send_sync(hub, {"7": CHAMPION.duns})
    for k in range(4):
        send(hub, Cut(account="7", day=DAY + timedelta(days=k)))
    hub.sweep()
    desk = Desk(hub, capsys, monkeypatch)
    said = story(desk, "7", "--days", "2")
    assert [row["usage_date"] for row in said["versions"]] == ["2013-09-04", "2013-09-05"]
    assert said["days_older"] == 2
    assert "2 older usage days are not told of" in desk.ask("explain", "7", "--days", "2").out
    assert len(story(desk, "7", "--days", "0")["versions"]) == 4


def test_without_a_sync_an_account_is_nobodys(hub: Hub, capsys: Any, monkeypatch: Any) -> None:
    send(hub, Cut(account="7", day=DAY))
    hub.sweep()
    assert story(Desk(hub, capsys, monkeypatch), "7")["of_record"] == "nobody: no sync is in force"


@pytest.mark.parametrize(
    ("called", "meant"),
    [
        ("1010", "1001"),
        ("D130903-00009", "D130903-00006"),
        ("957877905IntervalData20130903050500809.lse", "957877905IntervalData20130903050500801.lse"),
        ("S130905-cnp-1", "S130904-cnp-1"),
    ],
)
def test_what_is_unknown_is_said_with_what_is_like_it_and_exit_code_1(
    desk: Desk, called: str, meant: str
) -> None:
    answer = desk.ask("explain", called)
    assert (answer.code, answer.out) == (1, "")
    assert f"no drop, file, sync, publication or account of cnp, ppl is called {called}" in answer.err
    assert meant in answer.err


def test_what_is_like_nothing_is_told_where_to_look(desk: Desk) -> None:
    assert "see what there is with: meterhub drops" in desk.ask("explain", "zz").err


def test_only_what_concerns_the_edc_that_is_named_is_told(desk: Desk, told: Told) -> None:
    assert desk.ask("explain", told.bucket.id, "--edc", "ppl").code == 1
    assert desk.ask("explain", "1001", "--edc", "ppl").code == 1


def test_a_day_of_which_an_account_has_no_reading_is_said_so(desk: Desk) -> None:
    (story,) = desk.ask("explain", "1001", "--edc", "cnp", "--day", "2013-08-30", "--json").json
    assert story["summary"] == (
        "1001 is an account of cnp; of record for it is champion, DUNS 799530915. "
        "Of 2013-08-30 no reading of it is loaded."
    )
