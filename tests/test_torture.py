"""A short, seeded run of `meterhub torture`; `make torture` runs for ten minutes."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from exchange.cli.options import the_clock
from exchange.torture import server
from exchange.torture.nursery import Nursery
from exchange.torture.watch import Watch
from exchange.torture.world import World
from hub_fixtures import LONG

BEGUN = [sys.executable, "-m", "exchange.cli", "torture", "--json"]


@pytest.mark.parametrize(
    "ledger",
    [
        "sqlite",
        pytest.param(
            "postgresql",
            marks=pytest.mark.skipif(
                not LONG or server.program("initdb") is None,
                reason="METERHUB_TESTS=long: a minute more; and it needs the programs of a PostgreSQL server",
            ),
        ),
    ],
)
def test_a_hub_that_is_tortured_for_a_moment_loses_nothing(ledger: str) -> None:
    asked = [*BEGUN, "--minutes", "0", "--seed", "5", "--edcs", "1", "--egss", "2"]
    done = subprocess.run(
        [*asked, "--ledger", ledger],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "METERHUB_MISHAPS": ""},
    )
    said = json.loads(done.stdout)
    assert said["wrong"] == []
    assert done.returncode == 0, done.stderr
    assert said["seed"] == "5"
    assert said["rounds"] == 1
    assert said["sent"] > 0
    assert sum(said["faults"].values()) > 0


def test_the_same_seed_sends_the_same_files() -> None:
    def sent(seed: str) -> list[bytes]:
        land = World.drawn(seed, edcs=2, egss=3).territories["edc1"]
        return [land.next(date(2013, 9, 10)).content for _ in range(30)]

    assert sent("7") == sent("7")
    assert sent("7") != sent("8")


def test_the_clock_of_a_running_hub_steps_and_never_far_back(tmp_path: Path) -> None:
    begins = datetime(2013, 9, 10, 14, tzinfo=UTC)
    watch, draw = Watch(tmp_path / "clock", begins), Random(7)
    follows = the_clock(f"@{tmp_path / 'clock'}")
    steps = set()
    for _ in range(200):
        before = follows.ahead
        watch.step(draw)
        steps.add(round((follows.ahead - before).total_seconds()))
        assert watch.shown() - watch.clock() < timedelta(minutes=41)
    assert min(steps) < 0 < max(steps)
    watch.on(minutes=90)
    assert follows() > begins + timedelta(minutes=90)


def test_workers_of_a_tortured_hub_are_forked_from_a_fork_that_has_read_their_modules() -> None:
    words = (
        "import os\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import forkserver, get_context\n"
        "from exchange.torture import nursery\n"
        "nursery.fork_the_forkserver()\n"
        "born_of = forkserver._forkserver._forkserver_pid\n"
        "with ProcessPoolExecutor(1, mp_context=get_context('forkserver')) as pool:\n"
        "    print(pool.submit(os.getppid).result() == born_of)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, timeout=600, check=True
    )
    assert done.stdout == "True\n"


def test_a_process_from_the_nursery_is_a_command_and_can_be_killed(tmp_path: Path) -> None:
    nursery = Nursery(tmp_path / "errors")
    child = nursery.bear(["exchange.cli", "--help"], {})
    assert "Commands:" in child.stdout.read()
    child.wait(20)
    child.close()
    (tmp_path / "clock").write_text("0")
    beside = nursery.bear(
        ["exchange.torture.beside", str(tmp_path)], {"METERHUB_NOW": f"@{tmp_path / 'clock'}"}
    )
    beside.signal(signal.SIGKILL)
    beside.wait(20)
    assert not beside.is_alive
    beside.close()
    nursery.close()
