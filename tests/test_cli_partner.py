"""`meterhub partner`: who may log in, kept in files that stay right."""

import json
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from config import partners
from config.home import Home
from config.partners import Partners
from exchange.cli.main import main

PUBLIC = asyncssh.generate_private_key("ssh-ed25519", comment="first").export_public_key("openssh").decode()
SECOND = asyncssh.generate_private_key("ssh-ed25519", comment="second").export_public_key("openssh").decode()


class Hub:
    """A home, and its command line."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._capsys = capsys
        (root / "config" / "partners").mkdir(parents=True)
        (root / "config" / "meterhub.toml").touch()

    @property
    def partners(self) -> Partners:
        return partners.load(self.root / "config" / "partners")

    def run(self, *words: str, code: int = 0) -> str:
        """What is said on standard output and standard error."""
        assert main(["--home", str(self.root), "partner", *words]) == code
        said = self._capsys.readouterr()
        return said.out + said.err

    def ask(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code))

    def add_cnp(self) -> None:
        self.run(
            *("add", "cnp", "--role", "edc", "--name", "CenterPoint [Energy]", "--duns", "957877905"),
            *("--time-zone", "America/Chicago", "--key", PUBLIC, "--allow-from", "203.0.113.0/24"),
        )


@pytest.fixture
def hub(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Hub:
    return Hub(tmp_path, capsys)


def test_a_new_partner_is_written_to_its_file_and_shown(hub: Hub) -> None:
    hub.add_cnp()
    cnp = hub.partners.by_id["cnp"]
    assert (cnp.duns, str(cnp.zone), [str(one) for one in cnp.allow_from]) == (
        "957877905",
        "America/Chicago",
        ["203.0.113.0/24"],
    )
    assert [key.comment for key in cnp.keys] == ["first"]
    shown = hub.run("show", "cnp")
    assert "CenterPoint [Energy]" in shown
    assert cnp.keys[0].fingerprint in shown
    (listed,) = hub.ask("list")
    assert listed == hub.ask("show", "cnp")
    assert "CenterPoint [Energy]" in hub.run("list")


def test_a_hub_without_partners_says_how_to_add_one(hub: Hub) -> None:
    assert "meterhub partner add" in hub.run("list")
    assert hub.ask("list") == []


def test_a_partner_that_cannot_be_is_refused_in_words_and_not_written(hub: Hub) -> None:
    told = hub.run("add", "cnp", "--role", "edc", "--name", "CenterPoint", "--duns", "957877905", code=1)
    assert "cnp.toml: time_zone is missing; wanted: an IANA time zone" in told
    assert hub.partners.by_id == {}


def test_a_duns_that_another_has_is_refused_and_not_written(hub: Hub) -> None:
    hub.add_cnp()
    told = hub.ask(
        *("add", "twin", "--role", "edc", "--name", "Twin", "--duns", "957877905"),
        *("--time-zone", "America/Chicago"),
        code=1,
    )
    assert "twin.toml: duns is 957877905" in told["error"]["message"]
    assert "cnp has it" in told["error"]["message"]
    assert list(hub.partners.by_id) == ["cnp"]


def test_a_partner_is_not_added_over_one_that_is_there(hub: Hub) -> None:
    hub.add_cnp()
    assert "there is a partner cnp already" in hub.run(
        "add", "cnp", "--role", "auditor", "--name", "X", code=1
    )


@pytest.mark.parametrize("login", ["../cnp", "CNP", "a/b", "cnp.toml"])
def test_a_login_that_could_lead_out_of_the_folder_is_refused(hub: Hub, login: str) -> None:
    hub.run("add", login, "--role", "auditor", "--name", "X", code=1)
    assert [path.name for path in hub.root.rglob("*.toml")] == ["meterhub.toml"]


def test_a_door_that_was_shut_can_be_opened_again(hub: Hub) -> None:
    hub.add_cnp()
    assert "may not log in" in hub.run("disable", "cnp")
    assert hub.partners.by_id["cnp"].disabled
    assert "disabled" in hub.run("list")
    hub.run("enable", "cnp")
    assert not hub.partners.by_id["cnp"].disabled


def test_keys_are_added_from_a_line_or_a_file_and_taken_away_again(hub: Hub, tmp_path: Path) -> None:
    hub.add_cnp()
    (tmp_path / "second.pub").write_text(SECOND)
    answer = hub.ask("key", "add", "cnp", str(tmp_path / "second.pub"), "--expires", "2027-01-31")
    assert [(key["comment"], key["expires"]) for key in answer["keys"]] == [
        ("first", None),
        ("second", "2027-01-31"),
    ]
    assert "already" in hub.run("key", "add", "cnp", SECOND, code=1)
    hub.run("key", "remove", "cnp", "first")
    assert [key.comment for key in hub.partners.by_id["cnp"].keys] == ["second"]
    assert "second" in hub.run("key", "remove", "cnp", "first", code=1)


def test_an_authority_is_added_shown_and_taken_away_like_a_key_and_is_none(hub: Hub) -> None:
    hub.add_cnp()
    answer = hub.ask("key", "add", "cnp", SECOND, "--ca", "--expires", "2027-01-31")
    assert [key["comment"] for key in answer["keys"]] == ["first"]
    (authority,) = answer["certificate_authorities"]
    assert (authority["comment"], authority["expires"]) == ("second", "2027-01-31")
    assert "certificate authority" in hub.run("show", "cnp")
    assert "authorities already" in hub.run("key", "add", "cnp", SECOND, "--ca", code=1)
    assert "0 keys have" in hub.run("key", "remove", "cnp", "second", code=1)
    assert "one certificate authority less" in hub.run("key", "remove", "cnp", "second", "--ca")
    assert hub.partners.by_id["cnp"].authorities == ()


def test_an_authority_of_another_partner_is_taken_and_who_shares_it_is_said(hub: Hub) -> None:
    hub.add_cnp()
    assert hub.ask("key", "add", "cnp", SECOND, "--ca")["warnings"] == []
    hub.run("add", "aud", "--role", "auditor", "--name", "A")
    (warning,) = hub.ask("key", "add", "aud", SECOND, "--ca")["warnings"]
    assert "signs for cnp, too: whoever holds it can sign for either login" in warning
    assert hub.partners.by_id["aud"].authorities == hub.partners.by_id["cnp"].authorities


def test_what_is_revoked_stands_in_the_partners_file_and_is_shown(hub: Hub) -> None:
    hub.add_cnp()
    for what in ("serial: 17", "serial: 20-29", "id: night-batch-3", SECOND.strip()):
        assert "opens no door of cnp any more" in hub.run("key", "revoke", "cnp", what)
    answer = hub.ask("show", "cnp")
    fingerprint = asyncssh.import_public_key(SECOND).get_fingerprint()
    assert answer["revoked"] == ["serial: 17", "serial: 20-29", "id: night-batch-3", fingerprint]
    assert "serial: 20-29" in hub.run("show", "cnp")
    assert "revoked already" in hub.run("key", "revoke", "cnp", "serial:17", code=1)
    assert "is not `serial: 17`" in hub.run("key", "revoke", "cnp", "17", code=1)


def test_a_file_that_holds_no_single_public_key_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.add_cnp()
    private = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "id").write_bytes(private.export_private_key("openssh"))
    assert "wanted: one public key" in hub.run("key", "add", "cnp", str(tmp_path / "id"), code=1)
    assert "none.pub is no public key, and no file is called so" in hub.run(
        "key", "add", "cnp", "none.pub", code=1
    )


def test_a_partner_that_is_not_there_is_told_with_the_nearest(hub: Hub) -> None:
    hub.add_cnp()
    for words in (["show"], ["disable"], ["enable"], ["key", "add"], ["key", "remove"]):
        more = ["x"] if words[0] == "key" else []
        assert "is cnp meant?" in hub.run(*words, "cmp", *more, code=1)


def test_a_duns_that_another_has_is_blamed_on_the_new_one_whatever_the_order_of_their_names(hub: Hub) -> None:
    hub.add_cnp()
    told = hub.run(
        *("add", "bbb", "--role", "edc", "--name", "B", "--duns", "957877905"),
        *("--time-zone", "America/Chicago"),
        code=1,
    )
    assert "bbb.toml: duns is 957877905" in told
    assert "cnp has it" in told


def test_a_login_that_cannot_be_is_told_once(hub: Hub) -> None:
    told = hub.run("add", "bad id", "--role", "auditor", "--name", "X", code=1)
    assert told.count("wanted:") == 1


def test_while_one_partners_file_is_broken_all_others_can_be_changed(hub: Hub) -> None:
    hub.add_cnp()
    bad = hub.root / "config" / "partners" / "bad.toml"
    bad.write_text("id = 3")
    home = Home(hub.root)
    for words in (["disable", "cnp"], ["enable", "cnp"], ["key", "add", "cnp", SECOND]):
        told = hub.run(*words)
        assert f"{bad}: id is 3" in told
        assert "(line 1)" in told
        assert "left out: bad" in told
    assert len(partners.known(home).by_id["cnp"].keys) == 2
    assert "cnp" in hub.run("list")
    told = hub.run("disable", "bad", code=3)
    assert f"{bad}: id is 3" in told
    assert "mend the file" in told
    assert bad.read_text() == "id = 3"
    assert f"{bad}: " in hub.run("show", "bad", code=3)
    bad.write_text("id ==")
    assert f"{bad}: " in hub.run("key", "add", "bad", SECOND, code=3)


def test_a_key_of_another_partner_and_one_that_is_over_are_taken_with_a_warning(hub: Hub) -> None:
    hub.add_cnp()
    shared = hub.ask("add", "aud", "--role", "auditor", "--name", "A", "--key", PUBLIC)
    (warning,) = shared["warnings"]
    assert "is a key of cnp, too" in warning
    told = hub.run("key", "add", "aud", SECOND, "--expires", "2001-01-31")
    assert "expired on 2001-01-31: nobody can log in with it" in told
    assert "is a key of cnp" not in told  # that one was there before


def test_a_wrong_usage_is_told_in_json_where_json_is_asked_for(hub: Hub) -> None:
    error = hub.ask("add", "aud", "--role", "king", "--name", "A", code=2)["error"]
    assert (error["code"], error["hint"]) == ("usage", "meterhub partner add --help")
    assert "king" in error["message"]


def test_json_may_be_asked_for_before_the_command_as_well(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add_cnp()
    assert main(["--home", str(hub.root), "--json", "partner", "list"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert before == hub.ask("list")
