"""Keys that end are warned of 30, 14 and 3 days ahead, once each, and whoever loses the last one is named."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncssh
import pytest

from config.partners_folder import PartnersFolder
from exchange import keys
from hub_fixtures import Hub
from jobs.rules import expiry
from jobs.steps import visit
from jobs.steps.expiry import warn
from look_fixtures import Desk
from schemas.visit import Visit

END = date(2013, 12, 31)
MakeHub = Callable[..., Hub]


@pytest.fixture
def quiet(make_hub: MakeHub) -> Hub:
    """A hub without EDCs, which would need an operator, 40 days before END."""
    hub = make_hub()
    for name in ("cnp", "ppl"):
        hub.remove_partner(name)
    hub.at(days_before(40))
    return hub


def days_before(days: int) -> datetime:
    return datetime.combine(END - timedelta(days=days), datetime.min.time(), UTC)


def key(expires: date | None = None) -> str:
    line = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    return f'"{line}"' if expires is None else f'{{ key = "{line}", expires = {expires} }}'


def give(hub: Hub, *entries: str, more: str = "") -> None:
    text = 'id = "aud"\nrole = "auditor"\nname = "Audit"\n'
    hub.add_partner(f"{text}authorized_keys = [{', '.join(entries)}]\n{more}", "aud")


def told(hub: Hub) -> list[dict[str, Any]]:
    return [event["details"] for event in hub.events("key.expiring")]


def test_each_warning_is_told_once_whatever_sweeps_and_restarts_come_between(quiet: Hub) -> None:
    give(quiet, key(END))
    for days in range(40, -3, -1):
        for hours in (0, 12):
            quiet.at(days_before(days) + timedelta(hours=hours))
            quiet.sweep()
        if days in {30, 3}:
            quiet.restart()
            quiet.sweep()
    assert [event["days"] for event in told(quiet)] == [30, 14, 3]
    assert {event["expires"] for event in told(quiet)} == {"2013-12-31"}
    (one, *_) = quiet.events("key.expiring")
    assert one["partner"] == "aud"
    assert one["about"].startswith("SHA256:")


def test_after_days_off_only_the_nearest_warning_is_told(quiet: Hub) -> None:
    give(quiet, key(END))
    quiet.at(days_before(10))
    quiet.sweep()
    quiet.sweep()
    assert [event["days"] for event in told(quiet)] == [10]
    quiet.at(days_before(2))
    quiet.sweep()
    assert [event["days"] for event in told(quiet)] == [10, 2]


def test_a_key_whose_end_was_put_off_is_warned_of_anew(quiet: Hub) -> None:
    entry = key(END)
    give(quiet, entry)
    quiet.at(days_before(3))
    quiet.sweep()
    give(quiet, entry.replace(str(END), str(END + timedelta(days=100))))
    quiet.sweep()
    quiet.on(days=73)
    quiet.sweep()
    assert [(event["days"], event["expires"]) for event in told(quiet)] == [
        (3, "2013-12-31"),
        (30, "2014-04-10"),
    ]


def test_an_authority_and_an_exception_are_warned_of_as_keys_are(quiet: Hub) -> None:
    entry, later = key(END), key(END + timedelta(days=9))
    more = f"""certificate_authorities = [{entry}, {later}]
allow_from = ["192.0.2.7"]
legacy = {{ until = {END}, allows = ["ssh-rsa", "hmac-sha1"] }}
"""
    give(quiet, more=more)
    for days in range(40, -3, -1):
        quiet.at(days_before(days))
        quiet.sweep()
    ended = [event["details"] for event in quiet.events("authority.expiring")]
    assert [event["days"] for event in ended if event["expires"] == "2013-12-31"] == [30, 14, 3]
    assert {event["others"] for event in ended if event["expires"] == "2013-12-31"} == {1}
    assert quiet.events("authority.expiring")[0]["about"].startswith("SHA256:")
    found = quiet.events("legacy.expiring")
    assert [event["details"]["days"] for event in found] == [30, 14, 3]
    assert {event["partner"] for event in found} == {"aud"}
    assert found[0]["details"]["algorithms"] == ["hmac-sha1", "ssh-rsa"]
    assert told(quiet) == []


def shown(hub: Hub, key_id: str, *, since: datetime, until: datetime) -> None:
    """The partner has come with such a certificate."""
    certificate = {"key": "SHA256:k", "key_id": key_id, "serial": 7, "authority": "SHA256:a"}
    validity = {"since": int(since.timestamp()), "until": int(until.timestamp())}
    came = Visit(
        partner="aud",
        client="SSH-2.0-x",
        spoken={},
        offers={},
        credential="SHA256:a",
        certificate=certificate | validity,
        addresses=["192.0.2.1"],
        began=[hub.now],
        most_at_once=1,
    )
    visit.note([came], [], stores=hub.stores, now=hub.now)


def test_a_certificate_that_was_made_for_long_is_warned_of_until_a_newer_one_is_seen(quiet: Hub) -> None:
    give(quiet, more=f"certificate_authorities = [{key()}]\n")
    end = days_before(0)
    shown(quiet, "yearly", since=end - timedelta(days=365), until=end)
    for days in range(40, 10, -1):
        quiet.at(days_before(days))
        quiet.sweep()
    found = quiet.events("certificate.expiring")
    assert [event["details"]["days"] for event in found] == [30, 14]
    details = {
        "expires": "2013-12-30",
        "key_id": "yearly",
        "serial": 7,
    }  # it is not good on the 31st any more
    assert details.items() <= found[0]["details"].items()
    shown(quiet, "yearly", since=end, until=end + timedelta(days=365))
    quiet.at(days_before(2))
    quiet.sweep()
    assert len(quiet.events("certificate.expiring")) == 2


def test_a_certificate_that_is_made_anew_every_week_is_not_warned_of(quiet: Hub) -> None:
    give(quiet, more=f"certificate_authorities = [{key()}]\n")
    shown(quiet, "weekly", since=days_before(7), until=days_before(0))
    quiet.at(days_before(2))
    quiet.sweep()
    assert quiet.events("certificate.expiring") == []


def test_two_processes_do_not_tell_the_same_warning(quiet: Hub) -> None:
    give(quiet, key(END), key(END))
    quiet.at(days_before(14))
    assert len(warn(stores=quiet.stores, now=quiet.now)) == 2
    assert warn(stores=quiet.stores, now=quiet.now) == ()
    assert len(told(quiet)) == 2


def test_no_warning_is_given_for_those_who_may_not_log_in_anyway(quiet: Hub) -> None:
    give(quiet, key(END), more="disabled = true\n")
    quiet.at(days_before(3))
    quiet.sweep()
    assert told(quiet) == []


@pytest.mark.parametrize(
    ("left", "due"),
    [(31, None), (30, 30), (15, 30), (14, 14), (4, 14), (3, 3), (0, 3), (-1, None), (-400, None)],
)
def test_a_warning_is_due_from_its_day_on_until_the_next(left: int, due: int | None) -> None:
    assert expiry.warning_due(END, today=END - timedelta(days=left)) == due
    assert expiry.warning_due(None, today=END) is None


def test_the_last_day_in_the_warning_is_the_last_on_which_the_door_opens(quiet: Hub) -> None:
    give(quiet, key(END))
    partner = PartnersFolder(quiet.home.partners).current().get("aud")
    assert partner is not None
    for left in (1, 0, -1):
        today = END - timedelta(days=left)
        proof = keys.Proof(fingerprint=partner.keys[0].fingerprint)
        late = datetime.combine(today, datetime.max.time(), UTC)
        refused = keys.refusal(partner, proof=proof, address="192.0.2.7", now=late)
        assert (refused is None) == (expiry.days_left(END, today=today) >= 0) == (left >= 0)


# ── What an operator is shown ────────────────────────────────────────────────────────────────────


def needs(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, str, str]]:
    answer = Desk(hub, capsys, monkeypatch).ask("status", "--json")
    found = [(need["partner"], need["what"], need["run"]) for need in answer.json["needs"]]
    assert answer.code == (3 if found else 0)
    return found


def test_a_partner_that_will_have_no_key_needs_an_operator_until_it_has_another(
    quiet: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, run = key(END), "meterhub partner key add aud FILE"
    give(quiet, entry, key(END - timedelta(days=20)))
    said = []
    for days in (31, 30, 1, 0, -1):
        quiet.at(days_before(days))
        said.append(needs(quiet, capsys, monkeypatch))
    expires = "its last key expires on 2013-12-31"
    assert said == [
        [],
        [("aud", f"{expires}, in 30 days", run)],
        [("aud", f"{expires}, in 1 day", run)],
        [("aud", f"{expires}, today", run)],
        [("aud", "its last key expired on 2013-12-31: it cannot log in", run)],
    ]
    give(quiet, entry, key(END + timedelta(days=400)))
    assert needs(quiet, capsys, monkeypatch) == []
    give(quiet, entry, key())
    assert needs(quiet, capsys, monkeypatch) == []
    give(quiet, entry, more="disabled = true\n")
    assert needs(quiet, capsys, monkeypatch) == []
    give(quiet, entry, more=f"certificate_authorities = [{key()}]\n")  # which opens the door for ever
    assert needs(quiet, capsys, monkeypatch) == []


def test_an_exception_that_ends_soon_needs_an_operator(
    quiet: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(
        quiet,
        key(),
        more=f"""allow_from = ["192.0.2.7"]
legacy = {{ until = {END}, allows = ["ssh-rsa"] }}
""",
    )
    what = "its exception for old algorithms ends on 2013-12-31"
    for days, wanted in ((31, []), (30, [("aud", what, "meterhub doctor aud")]), (-1, [])):
        quiet.at(days_before(days))
        assert needs(quiet, capsys, monkeypatch) == wanted
