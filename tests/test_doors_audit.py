"""What ssh-audit, which looks at the doors as a stranger does, has to say of them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attacked_fixtures import Stock, reached
from doors_fixtures import SECONDS, Door, open_door
from exchange import keys

POLICY = Path(__file__).with_name("ssh_audit_policy.txt")
AUDIT = Path(sys.executable).with_name("ssh-audit")

# Kept for clients that know nothing better, and why.
WARNINGS = {
    ("kex", "does not provide protection against post-quantum attacks"),  # OpenSSH 9.2, PuTTY 0.78, rclone
    ("mac", "using encrypt-and-MAC mode"),  # libssh2 1.10, and so curl
}


def audit(port: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = [AUDIT, *words, "--skip-rate-test", "-t", "60", "-p", str(port), "127.0.0.1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def found(port: int) -> dict[str, set[tuple[str, str]]]:
    """What was found, by its weight: the kind of algorithm and the words."""
    told: dict[str, Any] = json.loads(audit(port, "-j").stdout)
    notes: dict[str, set[tuple[str, str]]] = {"info": set(), "warn": set(), "fail": set()}
    for kind in ("kex", "key", "enc", "mac"):
        assert told[kind], f"nothing seen of {kind}"
        for algorithm in told[kind]:
            for weight, words in algorithm["notes"].items():
                notes[weight] |= {(kind, one) for one in words}
    assert told["cves"] == []
    return notes


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    home = tmp_path_factory.mktemp("audited")
    keys.make_host_keys(home / "host_keys")
    with open_door(home) as door:
        yield door


def test_nothing_fails_and_each_warning_is_one_that_old_clients_need(door: Door) -> None:
    notes = found(door.port)
    assert notes["fail"] == set()
    assert notes["warn"] == WARNINGS


def test_the_doors_are_as_the_policy_has_them(door: Door) -> None:
    done = audit(door.port, "-P", str(POLICY))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in done.stdout


def test_a_door_that_offers_one_thing_more_does_not_pass(door: Door, tmp_path: Path) -> None:
    narrower = tmp_path / "policy.txt"
    narrower.write_text(POLICY.read_text().replace(", aes256-ctr", ""))
    done = audit(door.port, "-P", str(narrower))
    assert done.returncode != 0
    assert "Ciphers did not match" in done.stdout


def test_the_librarys_own_choice_fails(tmp_path: Path) -> None:
    """So that it is known what the pinned lists are for."""
    with reached(Stock(tmp_path)) as stock:
        assert found(stock.port)["fail"]
