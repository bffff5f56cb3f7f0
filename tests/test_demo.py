"""The demo is what a stranger sees first: it must work, and what it says must be so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from isal import igzip

from exchange.cli import demo_clients


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    home = tmp_path_factory.mktemp("demo") / "night"
    run = subprocess.run(
        [sys.executable, "-m", "exchange.cli", "--home", home, "demo", "--accounts", "400", "--json"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    said: dict[str, object] = json.loads(run.stdout)
    return said


def test_a_night_ends_with_every_edc_judged_and_every_supplier_served(
    played: dict[str, list[dict[str, object]]],
) -> None:
    cnp, ppl = played["edcs"]
    assert (cnp["deadline"], ppl["deadline"]) == ("missed", "met")  # cnp's small bucket has faults
    assert cnp["refused"] > 0 == ppl["refused"]
    assert cnp["replacing"] > 0
    assert all(egs["fetched"] > 0 and egs["blocks_fetched"] > 0 for egs in played["egss"])
    assert sum(egs["withdrawn"] for egs in played["egss"]) > 0  # customers switched


def test_no_supplier_was_shown_an_account_of_another(played: dict[str, int]) -> None:
    assert played["accounts_of_others"] == 0


def test_each_file_that_was_fetched_is_the_one_its_manifest_describes(played: dict[str, str]) -> None:
    fetched = list((Path(played["home"]) / "downloads").glob("*/*.lse.gz"))
    assert fetched
    for file in fetched:
        manifest = json.loads(file.with_name(f"{file.name}.manifest.json").read_text())
        assert manifest["file"] == file.name
        assert manifest["bytes"] == file.stat().st_size
        assert manifest["blocks"] == len(demo_clients.accounts_in(file))
        assert igzip.decompress(file.read_bytes()).count(b"\n00000002,") == manifest["blocks"]
