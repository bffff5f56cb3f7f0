"""A running hub, with its ledger behind it, attacked with packets that no client sends; and the stock server beside it."""

from pathlib import Path

import pytest

from attacked_fixtures import CNP, HubDoor, Stock, reached
from attacks import Attack, amounts, logins, names, packets, paths, table, uploads
from exchange.sftp_v3 import Kind
from hub_fixtures import Hub

ATTACKS = table(paths, names, amounts, packets, uploads, logins)
README = Path(__file__).parents[1] / "exchange" / "README.md"
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


@each_attack
def test_what_is_tried_does_nothing_to_the_hub(hub: Hub, tmp_path: Path, attack: Attack) -> None:
    with reached(HubDoor(tmp_path, hub, **attack.limits)) as door:
        assert set(attack.tries(door)) == set()


@each_attack
def test_what_is_tried_does_to_the_librarys_own_server_what_the_table_says(
    tmp_path: Path, attack: Attack
) -> None:
    with reached(Stock(tmp_path)) as stock:
        assert set(attack.tries(stock)) == attack.stock


def test_the_readme_says_how_many_attacks_there_are_and_how_many_the_librarys_server_falls_to() -> None:
    fallen = sum(bool(attack.stock) for attack in ATTACKS)
    assert f"{len(ATTACKS)} attacks" in README.read_text()
    assert f"falls to {fallen}" in README.read_text()


def test_a_name_of_200_goes_all_the_way_to_its_receipt(hub: Hub, tmp_path: Path) -> None:
    name = "x" * 200
    with reached(HubDoor(tmp_path, hub)) as door, door.raw(CNP) as raw:
        handle = raw.open(f"inbound/{name}", amounts.PUT)
        assert raw.write(handle, 0, b"bytes")[0] == 0
        assert raw.status(Kind.CLOSE, handle)[0] == 0
    hub.on(minutes=11)
    hub.sweep()
    (received,) = hub.laid(CNP, "receipts", ".received.json")
    (rejected,) = hub.laid(CNP, "receipts", ".rejected.json")
    assert received.name.startswith(name)
    assert rejected.name.startswith(name)
