"""Checksums beside uploads: held to what came, before or after it was loaded; never a drop of their own."""

import hashlib
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from hub_fixtures import CNP, Hub
from jobs.steps import arrive
from jobs_fixtures import Cut, interval_name, lse, send_sync
from schemas import checksum
from schemas.drop import Drop, Outcome, Stage

DAY = date(2013, 9, 2)
NAME = "957877905IntervalData20130903010203001.lse.gz"
SHA, MD5 = "a" * 64, "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "text",
    [
        "{digest}", "{digest}\n", "{digest}  {name}\n", "{digest} *{name}\r\n", "{digest}  /out/night/{name}\n",
        "\ufeff{digest}  {name}", "\\{digest}  a\\nb", "SHA256 ({name}) = {digest}\n", "SHA2-256({name})= {digest}\n",
        "# made by night.sh\n{digest}  {name}\n", "{digest}  night.tmp\n", "{digest}\n{digest}  {name}\n",
        "{other}  " + NAME + ".old\n{digest}  {name}\n{other}  b\n", "Hash of {name}:\n{digest}\nCertUtil: done\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["sha256", "md5"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_digest_is_found_as_every_tool_writes_it(text: str, kind: str, encoding: str) -> None:
    digest = {"sha256": SHA, "md5": MD5}[kind]
    said = checksum.Beside(file=NAME, kind=kind)
    for form in (digest, digest.upper()):
        content = text.format(digest=form, name=NAME, other="b" * len(digest))
        assert checksum.digest(content.encode(encoding), said) == digest


@pytest.mark.parametrize(
    "text",
    ["", "\0" * 64, SHA[1:], SHA + "a", "g" * 64, f"{SHA}  x\n{'b' * 64}  y\n", f"x{SHA}", MD5, "ä" * 64],
)
def test_what_gives_no_one_digest_gives_none(text: str) -> None:
    assert checksum.digest(text.encode(), checksum.Beside(file=NAME, kind="sha256")) == ""


@pytest.mark.parametrize(
    ("name", "file", "kind"),
    [(f"{NAME}.sha256", NAME, "sha256"), (f"{NAME[:-3]}.md5", NAME[:-3], "md5")],
)
def test_a_checksum_is_known_by_the_name_of_its_file(name: str, file: str, kind: str) -> None:
    assert checksum.beside(name) == checksum.Beside(file=file, kind=kind)


@pytest.mark.parametrize(
    "name",
    [NAME, "night.tmp.sha256", f"{NAME}.sha1", f"{NAME}.SHA256", f"{NAME}.sha256.tmp", "sha256", ".md5"],
)
def test_any_other_name_is_no_checksums(name: str) -> None:
    assert checksum.beside(name) is None


# ── Held to what came ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def content() -> bytes:
    return lse([Cut(account="A1", day=DAY), Cut(account="A2", day=DAY)])


def lay(hub: Hub, name: str, kind: str, text: str | bytes) -> str:
    """The upload of a checksum ends."""
    said = text if isinstance(text, bytes) else text.encode()
    hub.stores.mailboxes.part(CNP.id, f"{name}.{kind}").write_bytes(said)
    laid = arrive.ended(CNP.id, f"{name}.{kind}", stores=hub.stores, now=hub.now)
    assert isinstance(laid, arrive.Checksum)
    return laid.name


def digest(kind: str, content: bytes) -> str:
    return hashlib.new(kind, content).hexdigest()


def lying(hub: Hub) -> list[str]:
    return [name for name, _ in hub.stores.mailboxes.uploads(CNP.id)]


def late(hub: Hub, drop: Drop, kind: str) -> dict[str, Any]:
    (found,) = hub.laid(CNP.id, "receipts", f".{drop.id}.{kind}-came-late.json")
    said: dict[str, Any] = json.loads(found.read_text())
    return said


def stages(hub: Hub) -> list[str]:
    return [event["name"] for event in hub.events() if event["name"].startswith(("drop.", "checksum."))]


@pytest.mark.parametrize("kinds", [["sha256"], ["md5"], ["sha256", "md5"]])
def test_a_file_whose_checksum_came_before_it_and_agrees_is_loaded_and_its_receipt_says_so(
    hub: Hub, content: bytes, kinds: list[str]
) -> None:
    name = interval_name(hub)
    for kind in kinds:
        lay(hub, name, kind, f"{digest(kind, content)}  {name}\n")
    hub.sweep()
    assert [event for event in stages(hub) if event.startswith("drop.")] == []
    drop = hub.upload(CNP.id, name, content)
    assert drop.stage is Stage.LOADED
    assert hub.receipt(drop)["checksums_that_agree"] == sorted(kinds)
    assert lying(hub) == []
    hub.sweep()
    assert not hub.laid(CNP.id, "receipts", "-came-late.json")


@pytest.mark.parametrize("kind", ["sha256", "md5"])
@pytest.mark.parametrize("said", ["other", "", "no digest"])
def test_a_file_that_is_not_what_its_checksum_says_is_refused_and_kept_and_can_be_sent_again(
    hub: Hub, content: bytes, kind: str, said: str
) -> None:
    name = interval_name(hub)
    wanted = digest(kind, b"other") if said == "other" else said
    lay(hub, name, kind, wanted)
    drop = hub.upload(CNP.id, name, content)
    assert (drop.stage, drop.outcome) == (Stage.REFUSED, Outcome.REJECTED)
    (fault,) = hub.receipt(drop)["faults"]
    assert fault["code"] == "checksum"
    assert fault["found"] == (
        f"{kind} {digest(kind, content)}" if said == "other" else f"no {kind} that can be read"
    )
    assert "checksums_that_agree" not in hub.receipt(drop)
    assert hub.stores.archive.read(drop.sha256) == content
    hub.sweep()
    assert not hub.laid(CNP.id, "receipts", "-came-late.json")  # which has been said
    assert lying(hub) == [f"{name}.{kind}"]
    again = hub.upload(CNP.id, name, content)  # as wrong as before
    assert again.stage is Stage.REFUSED
    lay(hub, name, kind, digest(kind, content))
    last = hub.upload(CNP.id, name, content)
    assert last.stage is Stage.LOADED
    assert lying(hub) == []


def test_one_checksum_that_disagrees_refuses_the_file_whatever_the_other_says(
    hub: Hub, content: bytes
) -> None:
    name = interval_name(hub)
    lay(hub, name, "sha256", digest("sha256", content))
    lay(hub, name, "md5", MD5)
    drop = hub.upload(CNP.id, name, content)
    assert drop.stage is Stage.REFUSED
    assert lying(hub) == [f"{name}.md5"]


@pytest.mark.parametrize("kind", ["sha256", "md5"])
@pytest.mark.parametrize("agrees", [True, False])
def test_a_checksum_that_came_after_its_file_was_loaded_gets_a_receipt_and_changes_nothing(
    hub: Hub, content: bytes, kind: str, agrees: bool
) -> None:
    name = interval_name(hub)
    drop = hub.upload(CNP.id, name, content)
    hub.on(minutes=1)
    lay(hub, name, kind, digest(kind, content if agrees else b"other"))
    hub.sweep()
    said = late(hub, drop, kind)
    assert (said["agrees"], said["outcome"], said["found"]) == (agrees, "accepted", digest(kind, content))
    assert hub.drop(drop.id).stage is Stage.LOADED
    assert lying(hub) == ([] if agrees else [f"{name}.{kind}"])
    told = stages(hub)
    hub.on(minutes=1)
    hub.sweep()
    assert stages(hub) == told
    assert told.count("drop.loaded") == 1


def test_a_checksum_between_a_files_arrival_and_its_loading_is_in_time(hub: Hub, content: bytes) -> None:
    name = interval_name(hub)
    drop = hub.arrive(CNP.id, name, content)
    lay(hub, name, "sha256", SHA)
    hub.schedule.wake(drop.id)
    assert hub.drop(drop.id).stage is Stage.REFUSED


def test_the_same_bytes_wait_with_their_checksum_for_what_becomes_of_the_first(
    hub: Hub, content: bytes
) -> None:
    first = hub.upload(CNP.id, interval_name(hub), content)
    name = interval_name(hub)
    lay(hub, name, "sha256", digest("sha256", content))
    drop = hub.upload(CNP.id, name, content)
    assert (drop.stage, drop.duplicate_of) == (Stage.DUPLICATE, first.id)
    assert hub.receipt(drop)["checksums_that_agree"] == ["sha256"]


def test_a_checksum_beside_a_sync_is_held_to_it_as_well(hub: Hub) -> None:
    drop = send_sync(hub, {"A1": "799530915"})
    content = hub.stores.archive.read(drop.sha256)
    lay(hub, drop.name, "sha256", f"SHA256 ({drop.name}) = {digest('sha256', content)}")
    hub.sweep()
    assert late(hub, drop, "sha256")["agrees"] is True


# ── Never a drop ─────────────────────────────────────────────────────────────────────────────────


def test_a_checksum_alone_is_no_drop_and_goes_after_two_days_with_a_note(hub: Hub, content: bytes) -> None:
    name = lay(hub, interval_name(hub), "sha256", SHA)
    hub.on(hours=47)
    hub.sweep()
    assert lying(hub) == [name]
    hub.on(hours=2)
    hub.sweep()
    assert lying(hub) == []
    (note,) = hub.laid(CNP.id, "receipts", ".discarded.json")
    said = json.loads(note.read_text())
    assert said["checksum_of"] == name.removesuffix(".sha256")
    assert said["why"] == "no file that agrees with it came within 48 hours"
    assert stages(hub) == ["checksum.arrived", "checksum.discarded"]


def test_a_checksum_for_a_name_of_long_ago_waits_for_the_file_that_comes(hub: Hub, content: bytes) -> None:
    name = interval_name(hub)
    hub.upload(CNP.id, name, content)
    hub.on(days=3)
    new = lse([Cut(account="A3", day=DAY)])
    lay(hub, name, "sha256", digest("sha256", new))
    hub.sweep()
    assert not hub.laid(CNP.id, "receipts", "-came-late.json")
    drop = hub.upload(CNP.id, name, new)
    assert hub.receipt(drop)["checksums_that_agree"] == ["sha256"]


def test_a_checksum_comes_by_rename_and_after_breaking_off_as_any_upload(hub: Hub, content: bytes) -> None:
    name = interval_name(hub)
    said = f"{name}.sha256"
    whole, part = hub.stores.mailboxes.whole, hub.stores.mailboxes.part
    waiting = hub.arrive(CNP.id, "check.tmp", digest("sha256", content).encode())
    renamed = arrive.renamed(CNP.id, "check.tmp", said, whole=True, stores=hub.stores, now=hub.now)
    assert isinstance(renamed, arrive.Checksum)
    assert hub.drop(waiting.id).stage is Stage.DISCARDED
    whole(CNP.id, said).rename(part(CNP.id, said))
    arrive.resumed(CNP.id, said, whole=False, stores=hub.stores, now=hub.now)
    broken = arrive.broken(CNP.id, said, size=10, stores=hub.stores, now=hub.now)
    assert hub.drop(broken.id).stage is Stage.INCOMPLETE
    arrive.ended(CNP.id, said, stores=hub.stores, now=hub.now)
    assert hub.drop(broken.id).stage is Stage.DISCARDED
    assert hub.receipt(hub.upload(CNP.id, name, content))["checksums_that_agree"] == ["sha256"]


def test_a_checksum_can_be_renamed_away_and_removed(hub: Hub) -> None:
    said = lay(hub, interval_name(hub), "sha256", SHA)
    arrive.renamed(CNP.id, said, "other.tmp", whole=True, stores=hub.stores, now=hub.now)
    assert lying(hub) == ["other.tmp"]
    said = lay(hub, interval_name(hub), "md5", MD5)
    arrive.removed(CNP.id, said, whole=True, stores=hub.stores, now=hub.now)
    assert lying(hub) == ["other.tmp"]


def test_a_checksum_that_a_crash_left_unsaid_is_taken_up_by_the_next_sweep(hub: Hub, content: bytes) -> None:
    name = interval_name(hub)
    drop = hub.upload(CNP.id, name, content)
    hub.stores.mailboxes.whole(CNP.id, f"{name}.sha256").write_text(SHA)
    hub.sweep()
    assert late(hub, drop, "sha256")["agrees"] is False


def test_a_hub_killed_after_it_judged_a_file_by_its_checksum_says_it_once(
    make_hub: Callable[..., Hub], content: bytes
) -> None:
    """The checksum's file is still there, though the drop's receipt has told of it."""
    hub = make_hub()
    name = interval_name(hub)
    lay(hub, name, "sha256", digest("sha256", content))
    drop = hub.upload(CNP.id, name, content)
    lay(hub, name, "sha256", digest("sha256", content))
    hub.sweep()
    assert not hub.laid(CNP.id, "receipts", "-came-late.json")
    assert lying(hub) == []
    assert hub.drop(drop.id).checked == ("sha256",)
