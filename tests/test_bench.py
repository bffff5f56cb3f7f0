"""The yardstick of `make bench` does what the hub does, and the bench answers."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from hub_fixtures import LONG
from schemas import interval_file, interval_text
from schemas.block import COMMITTED
from schemas.sample import EDCS, Night
from test_doors_clients import needs

BENCH = Path(__file__).parent / "bench"


def _run(script: str, *options: str, here: Path) -> subprocess.CompletedProcess[str]:
    return _python(str(BENCH / script), *options, here=here)


def _python(*options: str, here: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options]
    environment = {"PYTHONPATH": f"{BENCH.parents[1]}:{BENCH}", "PATH": os.environ["PATH"]}
    return subprocess.run(
        command, cwd=here, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


def test_the_bare_script_gives_the_columns_and_rows_that_the_hub_reads(tmp_path: Path) -> None:
    file = Night(day=date(2013, 3, 10), accounts=300, estimated=0.3).bucket_of(EDCS[0], 0)
    (tmp_path / file.name).write_bytes(file.content)
    ran = _run("bare.py", file.name, "out", here=tmp_path)
    assert ran.returncode == 0, ran.stderr
    found = pq.read_table(tmp_path / ran.stdout.strip(), partitioning=None).drop_columns(COMMITTED.names)
    parsed = interval_file.parse(
        file.content,
        stamp="",
        zone=EDCS[0].zone,
        channels=frozenset("41"),
        max_accounts=300,
        latest=date(2013, 3, 11),
    )
    assert found.to_pylist() == parsed.blocks.drop_columns("usage_date").to_pylist()


def test_the_bench_times_a_bucket_a_sync_and_a_publication(tmp_path: Path) -> None:
    ran = _run("load.py", "--accounts", "300", "--runs", "2", "--json", here=tmp_path)
    assert ran.returncode in {0, 1}, ran.stderr  # so few accounts take the hub longer than they may
    answer = json.loads(ran.stdout)
    assert [len(line["hub"]) for line in answer["lines"].values()] == [2, 2, 2]
    assert answer["ratio"] > 0
    assert answer["peak_mib"]["hub"] > 0
    assert list(tmp_path.iterdir()) == []


_PEER = "import sys, peers; from pathlib import Path; getattr(peers, sys.argv[1])(*map(Path, sys.argv[2:]))"


@pytest.mark.parametrize("peer", ["padded", "by_lines", "frames"])
def test_every_peer_gives_the_readings_that_the_hub_reads(peer: str, tmp_path: Path) -> None:
    file = Night(day=date(2013, 9, 1), accounts=200, estimated=0.3).bucket_of(EDCS[0], 0)
    (tmp_path / file.name).write_bytes(file.content)
    ran = _python("-c", _PEER, peer, file.name, "out.parquet", here=tmp_path)
    assert ran.returncode == 0, ran.stderr
    parsed = interval_file.parse(
        file.content,
        stamp="",
        zone=EDCS[0].zone,
        channels=frozenset("41"),
        max_accounts=200,
        latest=date(2013, 9, 2),
    )
    columns = ["account", "channel", "stamp", "origin", "wh", "status", "wh_total", "estimated"]
    found = pq.read_table(tmp_path / "out.parquet").select(columns).to_pylist()
    wanted = parsed.blocks.select(columns).to_pylist()
    by_key = [sorted(rows, key=lambda row: (row["account"], row["channel"])) for rows in (found, wanted)]
    assert by_key[0] == by_key[1]


def test_duckdb_writes_the_lse_that_the_hub_writes(tmp_path: Path) -> None:
    night = Night(day=date(2013, 9, 1), accounts=200, estimated=0.3, net_metered=0.0, default_service=0.0)
    roster = night.roster(EDCS[0])
    pq.write_table(roster, tmp_path / "roster.parquet")
    blocks = night.blocks(EDCS[0], 0, 200, day=night.day)
    pq.write_table(blocks, tmp_path / "lake.parquet")
    command = (
        "import peers; from pathlib import Path; "
        f"peers.string_agg([Path('lake.parquet')], Path('roster.parquet'), "
        f"{ {egs.duns: egs.id for egs in night.egss} }, Path('out'))"
    )
    ran = _python("-c", command, here=tmp_path)
    assert ran.returncode == 0, ran.stderr
    for egs in night.egss:
        mine = pc.equal(roster["egs_duns"], egs.duns)
        text = gzip.decompress((tmp_path / "out" / f"{egs.id}.lse.gz").read_bytes())
        assert text == interval_text.render(blocks.filter(mine)).text.to_pybytes()


def test_duckdb_puts_the_roster_together_that_the_hub_does(tmp_path: Path) -> None:
    """And counts the accounts that have switched."""
    night = Night(day=date(2013, 9, 1), accounts=200, edcs=EDCS[:1])
    counts = "import peers, sys; from pathlib import Path; print(peers.sync([Path(sys.argv[1])], *map(Path, sys.argv[2:])))"
    for later, switched, before, after in ((0, 0, "none", "one"), (1, 7, "one", "two")):
        (part,) = night.sync(EDCS[0], later=later, switched=switched)
        (tmp_path / part.name).write_bytes(part.content)
        ran = _python("-c", counts, part.name, before, after, here=tmp_path)
        assert (ran.returncode, ran.stdout) == (0, f"{switched}\n"), ran.stderr
        wanted = night.roster(EDCS[0], later=later, switched=switched).to_pylist()
        assert pq.read_table(tmp_path / after).to_pylist() == wanted


def _ratios(here: Path, *options: str) -> list[dict[str, Any]]:
    ran = _run("ratios.py", "--accounts", "100", "--runs", "1", "--json", *options, here=here)
    assert ran.returncode in {0, 1}, ran.stderr
    assert list(here.iterdir()) == []
    lines: list[dict[str, Any]] = json.loads(ran.stdout)
    assert all(line["ratio"] > 0 and len(line["hub"]) == len(line["other"]) == 1 for line in lines)
    return lines


def test_the_table_has_a_ratio_for_every_peer(tmp_path: Path) -> None:
    lines = _ratios(tmp_path, "--only", "night", "--only", "questions")
    assert {line["peer"] for line in lines} >= {"bare script", "Polars", "DuckDB, null padding"}


def _has_sshd() -> bool:
    """Which has to be started by root."""
    return os.getuid() == 0 and shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") is not None


@pytest.mark.skipif(not LONG, reason="half a minute: METERHUB_TESTS=long")
@needs("sftp", "ssh-keygen")
@pytest.mark.skipif(not _has_sshd(), reason="no sshd that could be started")
def test_the_doors_are_measured_beside_openssh(tmp_path: Path) -> None:
    lines = _ratios(tmp_path, "--only", "doors")
    assert {line["peer"] for line in lines} == {"OpenSSH's internal-sftp", "a quarter of a second"}
    assert [line["what"].split()[0] for line in lines] == [
        *["upload", "download"] * 3,
        "10",
        "10",
        "MiB",
        "list",
        "longest",
        "longest",
    ]


@pytest.mark.skipif(not LONG, reason="half a minute: METERHUB_TESTS=long")
def test_the_table_has_syncs_and_switches(tmp_path: Path) -> None:
    sync, switch = _ratios(tmp_path, "--only", "syncs")
    assert sync["peer"].startswith("DuckDB")
    assert (switch["peer"], switch["at_most"]) == ("publishing them", 1.2)


@pytest.mark.skipif(not LONG, reason="a minute: METERHUB_TESTS=long")
@needs("sftp", "ssh-keygen")
def test_a_few_buckets_by_sftp_are_measured_from_their_first_byte_to_the_last_outbound_file(
    tmp_path: Path,
) -> None:
    (line,) = _ratios(tmp_path, "--only", "uploads")[-1:]
    assert line["peer"] == "load and publish from disk"


_YEARS = """
import sys; sys.path.insert(0, sys.argv[1])
if __name__ == "__main__":
    from pathlib import Path
    from ratios import CROWD, EDC
    import history
    size = {"accounts": 100, "runs": 1, "nights": 2, "few": True}
    for line in history.measured(Path("hubs"), edc=EDC, egss=CROWD[:2], **size):
        print(line.what, len(line.hub), len(line.other), line.ratio() > 0)
"""


def test_commands_and_commits_are_measured_beside_a_ledger_of_more_nights(tmp_path: Path) -> None:
    (tmp_path / "few.py").write_text(_YEARS)
    ran = _python("few.py", str(BENCH), here=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "meterhub status 1 1 True",
        "meterhub status 1 1 True",
        "load 1,000 account-days 1 1 True",
        "publish them 1 1 True",
    ]


@pytest.mark.parametrize(
    "way",
    [pytest.param((), id="disk"), pytest.param(("--sftp",), id="sftp", marks=needs("sftp", "ssh-keygen"))],
)
def test_a_small_night_of_texas_is_loaded_published_and_switched(
    tmp_path: Path, way: tuple[str, ...]
) -> None:
    options = ("--accounts", "1000", "--folder", "night", "--picture", "night.svg")
    ran = _run("texas.py", *options, *way, here=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "96,000 intervals" in ran.stdout
    assert all(part in ran.stdout for part in ("sync", "load", "publish", "switch", "outbound files"))
    (picture,) = tmp_path.iterdir()
    drawn = picture.read_text()
    assert drawn.startswith("<svg ")
    assert drawn.endswith("</svg>\n")
    assert drawn.count("<polyline ") == 5
