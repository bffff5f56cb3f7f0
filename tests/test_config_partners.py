"""Partners: one file each, taken whole or refused in words, and read again when it changes."""

import json
import os
from collections.abc import Iterator
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncssh
import pytest
import structlog

from config import log, partner_file, partners
from config.errors import PartnerError, RefusedError
from config.home import Home
from config.legacy import Legacy
from config.partners import Role
from config.partners_folder import PartnersFolder
from config.revoked import Revoked
from config.settings import Settings

KEY = asyncssh.generate_private_key("ssh-ed25519", comment="night-batch")
OTHER = asyncssh.generate_private_key("ssh-ed25519", comment="by hand")
THIRD = asyncssh.generate_private_key("ssh-ed25519", comment="ops-ca")
PUBLIC = KEY.export_public_key("openssh").decode().strip()
THIRD_PUBLIC = THIRD.export_public_key("openssh").decode().strip()
OTHER_PUBLIC = OTHER.export_public_key("openssh").decode().strip()

# With words in the place of keys, so that tests have the same names at every run.
TEMPLATE = """
id = "cnp"                      # also the login
role = "edc"
name = "CenterPoint Energy"
duns = "957877905"
time_zone = "America/Chicago"
authorized_keys = ["KEY", { key = "OTHER", expires = 2027-01-31 }]
certificate_authorities = ["THIRD"]
revoked = ["serial: 17", "serial: 20-29", "id: night-batch 3", "FINGERPRINT", "THIRD"]
legacy = { until = 2027-03-31, allows = ["ssh-rsa", "hmac-sha1"] }
allow_from = ["203.0.113.0/24", "2001:db8::1"]
"""


def _filled(text: str) -> str:
    text = text.replace("FINGERPRINT", KEY.get_fingerprint()).replace("THIRD", THIRD_PUBLIC)
    return text.replace("KEY", PUBLIC).replace("OTHER", OTHER_PUBLIC).replace("CUT", PUBLIC[:60])


CNP = _filled(TEMPLATE)
PRAIRIE = 'id = "prairie"\nrole = "egs"\nname = "Prairie Power"\nduns = "990000011"\n'


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path)
    found.lay_out()
    log.configure(found, Settings(), console=False, strict=True)
    yield found
    structlog.reset_defaults()


def _events(home: Home) -> list[dict[str, object]]:
    lines = [line for file in sorted(home.logs.iterdir()) for line in file.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def _refusal(text: str, file: str = "cnp.toml") -> str:
    with pytest.raises(PartnerError) as refused:
        partners.parse(text, file=file)
    return refused.value.message


def test_a_partners_file_is_taken_as_it_is_written() -> None:
    cnp = partners.parse(CNP, file="cnp.toml")
    assert (cnp.id, cnp.role, cnp.name, cnp.duns) == ("cnp", Role.EDC, "CenterPoint Energy", "957877905")
    assert cnp.zone == ZoneInfo("America/Chicago")
    assert cnp.channels == {"4", "1"}
    assert cnp.allow_from == (ip_network("203.0.113.0/24"), ip_network("2001:db8::1/128"))
    assert not cnp.disabled
    first, second = cnp.keys
    assert (first.line, first.comment, first.expires) == (PUBLIC, "night-batch", None)
    assert (second.comment, second.expires) == ("by hand", date(2027, 1, 31))
    assert first.fingerprint == KEY.get_fingerprint()
    (authority,) = cnp.authorities
    assert (authority.comment, authority.fingerprint) == ("ops-ca", THIRD.get_fingerprint())
    assert cnp.revoked.serials == ((17, 17), (20, 29))
    assert cnp.revoked.key_ids == {"night-batch 3"}
    assert cnp.revoked.keys == {KEY.get_fingerprint(), THIRD.get_fingerprint()}
    assert cnp.legacy == Legacy(until=date(2027, 3, 31), allows=frozenset({"ssh-rsa", "hmac-sha1"}))


def test_a_partner_that_says_nothing_of_them_has_no_authority_and_nothing_old() -> None:
    one = partners.parse(PRAIRIE, file="prairie.toml")
    assert (one.authorities, one.revoked, one.legacy) == ((), Revoked(), None)


def test_an_authority_may_be_that_of_several_partners() -> None:
    mine = f'{PRAIRIE}certificate_authorities = ["{PUBLIC}"]\n'
    twin = mine.replace("prairie", "twin").replace("990000011", "990000022")
    known = partners.gather({"prairie.toml": mine, "twin.toml": twin})
    assert known.by_id["prairie"].authorities == known.by_id["twin"].authorities != ()


def test_auditors_and_third_parties_need_no_duns_and_have_no_zone() -> None:
    for role in (Role.AUDITOR, Role.THIRD_PARTY):
        one = partners.parse(f'id = "x"\nrole = "{role}"\nname = "X"', file="x.toml")
        assert (one.duns, one.zone, one.channels) == ("", None, frozenset())


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"cnp"', '"CNP"', 'cnp.toml: id is "CNP"; wanted: a to z first'),
        ('"cnp"', '"../etc"', 'cnp.toml: id is "../etc"; wanted: a to z first'),
        ('"cnp"', '"cnq"', 'cnp.toml: id is "cnq"; wanted: cnp, as its file is named'),
        ('role = "edc"', 'role = "edk"', 'role is "edk"; wanted: edc or egs or third_party or auditor'),
        ('role = "edc"', "", "role is missing; wanted: edc or egs"),
        ('name = "CenterPoint Energy"', "", "name is missing; wanted: a name"),
        ('"957877905"', "957877905", "duns is 957877905; wanted: 9 to 13 of A-Z and 0-9"),
        ('"957877905"', '"12345678"', 'duns is "12345678"; wanted: 9 to 13'),
        ('"America/Chicago"', '"America/Chigaco"', 'time_zone is "America/Chigaco"; wanted: an IANA time zone such as America/Chicago'),
        ('time_zone = "America/Chicago"', "", "time_zone is missing; wanted: an IANA time zone"),
        ("203.0.113.0/24", "203.0.113.7/24", 'allow_from is "203.0.113.7/24"; wanted: a network'),
        ("time_zone", "timezone", "there is no key timezone; the nearest is time_zone"),
        ('["THIRD"]', '["KEY", "KEY"]', "certificate_authorities is \"SHA256:"),
        ('["THIRD"]', '[{ key = "THIRD", until = 2027-01-31 }]', "only `key` and `expires`"),
        ('"serial: 17"', '"17"', 'revoked is "17"; wanted: `serial: 17`, `serial: 20-29`, `id: KEY-ID`'),
        ('"serial: 17"', '"serial: 18446744073709551616999"', "wanted: `serial: 17`"),
        ('"serial: 20-29"', '"serial: 29-20"', "wanted: the lower serial first"),
        ('"serial: 17"', "17", "revoked is 17; wanted: `serial: 17`"),
        ("until = 2027-03-31, ", "", "wanted: its last day: until = 2027-03-31"),
        ("until = 2027-03-31", 'until = "spring"', "a date such as 2027-01-31 in `until`"),
        ('["ssh-rsa", "hmac-sha1"]', "[]", "wanted: the algorithms it allows"),
        ('"hmac-sha1"', '"hmac-md5"', "wanted: algorithms among ecdh-sha2-nistp256"),
        ('"hmac-sha1"', '["hmac-sha1"]', "wanted: algorithms among ecdh-sha2-nistp256"),
        ('"hmac-sha1"', '"diffie-hellman-group1-sha1"', "wanted: algorithms among ecdh-sha2-nistp256"),
        ("allows =", "allow =", "only `until` and `allows`, not `allow`"),
        ("{ until = 2027-03-31", "[{ until = 2027-03-31", "Unclosed"),
        ('allow_from = ["203.0.113.0/24", "2001:db8::1"]', "", "allow_from is missing; wanted: the partner's own addresses"),
        ("203.0.113.0/24", "0.0.0.0/0", 'allow_from is "0.0.0.0/0"; wanted: the partner\'s own addresses'),
        ("2001:db8::1", "2000::/3", 'allow_from is "2000::/3"; wanted: the partner\'s own addresses'),
        ("KEY", "ssh-dss AAAA", "wanted: a public key"),
        ("KEY", "CUT", "the middle part is cut off"),
        ("KEY", "ssh-ed25519 A*A", "the middle part is not base64"),
        ("KEY", "command=x KEY", "with no options before it"),
        ("KEY", "OTHER", "wanted: each key once"),
        ("2027-01-31", '"soon"', "a date such as 2027-01-31"),
        ("expires", "until", "only `key` and `expires`"),
        ('role = "edc"', 'role = "egs"', 'time_zone is "America/Chicago"; wanted: nothing; a partner of role egs has none'),
        ("allow_from", "channels = []\nallow_from", "channels is []; wanted: at least one channel"),
        ("allow_from", "channels = [4]\nallow_from", "channels is 4; wanted: channels in quotes"),
        ("allow_from", "disabled = 1\nallow_from", "disabled is 1; wanted: true or false"),
        ("role =", "role ==", "cnp.toml: Invalid value"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_partners_file_is_refused_in_words(before: str, after: str, said: str) -> None:
    assert before in TEMPLATE
    assert said in _refusal(_filled(TEMPLATE.replace(before, after)))


def test_a_supplier_may_not_ask_for_a_format_that_is_not_laid_out() -> None:
    assert partners.parse(PRAIRIE + 'format = "lse"', file="prairie.toml").format == "lse"
    assert "no other format is laid out yet" in _refusal(PRAIRIE + 'format = "csv"', "prairie.toml")


def test_a_weak_rsa_key_is_refused_and_a_strong_one_taken() -> None:
    def file(bits: int) -> str:
        key = asyncssh.generate_private_key("ssh-rsa", key_size=bits)
        return PRAIRIE + f'authorized_keys = ["{key.export_public_key("openssh").decode().strip()}"]'

    assert "at least 2048 bits; this one has 1024" in _refusal(file(1024), "prairie.toml")
    assert len(partners.parse(file(2048), file="prairie.toml").keys) == 1


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"])
def test_elliptic_keys_are_taken_with_openssh_fingerprints(kind: str) -> None:
    key = asyncssh.generate_private_key(kind)
    text = PRAIRIE + f'authorized_keys = ["{key.export_public_key("openssh").decode().strip()}"]'
    assert partners.parse(text, file="prairie.toml").keys[0].fingerprint == key.get_fingerprint()


def test_a_private_key_is_refused_and_not_repeated() -> None:
    secret = KEY.export_private_key("openssh").decode().replace("\n", " ").strip()
    for entry in (f'"{secret}"', f'{{ key = "{secret}" }}'):
        told = _refusal(PRAIRIE + f"authorized_keys = [{entry}]", "prairie.toml")
        assert "this is a private one" in told
        assert secret[40:100] not in told


def test_all_mistakes_of_all_files_are_named_at_once() -> None:
    with pytest.raises(PartnerError) as refused:
        partners.gather({"cnp.toml": CNP.replace("edc", "x"), "prairie.toml": PRAIRIE.replace("99", "!")})
    assert "cnp.toml: role" in refused.value.message
    assert "prairie.toml: duns" in refused.value.message


def test_two_partners_of_one_role_may_not_share_a_duns() -> None:
    twin = PRAIRIE.replace("prairie", "twin")
    with pytest.raises(
        PartnerError, match=r"twin\.toml: duns is 990000011; wanted: one that no other egs has"
    ):
        partners.gather({"prairie.toml": PRAIRIE, "twin.toml": twin})
    other_role = PRAIRIE.replace("prairie", "twin").replace('"egs"', '"third_party"')
    assert len(partners.gather({"prairie.toml": PRAIRIE, "twin.toml": other_role}).by_id) == 2


def test_partners_are_found_by_login_role_and_duns(tmp_path: Path) -> None:
    (tmp_path / "cnp.toml").write_text(CNP)
    (tmp_path / "prairie.toml").write_text(PRAIRIE)
    (tmp_path / ".cnp.toml.aside.toml").write_text("half")
    (tmp_path / "prairie.toml~").write_text("an editor's")
    known = partners.load(tmp_path)
    assert list(known.by_id) == ["cnp", "prairie"]
    assert known.get("nobody") is None
    assert [one.id for one in known.edcs] == ["cnp"]
    assert [one.id for one in known.egss] == ["prairie"]
    assert known.by_duns(Role.EGS, "990000011") is known.get("prairie")
    assert known.by_duns(Role.EDC, "990000011") is None


def test_a_folder_that_is_missing_holds_no_partners(tmp_path: Path) -> None:
    assert partners.load(tmp_path / "none").by_id == {}


def test_a_change_is_seen_at_the_next_look(home: Home) -> None:
    folder = PartnersFolder(home.partners)
    assert folder.current().by_id == {}
    file = home.partners / "prairie.toml"
    file.write_text(PRAIRIE)
    assert list(folder.current().by_id) == ["prairie"]
    same = folder.current()
    assert folder.current() is same
    file.write_text(PRAIRIE.replace("Prairie", "Gulf"))
    os.utime(file, ns=(1, 1))
    assert folder.current().by_id["prairie"].name == "Gulf Power"
    file.unlink()
    assert folder.current().by_id == {}
    assert [event["event"] for event in _events(home)] == ["partners.read"] * 3


def test_of_one_partner_that_is_asked_for_a_change_is_seen_at_once_too(home: Home) -> None:
    folder = PartnersFolder(home.partners)
    assert folder.one("prairie") is None
    file = home.partners / "prairie.toml"
    file.write_text(PRAIRIE)
    first = folder.one("prairie")
    assert first is not None
    assert folder.one("prairie") is first
    file.write_text(PRAIRIE.replace("Prairie", "Gulf"))
    os.utime(file, ns=(1, 1))
    second = folder.one("prairie")
    assert second is not None
    assert (first.name, second.name) == ("Prairie Power", "Gulf Power")
    file.unlink()
    assert folder.one("prairie") is None


def test_of_one_partner_nothing_is_told_at_once_that_has_to_be_read_first(home: Home) -> None:
    folder = PartnersFolder(home.partners)
    file = home.partners / "prairie.toml"
    file.write_text(PRAIRIE)
    assert folder.one_at_once("prairie") is None
    known = folder.one("prairie")
    assert known is not None
    assert folder.one_at_once("prairie") is known
    file.write_text(PRAIRIE.replace("Prairie", "Gulf"))
    os.utime(file, ns=(1, 1))
    assert folder.one_at_once("prairie") is None
    assert folder.one("prairie") is folder.one_at_once("prairie")
    file.unlink()
    assert folder.one_at_once("prairie") is None


def test_a_broken_edit_leaves_everything_as_it_was_and_is_told_once(home: Home) -> None:
    file = home.partners / "prairie.toml"
    file.write_text(PRAIRIE)
    folder = PartnersFolder(home.partners)
    file.write_text(PRAIRIE + "allow_from = 3\n")
    for _ in range(3):
        assert folder.current().by_id["prairie"].name == "Prairie Power"
    (event,) = _events(home)
    assert (event["event"], event["level"]) == ("partners.refused", "error")
    assert "prairie.toml: allow_from is 3" in str(event["mistakes"])
    file.write_text(PRAIRIE.replace("Prairie", "Gulf"))
    assert folder.current().by_id["prairie"].name == "Gulf Power"


def test_a_partner_of_whom_nothing_good_is_known_is_left_out_alone(home: Home) -> None:
    (home.partners / "cnp.toml").write_text(CNP)
    (home.partners / "prairie.toml").write_text("id = 3")
    (home.partners / "gulf.toml").write_bytes(b"\xff")
    known = PartnersFolder(home.partners, home.kept_partners).current()
    assert (list(known.by_id), known.left_out) == (["cnp"], {"prairie", "gulf"})
    gulf, *prairie = "\n".join(known.mistakes).splitlines()
    assert gulf.startswith(f"{home.partners}/gulf.toml: it cannot be read")
    assert prairie[0] == (
        f"{home.partners}/prairie.toml: role is missing; wanted: edc or egs or third_party or auditor"
    )
    assert any("id is 3; wanted: a to z first" in line and line.endswith("(line 1)") for line in prairie)
    (event,) = _events(home)
    assert (event["event"], event["left_out"]) == ("partners.refused", ["gulf", "prairie"])
    assert partners.known(home) == known


def test_a_new_process_knows_a_partner_whose_file_was_broken_since(home: Home) -> None:
    file = home.partners / "prairie.toml"
    file.write_text(PRAIRIE)
    (home.partners / "cnp.toml").write_text(CNP)
    PartnersFolder(home.partners, home.kept_partners)
    file.write_text(PRAIRIE + "role ==\n")
    for known in (PartnersFolder(home.partners, home.kept_partners).current(), partners.known(home)):
        assert known.by_id["prairie"].name == "Prairie Power"
        assert known.left_out == frozenset()
        (mistake,) = known.mistakes
        assert mistake.startswith(f"{file}: ")
        assert "line 5" in mistake
    file.write_text(PRAIRIE.replace("Prairie", "Gulf"))
    assert PartnersFolder(home.partners, home.kept_partners).current().by_id["prairie"].name == "Gulf Power"
    file.write_text("")
    assert partners.known(home).by_id["prairie"].name == "Gulf Power"


def test_the_others_are_read_as_they_are_while_one_file_is_broken(home: Home) -> None:
    (home.partners / "prairie.toml").write_text(PRAIRIE)
    (home.partners / "cnp.toml").write_text(CNP)
    folder = PartnersFolder(home.partners, home.kept_partners)
    (home.partners / "prairie.toml").write_text("id = 3")
    (home.partners / "cnp.toml").write_text("disabled = true\n" + CNP)
    assert folder.current().by_id["cnp"].disabled
    assert folder.current().by_id["prairie"].name == "Prairie Power"


def test_a_partner_whose_file_is_taken_away_is_gone_and_no_copy_brings_it_back(home: Home) -> None:
    file = home.partners / "prairie.toml"
    file.write_text(PRAIRIE)
    folder = PartnersFolder(home.partners, home.kept_partners)
    file.unlink()
    assert folder.current().by_id == {}
    file.write_text("id = 3")
    assert PartnersFolder(home.partners, home.kept_partners).current().left_out == {"prairie"}


def test_what_another_process_took_meanwhile_is_what_a_broken_file_falls_back_to(home: Home) -> None:
    file = home.partners / "prairie.toml"
    file.write_text(PRAIRIE)
    older = PartnersFolder(home.partners, home.kept_partners)
    file.write_text(PRAIRIE.replace("Prairie", "Gulf"))
    PartnersFolder(home.partners, home.kept_partners)
    file.write_text("id = 3")
    assert older.current().by_id["prairie"].name == "Gulf Power"
    assert partners.known(home).by_id["prairie"].name == "Gulf Power"


def test_of_two_with_one_duns_the_one_that_is_new_is_refused(home: Home) -> None:
    (home.partners / "prairie.toml").write_text(PRAIRIE)
    folder = PartnersFolder(home.partners, home.kept_partners)
    (home.partners / "amber.toml").write_text(PRAIRIE.replace("prairie", "amber"))
    known = folder.current()
    assert (list(known.by_id), known.left_out) == (["prairie"], {"amber"})
    (mistake,) = known.mistakes
    assert mistake.startswith(f"{home.partners}/amber.toml: duns is 990000011")
    assert mistake.endswith("prairie has it")
    broken = PRAIRIE.replace("name", "nome")
    (home.partners / "prairie.toml").write_text(broken)  # and what stands in for it keeps its DUNS, too
    assert list(folder.current().by_id) == ["prairie"]


def test_a_mistaken_id_is_told_once() -> None:
    assert _refusal(PRAIRIE.replace("prairie", "bad id"), "bad id.toml").splitlines() == [
        'bad id.toml: id is "bad id"; wanted: a to z first, then a to z, 0 to 9 and -, at most 32'
    ]


def test_edits_keep_what_people_wrote_in_a_file() -> None:
    text = partner_file.with_disabled(CNP, True)
    assert "# also the login" in text
    assert partners.parse(text, file="cnp.toml").disabled
    assert partner_file.with_disabled(text, False).replace(" }", "}") == CNP.replace(" }", "}")


def test_a_key_can_be_added_with_its_last_day_and_removed_by_comment_or_fingerprint() -> None:
    third = asyncssh.generate_private_key("ssh-ed25519", comment="third")
    public = third.export_public_key("openssh").decode()
    text = partner_file.with_key(CNP, public, expires=date(2026, 12, 31))
    added = partners.parse(text, file="cnp.toml").keys[-1]
    assert (added.comment, added.expires) == ("third", date(2026, 12, 31))
    for which in ("third", third.get_fingerprint()):
        after = partners.parse(partner_file.without_key(text, which), file="cnp.toml")
        assert [key.comment for key in after.keys] == ["night-batch", "by hand"]


def test_no_key_is_added_twice_and_none_removed_by_guess() -> None:
    with pytest.raises(RefusedError, match="already"):
        partner_file.with_key(CNP, PUBLIC)
    with pytest.raises(RefusedError, match="this is not a public key"):
        partner_file.with_key(CNP, "ssh-ed25519")
    with pytest.raises(RefusedError, match="0 keys have the fingerprint or comment 'x'"):
        partner_file.without_key(CNP, "x")
    same = CNP.replace("by hand", "night-batch")
    with pytest.raises(RefusedError, match="2 keys have"):
        partner_file.without_key(same, "night-batch")
