"""`meterhub submit` and `meterhub check`: what an operator brings in, and what a partner tries beforehand."""

import hashlib
import json
import os
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from isal import igzip

from cli_do_fixtures import BIN, SECONDS, Operator
from conftest import DAY
from hub_fixtures import CNP, PPL, Hub, morning, small_night
from schemas.sample import SampleFile
from schemas.sample_faults import broken

NOW = morning(DAY)
NIGHT = small_night(DAY)


@pytest.fixture
def operator(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(capsys, monkeypatch)


def written(folder: Path, *files: SampleFile) -> list[str]:
    for file in files:
        (folder / file.name).write_bytes(file.content)
    return [str(folder / file.name) for file in files]


def spoilt(file: SampleFile, *, blocks: int) -> SampleFile:
    """The same with a value below zero in so many blocks."""
    rows = file.content.decode().split("\n")
    data = [number for number, row in enumerate(rows) if row.startswith("10000000,")]
    for number in data[:blocks]:
        rows[number] = "10000000,-" + rows[number].removeprefix("10000000,")
    return SampleFile(name=file.name, content="\n".join(rows).encode(), edc=file.edc, says="spoilt")


def tree(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


# ── submit ───────────────────────────────────────────────────────────────────────────────────────


def test_submitted_files_are_taken_in_as_uploads_and_their_receipts_shown(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    files = [*NIGHT.sync(CNP), NIGHT.bucket_of(CNP, 0)]
    receipts = operator.asks(hub.home.root, NOW, "submit", "--edc", "cnp", *written(tmp_path, *files))
    assert [receipt["outcome"] for receipt in receipts] == ["accepted", "accepted"]
    sync, bucket = receipts
    assert sync["sync"] == "S130903-cnp-1"
    assert bucket["blocks_loaded"] == files[1].blocks
    for receipt in receipts:
        assert receipt == hub.receipt(hub.drop(receipt["drop"]))
        assert receipt["received_at"].startswith("2013-09-03T10:00:00")
    assert all((tmp_path / file.name).read_bytes() == file.content for file in files)
    assert list((hub.home.sftp_root / "cnp" / "inbound").iterdir()) == []


def test_the_same_bytes_again_are_a_duplicate_and_no_reason_to_worry(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    first = NIGHT.bucket_of(CNP, 0)
    hub.send(first)
    again = SampleFile(
        name=first.name.replace("001.lse", "009.lse"), content=first.content, edc="cnp", says=""
    )
    said = operator.reads(hub.home.root, NOW, "submit", "--edc", "cnp", *written(tmp_path, again))
    assert "duplicate" in said
    assert f"{again.name}: the same bytes came as D130903-00001" in said


def test_what_is_refused_is_told_with_line_and_column_and_exit_code_1(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    partial = spoilt(NIGHT.bucket_of(CNP, 0), blocks=1)
    hopeless = spoilt(NIGHT.bucket_of(CNP, 1), blocks=10)
    paths = written(tmp_path, partial, hopeless)
    said = operator.reads(hub.home.root, NOW, "submit", "--edc", "cnp", *paths, code=1)
    assert "partial" in said
    assert "rejected" in said
    assert f"{partial.name}: line 5, column 10: " in said
    assert "faults more, in " in said
    assert (
        operator.asks(hub.home.root, NOW, "submit", "--edc", "cnp", paths[0], code=0)[0]["outcome"]
        == "duplicate"
    )


def test_one_name_that_is_not_of_the_agreed_form_keeps_all_from_being_taken(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    good = NIGHT.bucket_of(CNP, 0)
    bad = SampleFile(name="readings.txt", content=b"x", edc="cnp", says="")
    paths = written(tmp_path, good, bad)
    error = operator.asks(hub.home.root, NOW, "submit", "--edc", "cnp", *paths, code=1)["error"]
    assert error["code"] == "not-taken"
    assert "readings.txt" in error["message"]
    assert hub.events("drop.arrived") == []


def checksum(file: SampleFile, *, of: bytes | None = None) -> SampleFile:
    said = hashlib.sha256(file.content if of is None else of).hexdigest()
    return SampleFile(
        name=f"{file.name}.sha256", content=f"{said}  {file.name}\n".encode(), edc=file.edc, says=""
    )


def test_checksums_come_before_the_files_that_are_held_to_them_in_whatever_order_they_are_named(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    good, bad = NIGHT.bucket_of(CNP, 0), NIGHT.bucket_of(CNP, 1)
    submit = (hub.home.root, NOW, "submit", "--edc", "cnp")
    answer = operator.asks(*submit, *written(tmp_path, good, checksum(good)))
    assert [one["file"] for one in answer] == [good.name, checksum(good).name]
    assert [one["outcome"] for one in answer] == ["accepted", "agrees"]
    answer = operator.asks(*submit, *written(tmp_path, bad, checksum(bad, of=b"another")), code=1)
    assert [one["outcome"] for one in answer] == ["rejected", "differs"]
    assert [fault["code"] for fault in answer[0]["faults"]] == ["checksum"]
    inbound = hub.home.sftp_root / "cnp" / "inbound"
    assert [path.name for path in inbound.iterdir()] == [checksum(bad).name]  # waits to be put right


def test_a_checksum_of_a_file_that_is_loaded_is_held_to_it_and_one_without_a_file_waits(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    loaded, to_come = NIGHT.bucket_of(CNP, 0), NIGHT.bucket_of(CNP, 1)
    hub.send(loaded)
    paths = written(tmp_path, checksum(to_come), checksum(loaded))
    answer = operator.asks(hub.home.root, NOW, "submit", "--edc", "cnp", *paths)
    assert [one["outcome"] for one in answer] == ["waits", "agrees"]
    assert "no file of its name has come yet" in answer[0]["why"]
    (late,) = (hub.home.sftp_root / "cnp" / "receipts").glob("*sha256-came-late.json")
    assert loaded.name in late.name


def test_a_name_whose_upload_broke_off_is_left_to_its_sender(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    file = NIGHT.bucket_of(CNP, 0)
    part = hub.stores.mailboxes.part("cnp", file.name)
    part.write_bytes(b"half")
    (answer,) = operator.asks(hub.home.root, NOW, "submit", "--edc", "cnp", *written(tmp_path, file), code=1)
    assert answer["outcome"] == "not taken"
    assert "waits to be resumed" in answer["why"]
    assert part.read_bytes() == b"half"
    assert [path.name for path in part.parent.iterdir()] == [part.name]


def test_a_name_that_the_hub_is_taking_in_is_not_taken_from_under_it(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    file = NIGHT.bucket_of(CNP, 0)
    drop = hub.arrive("cnp", file.name, file.content)
    (answer,) = operator.asks(hub.home.root, NOW, "submit", "--edc", "cnp", *written(tmp_path, file), code=1)
    assert answer == {
        "file": file.name,
        "outcome": "not taken",
        "why": f"{file.name} is still being taken in; wait for its receipt",
    }
    hub.sweep()
    assert hub.receipt(hub.drop(drop.id))["outcome"] == "accepted"


def test_nobody_who_is_no_edc_can_be_submitted_for(hub: Hub, operator: Operator, tmp_path: Path) -> None:
    (path,) = written(tmp_path, NIGHT.bucket_of(CNP, 0))
    error = operator.asks(hub.home.root, NOW, "submit", "--edc", "champion", path, code=1)["error"]
    assert error == {
        "code": "no-such-edc",
        "message": "no EDC is called champion",
        "hint": "there are: cnp, ppl",
    }
    assert "is cnp meant?" in operator.reads(hub.home.root, NOW, "submit", "--edc", "cpn", path, code=1)


def test_many_files_are_loaded_by_several_processes_each_once(hub: Hub, tmp_path: Path) -> None:
    days = [DAY - timedelta(days=k) for k in range(3)]
    files = [*NIGHT.sync(CNP), *(NIGHT.bucket_of(CNP, n, day=day) for day in days for n in (0, 1))]
    asked = [BIN, "--home", hub.home.root, "submit", "--json", "--edc", "cnp", *written(tmp_path, *files)]
    done = subprocess.run(
        asked,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
        env={**os.environ, "METERHUB_NOW": NOW.isoformat()},
    )
    receipts = json.loads(done.stdout)
    assert [receipt["file"] for receipt in receipts] == [file.name for file in files]
    assert sum(receipt["blocks_loaded"] for receipt in receipts) == sum(file.blocks for file in files)
    assert len(hub.events("drop.loaded")) == len(files)
    late = {receipt["usage_days"][0]: receipt["blocks_late"] for receipt in receipts[1:]}
    assert late[str(days[0])] == 0
    assert late[str(days[2])] > 0  # its deadline was the evening before


# ── check ────────────────────────────────────────────────────────────────────────────────────────


def test_a_good_file_would_be_accepted_and_nothing_is_written(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    file = NIGHT.bucket_of(CNP, 0)
    (path,) = written(tmp_path, file)
    before = tree(hub.home.root)
    answer = operator.asks(hub.home.root, NOW, "check", path, "--edc", "cnp")
    assert answer["outcome"] == "accepted"
    assert (answer["accounts"], answer["blocks"], answer["intervals"]) == (20, file.blocks, file.blocks * 96)
    assert answer["usage_days"] == [
        {
            "usage_day": "2013-09-02",
            "blocks": file.blocks,
            "deadline": "2013-09-04T04:00:00Z",
            "in_time": True,
            "if_late": "publish",
        }
    ]
    assert "would be accepted: 20 accounts" in operator.reads(
        hub.home.root, NOW, "check", path, "--edc", "cnp"
    )
    assert tree(hub.home.root) == before


def test_check_needs_a_home_with_partners_and_nothing_else(
    operator: Operator, tmp_path: Path, hub: Hub
) -> None:
    home = tmp_path / "bare"
    (home / "config").mkdir(parents=True)
    (home / "config" / "meterhub.toml").write_text("")
    (home / "config" / "partners").mkdir()
    text = (hub.home.partners / "cnp.toml").read_text()
    (home / "config" / "partners" / "cnp.toml").write_text(text)
    (path,) = written(tmp_path, NIGHT.bucket_of(CNP, 0))
    operator.asks(home, NOW, "check", path, "--edc", "cnp")
    assert [path.name for path in home.iterdir()] == ["config"]


def test_check_says_of_each_fault_where_it_is_what_was_found_and_wanted(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    (path,) = written(tmp_path, spoilt(NIGHT.bucket_of(CNP, 0), blocks=1))
    answer = operator.asks(hub.home.root, NOW, "check", path, "--edc", "cnp", code=1)
    assert (answer["outcome"], answer["blocks_rejected"], answer["faults_total"]) == ("partial", 1, 1)
    (fault,) = answer["faults"]
    assert (fault["line"], fault["column"], fault["found"][0]) == (5, 10, "-")
    said = operator.reads(hub.home.root, NOW, "check", path, "--edc", "cnp", code=1)
    assert "would be taken in part" in said
    assert fault["wanted"] in said


@pytest.mark.parametrize("file", list(broken(NIGHT, CNP)), ids=lambda file: file.name)
def test_check_and_the_hub_say_the_same_of_a_broken_file(
    hub: Hub, operator: Operator, tmp_path: Path, file: SampleFile
) -> None:
    (path,) = written(tmp_path, file)
    answer: dict[str, Any] = operator.asks(hub.home.root, NOW, "check", path, "--edc", "cnp", code=1)
    receipt = hub.receipt(hub.upload("cnp", file.name, file.content))
    assert answer["outcome"] == receipt["outcome"] == "rejected"
    assert answer["faults"][:100] == receipt["faults"]
    assert answer["faults_total"] == receipt["faults_total"]


def test_check_judges_the_name_and_the_sender_before_anything_else(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    (path,) = written(tmp_path, NIGHT.bucket_of(CNP, 0))
    (fault,) = operator.asks(hub.home.root, NOW, "check", path, "--edc", "ppl", code=1)["faults"]
    assert (fault["code"], fault["found"]) == ("sender", CNP.duns)
    assert PPL.duns in fault["wanted"]
    (tmp_path / "readings.txt").write_bytes(b"")
    answer = operator.asks(
        hub.home.root, NOW, "check", str(tmp_path / "readings.txt"), "--edc", "ppl", code=1
    )
    assert [fault["code"] for fault in answer["faults"]] == ["name"]


def test_check_reads_gzip_and_syncs_as_the_hub_does(hub: Hub, operator: Operator, tmp_path: Path) -> None:
    (sync,) = NIGHT.sync(CNP)
    path = tmp_path / f"{sync.name}.gz"
    path.write_bytes(igzip.compress(sync.content))
    answer = operator.asks(hub.home.root, NOW, "check", str(path), "--edc", "cnp")
    assert (answer["part"], answer["parts"], answer["as_of"]) == (1, 1, "2013-09-03")
    assert answer["rows"] == sync.accounts
    path.write_bytes(path.read_bytes()[:-9])
    (fault,) = operator.asks(hub.home.root, NOW, "check", str(path), "--edc", "cnp", code=1)["faults"]
    assert fault["code"] == "broken-gzip"


def test_check_says_what_would_become_of_readings_that_come_late(
    make_hub: Any, operator: Operator, tmp_path: Path
) -> None:
    hub = make_hub('[deadline]\nlate = "refuse"\n')
    (path,) = written(tmp_path, NIGHT.bucket_of(CNP, 0))
    late = NOW + timedelta(days=3)
    answer = operator.asks(hub.home.root, late, "check", path, "--edc", "cnp")
    assert [(day["in_time"], day["if_late"]) for day in answer["usage_days"]] == [(False, "refuse")]
    said = operator.reads(hub.home.root, late, "check", path, "--edc", "cnp")
    assert "late: refused, unless they replace others" in said
