"""The sample night: what it makes is what distribution companies send, of any size, and always the same."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from isal import igzip

from exchange.cli.main import main
from schemas import file_name, interval_file, packing, sample, sample_faults, sync_file, sync_whole
from schemas.fault import Fault
from schemas.fault_codes import OF_BLOCKS
from schemas.sample import Edc, Night, SampleFile

CNP, PPL = sample.EDCS
NIGHT = Night(day=date(2013, 9, 1), accounts=500, bucket=300, net_metered=0.1, estimated=0.2)
ORDINARY, SPRING, AUTUMN = date(2013, 9, 1), date(2013, 3, 10), date(2013, 11, 3)


def blocks_of(file: SampleFile, edc: Edc) -> interval_file.Parsed:
    name = file_name.parse(file.name)
    assert isinstance(name, file_name.FileName)
    text = packing.unpack(file.content, limit=1 << 30) if name.gzipped else file.content
    assert not isinstance(text, Fault)
    return interval_file.parse(
        text,
        stamp=name.stamp,
        zone=edc.zone,
        channels=frozenset("41"),
        max_accounts=50_000,
        latest=date(2013, 12, 31),
    )


def sync_of(files: list[SampleFile], edc: Edc) -> pa.Table:
    parts = [sync_file.parse(one.content, duns=edc.duns, today=date(2013, 9, 3)) for one in files]
    tables = []
    for number, part in enumerate(parts, 1):
        assert isinstance(part, sync_file.Part)
        assert (part.part, part.parts) == (number, len(files))
        tables.append(part.rows)
    whole = sync_whole.assemble(dict(enumerate(tables, 1)))
    assert isinstance(whole, pa.Table)
    return whole


@pytest.mark.parametrize("edc", [CNP, PPL], ids=lambda edc: edc.id)
@pytest.mark.parametrize(("day", "intervals"), [(ORDINARY, 96), (SPRING, 92), (AUTUMN, 100)])
def test_a_bucket_reads_as_it_was_made_on_any_day_of_either_zone(edc: Edc, day: date, intervals: int) -> None:
    file = NIGHT.bucket_of(edc, 1, day=day)
    parsed = blocks_of(file, edc)
    assert parsed.faults == ()
    assert parsed.blocks.to_pylist() == NIGHT.blocks(edc, 300, 500, day=day).to_pylist()
    assert set(pc.list_value_length(parsed.blocks["wh"]).to_pylist()) == {intervals}
    assert (file.accounts, file.blocks) == (200, len(parsed.blocks))
    assert file.intervals == intervals * file.blocks


def test_the_buckets_hold_each_account_of_the_sync_with_the_channels_it_names() -> None:
    files = list(NIGHT.buckets())
    syncs = list(NIGHT.syncs())
    assert [one.edc for one in files] == ["cnp", "cnp", "ppl", "ppl"]
    for edc in NIGHT.edcs:
        tables = [blocks_of(one, edc).blocks for one in files if one.edc == edc.id]
        sent = pa.concat_tables(tables).select(["account", "channel"]).to_pylist()
        roster = sync_of([one for one in syncs if one.edc == edc.id], edc)
        due = [
            {"account": row["account"], "channel": channel}
            for row in roster.to_pylist()
            for channel in row["channels"].split(";")
        ]
        assert sent == due


def test_accounts_look_as_those_of_their_company_do() -> None:
    for edc, length, begin in ((CNP, 22, "1008901"), (PPL, 10, "")):
        accounts = NIGHT.people(edc).accounts.to_pylist()
        assert accounts == sorted(set(accounts))
        assert {len(one) for one in accounts} == {length}
        assert all(one.startswith(begin) for one in accounts)


def test_the_same_recipe_makes_the_same_bytes_and_another_seed_makes_others() -> None:
    again = replace(NIGHT)
    other = replace(NIGHT, seed=2)
    for make in (Night.syncs, Night.buckets):
        first = list(make(NIGHT))
        assert list(make(again)) == first
        assert all(one.content != two.content for one, two in zip(first, make(other), strict=True))


def test_shares_are_as_asked_for() -> None:
    night = Night(day=ORDINARY, accounts=20_000, estimated=0.1, net_metered=0.2, default_service=0.3)
    blocks = night.blocks(CNP, 0, 20_000, day=ORDINARY)
    roster = night.roster(CNP)
    assert pc.mean(pc.greater(blocks["estimated"], 0)).as_py() == pytest.approx(0.1, abs=0.01)
    assert len(blocks) / 20_000 == pytest.approx(1.2, abs=0.01)
    assert pc.mean(pc.equal(roster["egs_duns"], "")).as_py() == pytest.approx(0.3, abs=0.01)
    plain = replace(night, estimated=0, net_metered=0, default_service=0)
    assert set(plain.blocks(CNP, 0, 20_000, day=ORDINARY)["estimated"].to_pylist()) == {0}
    assert set(plain.roster(CNP)["channels"].to_pylist()) == {"4"}
    assert set(plain.roster(CNP)["egs_duns"].to_pylist()) == {egs.duns for egs in sample.EGSS}


def test_nothing_is_fed_in_by_night_and_nobody_uses_and_feeds_in_at_once() -> None:
    blocks = NIGHT.blocks(CNP, 0, 300, day=ORDINARY)
    wh = blocks["wh"].combine_chunks().values.to_numpy().reshape(len(blocks), 96)
    fed_in = np.array(blocks["channel"].cast(pa.string()).to_pylist()) == "1"
    assert fed_in.any()
    assert wh[fed_in][:, :24].max() == 0
    assert wh[fed_in][:, 48:56].min(axis=1).max() > 0
    assert (np.minimum(wh[fed_in], wh[np.flatnonzero(fed_in) - 1]) == 0).all()


def test_a_replacement_has_whole_days_again_with_a_later_stamp_and_other_values() -> None:
    first = {
        (row["account"], row["channel"]): row for row in NIGHT.blocks(CNP, 0, 300, day=ORDINARY).to_pylist()
    }
    file = NIGHT.replacement(CNP, accounts=40)
    rows = blocks_of(file, CNP).blocks.to_pylist()
    assert len({row["account"] for row in rows}) == file.accounts == 40
    for row in rows:
        old = first[row["account"], row["channel"]]
        assert row["stamp"] > old["stamp"]
        assert row["wh"] != old["wh"]
        assert row["estimated"] == 0
    third = NIGHT.replacement(CNP, accounts=40, cut=2)
    assert third.name > file.name
    assert blocks_of(third, CNP).blocks["stamp"][0].as_py() > rows[0]["stamp"]


def test_a_switch_moves_so_many_accounts_and_changes_nothing_else() -> None:
    before = {row["account"]: row for row in sync_of(list(NIGHT.sync(CNP)), CNP).to_pylist()}
    after = sync_of(list(NIGHT.switch(CNP, accounts=25)), CNP).to_pylist()
    assert len(after) == len(before)
    moved = [row for row in after if row != before[row["account"]]]
    assert len(moved) == 25
    for row in moved:
        old = before[row["account"]]
        assert row["egs_duns"] not in {"", old["egs_duns"]}
        assert row["egs_start"] == date(2013, 9, 3)
        kept = {"egs_duns": old["egs_duns"], "egs_name": old["egs_name"], "egs_start": old["egs_start"]}
        assert {**row, **kept} == old


def test_strangers_are_in_the_extra_bucket_and_only_the_next_sync_names_them() -> None:
    night = replace(NIGHT, extra=10, strangers=4)
    sent = set(blocks_of(night.extra_bucket(CNP), CNP).blocks["account"].to_pylist())
    first = set(sync_of(list(night.sync(CNP)), CNP)["account"].to_pylist())
    second = set(sync_of(list(night.switch(CNP, accounts=0)), CNP)["account"].to_pylist())
    assert len(sent) == 14
    assert len(sent - first) == 4
    assert sent <= second


def test_a_sync_of_many_rows_is_cut_in_parts() -> None:
    files = list(replace(NIGHT, accounts=120_000).sync(CNP))
    assert [one.accounts for one in files] == [50_000, 50_000, 20_000]
    assert len(sync_of(files, CNP)) == 120_000


@pytest.mark.parametrize("edc", [CNP, PPL], ids=lambda edc: edc.id)
def test_the_bad_bucket_shows_each_fault_of_a_block_and_the_rest_of_it_loads(edc: Edc) -> None:
    night = replace(NIGHT, extra=3_000, strangers=2)
    file = sample_faults.bad_bucket(night, edc)
    parsed = blocks_of(file, edc)
    codes = [fault.code for fault in parsed.faults]
    assert tuple(dict.fromkeys(codes)) == file.faults
    assert set(file.faults) == set(OF_BLOCKS) - {"late"}  # which is no fault of the content
    assert not parsed.refused
    assert len(parsed.blocks) + parsed.rejected == file.blocks + 1  # one stands there twice
    assert parsed.rejected < 0.01 * file.blocks


@pytest.mark.parametrize("edc", [CNP, PPL], ids=lambda edc: edc.id)
def test_of_a_broken_file_nothing_is_taken(edc: Edc) -> None:
    said: list[str] = []
    for file in sample_faults.broken(replace(NIGHT, gzipped=True), edc):
        name = file_name.parse(file.name)
        assert isinstance(name, file_name.FileName)
        said += file.faults
        if file.faults == ("sender",):
            assert name.duns != edc.duns
        elif name.gzipped:
            packed = packing.unpack(file.content, limit=1 << 30)
            assert isinstance(packed, Fault)
            assert packed.code in file.faults
        elif name.kind is file_name.Kind.SYNC:
            faults = sync_file.parse(file.content, duns=edc.duns, today=date(2013, 9, 3))
            assert isinstance(faults, tuple)
            assert set(file.faults) <= {one.code for one in faults}
        else:
            parsed = blocks_of(file, edc)
            assert parsed.refused
            assert set(file.faults) <= {one.code for one in parsed.faults}
    assert len(said) == len(set(said)) == 8


def test_a_bad_bucket_needs_an_account_for_each_fault() -> None:
    with pytest.raises(ValueError, match="10 extra accounts: wanted more than"):
        sample_faults.bad_bucket(replace(NIGHT, extra=10), CNP)


def test_a_thousandth_file_has_a_name_of_its_own() -> None:
    night = Night(day=ORDINARY, accounts=1_001, bucket=1, edcs=(CNP,))
    names = [night.bucket_of(CNP, number).name for number in (0, 998, 999, 1_000)]
    assert [name[21:] for name in names] == [
        "20130902041530001.lse",
        "20130902041530999.lse",
        "20130902041630001.lse",
        "20130902041630002.lse",
    ]


def test_a_bucket_has_fifty_thousand_accounts() -> None:
    file = Night(day=ORDINARY, accounts=50_000).bucket_of(CNP, 0)
    assert len(file.content) > 50_000_000
    assert file.accounts == 50_000


def _made(out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert main(["sample-night", str(out), "--json", "--accounts", "200", *options]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_the_command_writes_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [
        "--day",
        "2013-09-01",
        "--days",
        "2",
        "--bucket",
        "100",
        "--replacements",
        "5",
        "--switches",
        "3",
    ]
    answer = _made(tmp_path / "out", capsys, *asked, "--faults", "--gzip", "--strangers", "2")
    on_disk = {str(path): path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {one["path"]: one["bytes"] for one in answer["files"]} == on_disk
    assert len(on_disk) == len(answer["files"])
    assert answer["days"] == ["2013-09-01", "2013-09-02"]
    assert answer["totals"]["bytes"] == sum(on_disk.values())
    assert {Path(path).parent.name for path in on_disk} == {"cnp", "ppl"}
    night = Night(day=ORDINARY, accounts=200, bucket=100, extra=3_000, strangers=2, gzipped=True)
    first = next(night.buckets())
    assert (tmp_path / "out" / "cnp" / first.name).read_bytes() == first.content
    assert igzip.decompress(first.content).startswith(b"00000001,1008901")


def test_the_command_makes_a_night_of_the_home_s_partners(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "hub"
    assert main(["--home", str(home), "init", "--json"]) == 0
    for line in (
        [
            "oncor",
            "--role",
            "edc",
            "--name",
            "Oncor",
            "--duns",
            "1039940674000",
            "--time-zone",
            "America/Chicago",
        ],
        ["volt", "--role", "egs", "--name", "Volt", "--duns", "111111111"],
    ):
        assert main(["--home", str(home), "partner", "add", *line]) == 0
    capsys.readouterr()
    answer = _made(tmp_path / "out", capsys, "--home", str(home), "--day", "2013-09-01")
    assert [one["edc"] for one in answer["files"]] == ["oncor", "oncor"]
    sync = (tmp_path / "out" / "oncor" / answer["files"][0]["name"]).read_bytes()
    part = sync_file.parse(sync, duns="1039940674000", today=date(2013, 9, 2))
    assert isinstance(part, sync_file.Part)
    assert set(part.rows["egs_duns"].to_pylist()) == {"111111111", ""}
    assert set(pc.utf8_length(part.rows["account"]).to_pylist()) == {17}


def test_the_command_refuses_an_edc_that_nobody_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sample-night", "out", "--edc", "tnmp"]) == 1
    assert "no EDC is called tnmp" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_says_in_a_table_what_each_file_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sample-night", "out", "--accounts", "20", "--edc", "ppl", "--day", "2013-09-01"]) == 0
    said = capsys.readouterr().out
    assert "007909427ACIntervalData20130902041530001.lse" in said
    assert "usage of 2013-09-01" in said
    assert "2 files" in said


@pytest.mark.parametrize(
    ("options", "day"),
    [
        ([], "2013-09-02"),
        (["--switches", "3"], "2013-09-01"),
        (["--strangers", "3", "--faults"], "2013-09-01"),
        (["--days", "4"], "2013-08-30"),
        (["--days", "4", "--switches", "3"], "2013-08-30"),
    ],
)
def test_by_default_nothing_is_of_a_day_to_come_for_any_edc(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    day: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    # still the 3rd in Chicago and the 4th already in New York
    monkeypatch.setenv("METERHUB_NOW", "2013-09-04T04:30:00Z")
    answer = _made(tmp_path / "out", capsys, *options)
    assert answer["days"][0] == day
    today = {CNP.id: date(2013, 9, 3), PPL.id: date(2013, 9, 4)}
    for one in answer["files"]:
        name = file_name.parse(one["name"])
        if isinstance(name, file_name.FileName) and name.kind is file_name.Kind.SYNC and not one["faults"]:
            edc = {CNP.id: CNP, PPL.id: PPL}[one["edc"]]
            content = Path(one["path"]).read_bytes()
            assert isinstance(sync_file.parse(content, duns=edc.duns, today=today[edc.id]), sync_file.Part)
    assert max(answer["days"]) < "2013-09-03"


def test_what_is_left_of_another_night_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["--edc", "ppl", "--day"]
    first = _made(tmp_path / "out", capsys, *asked, "2013-09-01")
    assert _made(tmp_path / "out", capsys, *asked, "2013-09-01")["others"] == []
    second = _made(tmp_path / "out", capsys, *asked, "2013-09-02")
    assert second["others"] == sorted(one["path"] for one in first["files"])
    assert main(["sample-night", "out", "--accounts", "200", *asked, "2013-09-02"]) == 0
    assert "2 files that are not of this night were there and still are" in capsys.readouterr().err
