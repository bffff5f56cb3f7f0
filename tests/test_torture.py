"""A short, seeded run of `meterhub torture`; `make torture` runs for ten minutes."""

import json
import os
import subprocess
import sys
from datetime import date

from exchange.torture.world import World

BEGUN = [sys.executable, "-m", "exchange.cli", "torture", "--json"]


def test_a_hub_that_is_tortured_for_a_moment_loses_nothing() -> None:
    asked = [*BEGUN, "--minutes", "0", "--seed", "5", "--edcs", "1", "--egss", "2"]
    done = subprocess.run(
        asked,
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
