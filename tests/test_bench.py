"""The yardstick of `make bench` does what the hub does, and the bench answers."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from schemas import interval_file
from schemas.block import COMMITTED
from schemas.sample import EDCS, Night

BENCH = Path(__file__).parent / "bench"


def _run(script: str, *options: str, here: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / script), *options]
    environment = {"PYTHONPATH": str(BENCH.parents[1]), "PATH": ""}
    return subprocess.run(
        command, cwd=here, env=environment, capture_output=True, text=True, timeout=60, check=False
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
