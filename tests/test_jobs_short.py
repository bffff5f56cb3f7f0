"""What looks short: a bucket with fewer accounts than the one it is again, said in its receipt."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_fixtures import CNP, Hub
from jobs.rules import shortness
from jobs_fixtures import Cut, Row, interval_name, lse, send_sync
from schemas.drop import Drop, Outcome, Stage

BEFORE, DAY = date(2013, 9, 1), date(2013, 9, 2)


def accounts(first: int, last: int) -> list[str]:
    return [f"A{n:04}" for n in range(first, last)]


def send(hub: Hub, day: date, named: Sequence[str], *, stamp: str = "", bad: Sequence[str] = ()) -> Drop:
    """A bucket of one account a block; of `bad` ones the value is none."""
    text = lse([Cut(account=account, day=day, stamp=stamp) for account in named])
    for account in bad:
        head, _, tail = text.partition(f"00000001,{account},".encode())
        text = head + f"00000001,{account},".encode() + tail.replace(b"10000000,0.100", b"10000000,x", 1)
    return hub.upload(CNP.id, interval_name(hub), text)


def short(hub: Hub, drop: Drop) -> dict[str, Any] | None:
    """What the drop's receipt says of it; at most one day."""
    assert drop.stage is Stage.LOADED
    said: list[dict[str, Any]] = hub.receipt(drop).get("looks_short", [])
    assert len(said) <= 1
    return said[0] if said else None


@pytest.fixture
def night(hub: Hub) -> Hub:
    """The day before came as three buckets of 50, 50 and 20 accounts."""
    for first, last in ((0, 50), (50, 100), (100, 120)):
        assert short(hub, send(hub, BEFORE, accounts(first, last))) is None
    hub.on(days=1)
    return hub


def test_a_bucket_cut_off_between_two_blocks_is_loaded_and_said_to_be_short(night: Hub) -> None:
    drop = send(night, DAY, accounts(50, 62))
    said = short(night, drop)
    assert drop.outcome is Outcome.ACCEPTED
    assert said is not None
    assert night.drop(said.pop("held_to")).usage_days == (BEFORE,)
    assert said == {"usage_day": "2013-09-02", "accounts": 12, "missing": 38, "first_missing": "A0062"}


def test_a_bucket_in_which_some_are_missing_names_the_first_of_them(night: Hub) -> None:
    named = [account for account in accounts(0, 50) if account not in {"A0013", "A0031"}]
    said = short(night, send(night, DAY, named))
    assert said is not None
    assert (said["missing"], said["first_missing"]) == (2, "A0013")


def test_a_night_as_full_as_the_one_before_is_not_short_though_borders_have_moved(night: Hub) -> None:
    new = [*accounts(0, 10), "A0009a", "A0009b", *accounts(10, 120)]
    for first, last in ((0, 50), (50, 100), (100, 122)):
        assert short(night, send(night, DAY, new[first:last])) is None


def test_accounts_that_another_bucket_has_brought_are_not_missing(night: Hub) -> None:
    send(night, DAY, accounts(40, 100))
    assert short(night, send(night, DAY, accounts(0, 40))) is None


def test_accounts_whose_blocks_were_refused_are_named_as_faults_and_not_as_missing(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub("[limits]\nmax_bad_blocks = 0.5\n")
    send(hub, BEFORE, accounts(0, 50))
    hub.on(days=1)
    drop = send(hub, DAY, accounts(0, 50), bad=["A0007"])
    assert drop.blocks_rejected == 1
    assert short(hub, drop) is None


def test_stragglers_and_replacements_are_not_short(night: Hub) -> None:
    for first, last in ((0, 50), (50, 100), (100, 120)):
        send(night, DAY, accounts(first, last))
    assert short(night, send(night, DAY, accounts(0, 30), stamp="20130903120000")) is None
    assert short(night, send(night, DAY + timedelta(days=1), ["A0003", "A0044", "A0090"])) is None


def test_accounts_that_the_roster_does_not_expect_any_more_are_not_missing(night: Hub) -> None:
    gone = accounts(40, 50)
    rows = [Row(account=account, status="I" if account in gone else "A") for account in accounts(0, 120)]
    send_sync(night, rows)
    assert short(night, send(night, DAY, accounts(0, 40))) is None
    said = short(night, send(night, DAY, accounts(50, 99)))
    assert said is not None
    assert (said["missing"], said["first_missing"]) == (1, "A0099")


def test_the_first_night_of_one_bucket_is_held_to_the_roster(hub: Hub) -> None:
    hub.on(days=-1)
    sync = send_sync(hub, [Row(account=account) for account in accounts(0, 50)])
    said = short(hub, send(hub, BEFORE, accounts(0, 45)))
    assert said is not None
    assert (said["accounts"], said["missing"], said["first_missing"]) == (45, 5, "A0045")
    assert said["held_to"] == sync.sync_id


def test_a_roster_of_more_than_a_bucket_says_nothing_of_the_first_one(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("[limits]\nmax_accounts_per_file = 40\n")
    send_sync(hub, [Row(account=account) for account in accounts(0, 50)])
    assert short(hub, send(hub, DAY, accounts(0, 40))) is None


def test_back_fill_of_several_days_in_one_file_names_each_day_that_is_short(night: Hub) -> None:
    night.on(days=1)
    cuts = [Cut(account=account, day=DAY) for account in accounts(0, 50)]
    cuts += [Cut(account=account, day=DAY + timedelta(days=1)) for account in accounts(0, 48)]
    drop = night.upload(CNP.id, interval_name(night), lse(cuts))
    said = short(night, drop)
    # The file's own other day is not loaded yet: so the one before is looked at.
    assert said is not None
    assert (said["usage_day"], said["missing"], said["first_missing"]) == ("2013-09-03", 2, "A0048")


numbers = st.sets(st.integers(0, 60), min_size=1).map(
    lambda found: pa.array([f"A{n:02}" for n in sorted(found)])
)


@given(numbers, numbers)
def test_what_is_left_out_is_of_the_earlier_bucket_and_not_here(here: pa.Array, before: pa.Array) -> None:
    left_out = shortness.left_out(here, before).to_pylist()
    assert left_out == sorted(left_out)
    assert set(left_out) <= set(before.to_pylist()) - set(here.to_pylist())
    assert not left_out or len(here) < len(before)


@given(st.integers(10, 60), st.data())
def test_every_beginning_of_a_bucket_shows_all_of_its_end(size: int, data: st.DataObject) -> None:
    before = pa.array(accounts(0, size))
    length = data.draw(st.integers(1, size - 1))
    assert shortness.left_out(before[:length], before) == before[length:]
