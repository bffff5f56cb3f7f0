"""`meterhub sync`: what an operator sees of rosters, and how one that was held gets past the brake or not."""

import io
import json
from collections import Counter
from datetime import date, timedelta

import pytest

from cli_do_fixtures import Operator
from conftest import DAY
from hub_fixtures import CNP, PPL, Hub, morning, partner_text, small_night
from jobs.stores.ledger import holds
from jobs_fixtures import STRANGER_DUNS, Cut, send, send_sync
from schemas import sync_file
from schemas.sample import EGSS, SampleFile

NOW = morning(DAY)
NEXT = NOW + timedelta(days=1)
NIGHT = small_night(DAY, accounts=40, bucket=40)
FIRST, SECOND = "S130903-cnp-1", "S130904-cnp-1"
BY_DUNS = {egs.duns: egs.id for egs in EGSS}


@pytest.fixture
def operator(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(capsys, monkeypatch)


@pytest.fixture
def held(hub: Hub) -> Hub:
    """A hub with readings laid out by a sync in force, and another that moves a quarter of the accounts."""
    hub.send(*NIGHT.sync(CNP), NIGHT.bucket_of(CNP, 0))
    hub.sweep()
    hub.at(NEXT)
    hub.send(*NIGHT.switch(CNP, accounts=10))
    return hub


def owners(*, switched: int = 0) -> dict[str, str]:
    rows = NIGHT.roster(CNP, later=bool(switched), switched=switched)
    duns = dict(zip(rows["account"].to_pylist(), rows["egs_duns"].to_pylist(), strict=True))
    return {account: BY_DUNS.get(duns[account], "default service") for account in duns}


MOVED = {
    account: (was, owners(switched=10)[account])
    for account, was in owners().items()
    if owners(switched=10)[account] != was
}


def test_the_list_has_each_sync_with_its_state_and_why(held: Hub, operator: Operator) -> None:
    root = held.home.root
    first, second = operator.asks(root, NEXT, "sync", "list")
    assert (first["id"], first["state"], first["parts_there"], first["too_old"]) == (
        FIRST,
        "in-force",
        1,
        False,
    )
    assert (second["id"], second["state"], second["moved"]) == (SECOND, "held", 10)
    assert second["why"] == "it moves 10 accounts, 25.0%"
    assert "it moves 10 accounts, 25.0%" in operator.reads(root, NEXT, "sync", "list")
    assert operator.asks(root, NEXT, "sync", "list", "--edc", "ppl") == []
    assert operator.reads(root, NEXT, "sync", "list", "--edc", "ppl") == "No sync has come yet.\n"
    (first, _) = operator.asks(root, NOW + timedelta(days=6), "sync", "list")
    assert first["too_old"]


def test_a_sync_is_shown_with_its_parts_and_what_each_supplier_has_by_it(
    hub: Hub, operator: Operator
) -> None:
    rows = NIGHT.roster(CNP)
    halves = [
        SampleFile(
            name=f"{CNP.duns}MeterDataSync20130903031000{part:03}.csv",
            content=sync_file.render(
                rows.slice((part - 1) * 20, 20), duns=CNP.duns, as_of=NIGHT.morning(), part=part, parts=2
            ),
            edc="cnp",
            says="half",
        )
        for part in (1, 2)
    ]
    hub.send(halves[1])
    root = hub.home.root
    shown = operator.asks(root, NOW, "sync", "show", FIRST)
    assert (shown["state"], [part["part"] for part in shown["parts_kept"]], shown["holders"]) == (
        "forming",
        [2],
        [],
    )
    assert "not there yet" in operator.reads(root, NOW, "sync", "show", FIRST)
    assert operator.asks(root, NOW, "sync", "diff", FIRST, code=1)["error"]["code"] == "no-roster"
    hub.send(halves[0])
    shown = operator.asks(root, NOW, "sync", "show", FIRST)
    assert shown["state"] == "in-force"
    assert {one["holder"]: one["accounts"] for one in shown["holders"]} == Counter(owners().values())
    # One whose EGS is no partner is unclaimed, and one that starts later is nobody's yet.
    hub.remove_partner("champion")
    held = {
        one["holder"]: one["accounts"] for one in operator.asks(root, NOW, "sync", "show", FIRST)["holders"]
    }
    champion = next(egs for egs in EGSS if egs.id == "champion")
    assert held[f"unclaimed {champion.duns}"] == Counter(owners().values())["champion"]
    hub.add_partner(partner_text(champion, "egs"), "champion")


def test_the_difference_says_who_gains_and_who_loses_which_accounts(held: Hub, operator: Operator) -> None:
    root = held.home.root
    answer = operator.asks(root, NEXT, "sync", "diff", "cnp", "--accounts")
    assert (answer["from"], answer["to"], answer["accounts_before"], answer["moved"]) == (
        FIRST,
        SECOND,
        40,
        10,
    )
    assert {row["account"]: (row["was"], row["becomes"]) for row in answer["accounts"]} == MOVED
    moves = {(one["was"], one["becomes"]): one["accounts"] for one in answer["moves"]}
    assert moves == Counter(MOVED.values())
    before, after = Counter(owners().values()), Counter(owners(switched=10).values())
    for one in answer["holders"]:
        assert (one["before"], one["after"]) == (before[one["holder"]], after[one["holder"]])
        assert one["after"] - one["before"] == one["gains"] - one["loses"]
        assert one["loses"] == sum(was == one["holder"] for was, _ in MOVED.values())
    said = operator.reads(root, NEXT, "sync", "diff", SECOND, "--accounts")
    assert "It moves 10 accounts, 25.0%, of 40 before.\n" in said
    assert "New accounts" not in said
    assert all(account in said for account in MOVED)
    assert "accounts" not in operator.asks(root, NEXT, "sync", "diff", FIRST, SECOND)
    back = operator.asks(root, NEXT, "sync", "diff", SECOND, FIRST, "--accounts")
    assert {row["account"]: (row["becomes"], row["was"]) for row in back["accounts"]} == MOVED


def test_accounts_that_are_new_to_the_roster_are_not_counted_as_moved(hub: Hub, operator: Operator) -> None:
    champion, keystone = (
        next(egs.duns for egs in EGSS if egs.id == name) for name in ("champion", "keystone")
    )
    known = [str(1000 + k) for k in range(10)]
    send_sync(hub, dict.fromkeys(known, champion))
    hub.at(NEXT)
    new = dict.fromkeys([str(2000 + k) for k in range(1200)], keystone)
    taken = dict.fromkeys(known[:6], keystone) | {known[6]: ""}
    left_out = known[9]
    send_sync(hub, {one: champion for one in known if one != left_out} | taken | new)
    root = hub.home.root
    (_, second) = operator.asks(root, NEXT, "sync", "list")
    assert (second["state"], second["moved"], second["why"]) == ("held", 8, "it moves 8 accounts, 80.0%")
    answer = operator.asks(root, NEXT, "sync", "diff", "cnp")
    assert (answer["moved"], answer["new"], answer["accounts_before"]) == (8, 1200, 10)
    assert answer["moves"][-1] == {"was": "not in the roster", "becomes": "keystone", "accounts": 1200}
    said = operator.reads(root, NEXT, "sync", "diff", "cnp")
    assert "\nIt moves 8 accounts, 80.0%, of 10 before.\nNew accounts: 1,200.\n" in said


def test_the_difference_says_of_which_accounts_the_supplier_stays_and_the_start_moves(
    hub: Hub, operator: Operator
) -> None:
    champion, keystone = (
        next(egs.duns for egs in EGSS if egs.id == name) for name in ("champion", "keystone")
    )
    spring, summer, ahead = date(2013, 3, 1), date(2013, 7, 1), date(2014, 1, 1)
    send_sync(hub, {**dict.fromkeys("ABCD", (champion, spring)), "E": (keystone, spring), "F": ""})
    (first,) = operator.asks(hub.home.root, NOW, "sync", "list")
    hub.at(NEXT)
    now = {"A": (champion, summer), "B": (champion, date(2013, 1, 1)), "C": (champion, ahead)}
    send_sync(hub, {**now, "D": (champion, spring), "E": (keystone, None), "F": ""})
    second = operator.asks(hub.home.root, NEXT, "sync", "list")[-1]["id"]
    answer = operator.asks(hub.home.root, NEXT, "sync", "diff", first["id"], second, "--accounts")
    # The one whose start lies ahead is nobody's until then: it changes hands.
    assert [(one["account"], one["becomes"]) for one in answer["accounts"]] == [("C", "not yet champion")]
    assert [one["account"] for one in answer["accounts_that_stay"]] == ["A", "B", "E"]
    counted = [(one["holder"], one["earlier"], one["later"]) for one in answer["starts"]]
    assert counted == [("champion", 1, 1), ("keystone", 0, 1)]
    said = operator.reads(hub.home.root, NEXT, "sync", "diff", first["id"], second)
    assert (
        "Of accounts that stay with their EGS, the start moves of 3: to an earlier day of 1, to a later one of 2."
        in said
    )
    of_keystone = next(line.split() for line in said.splitlines() if line.split()[:2] == ["keystone", "0"])
    assert of_keystone == ["keystone", "0", "1", "E", "2013-03-01", "none", "said"]


def test_the_difference_foresees_what_an_approval_gives_free_of_what_is_held(
    hub: Hub, operator: Operator
) -> None:
    champion, keystone = (
        next(egs.duns for egs in EGSS if egs.id == name) for name in ("champion", "keystone")
    )
    send_sync(hub, {"A": champion, "C": STRANGER_DUNS, "E": ""})
    send(hub, *(Cut(account=one, day=DAY) for one in "ABCDE"))
    hub.sweep()
    hub.at(NEXT)
    send_sync(hub, {"A": champion, "B": champion, "C": keystone, "E": champion})
    root = hub.home.root
    answer = operator.asks(root, NEXT, "sync", "diff", "cnp")
    foreseen = {
        one["reason"]: (one["free"], one["to"], one["given_up"], one["still"]) for one in answer["held"]
    }
    assert foreseen == {"suspense": (1, {"champion": 1}, 0, 1), "unclaimed": (1, {"keystone": 1}, 0, 0)}
    said = [line.split() for line in operator.reads(root, NEXT, "sync", "diff", "cnp").splitlines()]
    assert ["suspense", "2", "1", "1", "0", "1"] in said
    assert ["unclaimed", "1", "1", "1", "0", "0"] in said
    assert next(line[:12] for line in said if line[:2] == ["For", "1"]) == [
        "For",
        "1",
        "account",
        "nobody",
        "was",
        "of",
        "record",
        "and",
        "an",
        "EGS",
        "is",
        "then:",
    ]
    before = {(egs, account) for egs, _, account in hub.holders()}
    operator.asks(root, NEXT, "sync", "approve", answer["to"], "--yes")
    hub.on(minutes=15)
    hub.sweep()
    given = {(egs, account) for egs, _, account in hub.holders()} - before
    assert given == {("champion", "B"), ("keystone", "C"), ("champion", "E")}
    with hub.stores.ledger.read() as tx:
        assert holds.counts(tx, "cnp") == {("suspense", ""): 1}
    assert operator.asks(root, hub.now, "sync", "diff", answer["from"], answer["to"])["held"] == []


def test_the_difference_foresees_what_is_given_up_and_what_is_held_still_for_another(
    hub: Hub, operator: Operator
) -> None:
    champion = next(egs.duns for egs in EGSS if egs.id == "champion")
    send_sync(hub, {"A": champion, "C": STRANGER_DUNS})
    send(hub, *(Cut(account=one, day=DAY) for one in "ABC"))
    hub.sweep()
    hub.on(days=31)
    later = hub.now.date()
    send_sync(hub, {"B": STRANGER_DUNS}, as_of=later)
    answer = operator.asks(hub.home.root, hub.now, "sync", "diff", "cnp")
    foreseen = {one["reason"]: (one["free"], one["given_up"], one["still"]) for one in answer["held"]}
    assert foreseen == {"suspense": (0, 0, 1), "unclaimed": (0, 1, 0)}


def test_the_first_sync_of_all_gives_every_account_to_somebody(hub: Hub, operator: Operator) -> None:
    hub.send(*NIGHT.sync(CNP))
    answer = operator.asks(hub.home.root, NOW, "sync", "diff", FIRST, FIRST)
    assert (answer["moved"], answer["moves"]) == (0, [])
    assert "It moves no account." in operator.reads(hub.home.root, NOW, "sync", "diff", FIRST)
    error = operator.asks(hub.home.root, NOW, "sync", "diff", "cnp", code=1)["error"]
    assert error["code"] == "nothing-waits"


def test_syncs_of_two_edcs_are_not_compared(held: Hub, operator: Operator) -> None:
    held.send(*NIGHT.sync(PPL))
    error = operator.asks(held.home.root, NEXT, "sync", "diff", FIRST, "S130903-ppl-1", code=1)["error"]
    assert error["code"] == "other-edc"
    error = operator.asks(held.home.root, NEXT, "sync", "show", "S130903-cnp-9", code=1)["error"]
    assert error["code"] == "no-such-sync"


def test_approval_shows_the_difference_withdraws_and_brings_the_sync_into_force(
    held: Hub, operator: Operator
) -> None:
    root = held.home.root
    lost = {(was, account) for account, (was, _) in MOVED.items()}
    assert lost & {(egs, account) for egs, _, account in held.holders()}
    answer = operator.asks(root, NEXT, "sync", "approve", SECOND, "--yes", "--by", "Ada")
    assert answer["state"] == "in-force"
    assert {(one["was"], one["becomes"]): one["accounts"] for one in answer["moves"]} == Counter(
        MOVED.values()
    )
    first, second = operator.asks(root, NEXT, "sync", "list")
    assert (first["state"], second["state"]) == ("superseded", "in-force")
    assert not lost & {(egs, account) for egs, _, account in held.holders()}
    # What was not fetched yet is written again at once, without the accounts that are lost.
    kept = {
        (was, account)
        for account, was in owners().items()
        if account not in MOVED and was in BY_DUNS.values()
    }
    assert {(egs, account) for egs, _, account in held.holders()} == kept
    (event,) = held.events("sync.approved")
    assert event["details"]["by"] == "Ada"
    error = operator.asks(root, NEXT, "sync", "approve", SECOND, "--yes", code=1)["error"]
    assert error["code"] == "not-held"
    assert "is in-force" in error["message"]


def test_of_a_sync_that_was_held_it_is_told_what_became_of_it_in_the_end(
    held: Hub, operator: Operator
) -> None:
    root = held.home.root
    brake = "was held: it moves 10 accounts, 25.0%"
    assert operator.asks(root, NEXT, "sync", "approve", SECOND, "--yes", "--by", "Ada")["why"] is None
    first, second = operator.asks(root, NEXT, "sync", "list")
    assert (first["why"], first["superseded_by"]) == (f"superseded by {SECOND}", SECOND)
    assert (second["why"], second["approved_by"]) == (f"{brake}; approved by Ada", "Ada")
    held.at(NEXT + timedelta(days=1))
    duns = {egs: duns for duns, egs in BY_DUNS.items()}
    send_sync(held, {account: duns.get(egs, "") for account, egs in owners(switched=10).items()})
    third = operator.asks(root, held.now, "sync", "list")[-1]["id"]
    ended = f"{brake}; approved by Ada; superseded by {third}"
    assert operator.asks(root, held.now, "sync", "show", SECOND)["why"] == ended
    assert operator.asks(root, held.now, "explain", SECOND)[0]["why"] == ended
    shown = " ".join(operator.reads(root, held.now, "sync", "show", SECOND).split())
    assert "share moved 25.0% " in shown
    assert f"why {ended} " in shown


@pytest.mark.parametrize(("word", "code", "state"), [("n\n", 1, "held"), ("y\n", 0, "in-force")])
def test_approval_asks_first(
    held: Hub, operator: Operator, monkeypatch: pytest.MonkeyPatch, word: str, code: int, state: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(word))
    said = operator.reads(held.home.root, NEXT, "sync", "approve", SECOND, code=code)
    assert said.index("It moves 10 accounts, 25.0%") < said.index(f"Bring {SECOND} into force?")
    assert operator.asks(held.home.root, NEXT, "sync", "list")[1]["state"] == state
    assert ("Nothing was changed." in said) == (code == 1)


def test_who_asks_without_a_terminal_is_told_to_say_yes(
    held: Hub, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    said = operator.reads(held.home.root, NEXT, "sync", "approve", SECOND, code=2)
    assert "nobody is there to be asked; say --yes" in said
    assert operator.asks(held.home.root, NEXT, "sync", "list")[1]["state"] == "held"


def test_a_program_cannot_be_asked_and_has_to_say_yes(held: Hub, operator: Operator) -> None:
    assert "say --yes" in operator.reads(held.home.root, NEXT, "sync", "approve", SECOND, "--json", code=2)


def test_a_refusal_needs_a_reason_and_its_edc_is_told_it(held: Hub, operator: Operator) -> None:
    root = held.home.root
    assert "--why" in operator.reads(root, NEXT, "sync", "refuse", SECOND, code=2)
    answer = operator.asks(root, NEXT, "sync", "refuse", SECOND, "--why", "half the accounts are missing")
    assert (answer["state"], answer["why"]) == ("refused", "half the accounts are missing")
    (report,) = [path for path in held.laid("cnp", "reports", ".sync.json") if path.name.startswith(SECOND)]
    assert json.loads(report.read_text())["why"] == "half the accounts are missing"
    assert operator.asks(root, NEXT, "sync", "list")[0]["state"] == "in-force"
    for word in ("approve", "refuse"):
        more = ("--yes",) if word == "approve" else ("--why", "again")
        assert operator.asks(root, NEXT, "sync", word, SECOND, *more, code=1)["error"]["code"] == "not-held"


def test_a_held_sync_gives_way_to_a_later_one_of_the_same_date_and_cannot_be_approved_after(
    held: Hub, operator: Operator
) -> None:
    held.on(minutes=5)
    (file,) = NIGHT.switch(CNP, accounts=1)
    held.upload("cnp", file.name.replace("001.csv", "002.csv"), file.content)
    states = {one["id"]: one["state"] for one in operator.asks(held.home.root, NEXT, "sync", "list")}
    assert states == {FIRST: "superseded", SECOND: "older", "S130904-cnp-2": "in-force"}
    error = operator.asks(held.home.root, NEXT, "sync", "approve", SECOND, "--yes", code=1)["error"]
    assert error["code"] == "not-held"
