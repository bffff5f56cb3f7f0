"""To another partner's file: by a spelling, a link, or a path that says something else than it seems to."""

import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from attacked_fixtures import CNP, ONC, Attacked
from attacks import attack
from doors_fixtures import Raw, string
from exchange.sftp_v3 import Kind

READ, WRITE, APPEND, CREAT, TRUNC = 1, 2, 4, 8, 16
OK = 0
REFUSED = {2, 3, 4, 8}  # no such file, permission denied, failure, unsupported
SECRET = b"of another partner"
NO_ATTRIBUTES = struct.pack(">I", 0)

SPELLINGS = (
    f"/{ONC}/inbound/secret",
    f"{ONC}/inbound/secret",
    f"../{ONC}/inbound/secret",
    f"/../{ONC}/inbound/secret",
    f"/../../sftp_root/{ONC}/inbound/secret",
    f"inbound/../../{ONC}/inbound/secret",
    f"inbound/./../../{ONC}/./inbound//secret",
    f"inbound//..//..//{ONC}//inbound//secret",
    f"inbound/../inbound/../../{ONC}/inbound/secret/.",
    f"inbound/.%2e/{ONC}/inbound/secret",
    f"inbound\\..\\..\\{ONC}\\inbound\\secret",
    f"inbound/..\\..\\{ONC}\\inbound\\secret",
    f"~{ONC}/inbound/secret",
    f"inbound/secret\0/../../../{ONC}/inbound/secret",
    f"\0../{ONC}/inbound/secret",
    f"inbound/link/{ONC}/inbound/secret",
    f"inbound/link-up/{ONC}/inbound/secret",
    "inbound/hard/secret",
    f"inbound/\N{FULLWIDTH FULL STOP}\N{FULLWIDTH FULL STOP}/{ONC}/inbound/secret",
    f"inbound/\xc0\xae\xc0\xae/{ONC}/inbound/secret",
    "/proc/self/cwd/etc/passwd",
    "/etc/passwd",
)
ON_A_PATH: tuple[Callable[[bytes], tuple[int, bytes]], ...] = (
    lambda path: (Kind.OPEN, path + struct.pack(">II", READ, 0)),
    lambda path: (Kind.OPEN, path + struct.pack(">II", WRITE, 0)),
    lambda path: (Kind.OPEN, path + struct.pack(">II", WRITE | APPEND, 0)),
    lambda path: (Kind.OPEN, path + struct.pack(">II", WRITE | CREAT | TRUNC, 0)),
    lambda path: (Kind.OPENDIR, path),
    lambda path: (Kind.STAT, path),
    lambda path: (Kind.LSTAT, path),
    lambda path: (Kind.REMOVE, path),
    lambda path: (Kind.RMDIR, path),
    lambda path: (Kind.MKDIR, path + NO_ATTRIBUTES),
    lambda path: (Kind.READLINK, path),
    lambda path: (Kind.RENAME, path + string("inbound/mine.tmp")),
    lambda path: (Kind.RENAME, string("inbound/own.tmp") + path),
    lambda path: (Kind.EXTENDED, string("posix-rename@openssh.com") + string("inbound/own.tmp") + path),
    lambda path: (Kind.SYMLINK, path + string("inbound/mine.tmp")),
    lambda path: (Kind.SYMLINK, string("inbound/mine.tmp") + path),
    lambda path: (Kind.EXTENDED, string("hardlink@openssh.com") + path + string("inbound/mine.tmp")),
    lambda path: (Kind.EXTENDED, string("lsetstat@openssh.com") + path + NO_ATTRIBUTES),
)


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, and what is in it."""
    found = (Path(folder) / name for folder, _, names in os.walk(root) for name in names)
    return {str(path.relative_to(root)): path.read_bytes() for path in found if not path.is_symlink()}


def lay_out(at: Attacked, *, links: bool) -> None:
    """A file of the other partner's and one of its own; and links, as if somebody had got them there."""
    own = at.folder(CNP, "inbound")
    for folder in (own, at.folder(ONC, "inbound")):
        shutil.rmtree(folder)
        folder.mkdir()
    (at.folder(ONC, "inbound") / "secret").write_bytes(SECRET)
    (own / "own.tmp").write_bytes(b"mine")
    if links:
        (own / "link").symlink_to(at.root)
        (own / "link-up").symlink_to("../..")


def read(raw: Raw, path: str) -> bytes:
    """What is in a file, if it can be had."""
    kind, handle = raw.ask(Kind.OPEN, string(path) + struct.pack(">II", READ, 0))
    if kind != Kind.HANDLE:
        return b""
    kind, found = raw.ask(Kind.READ, handle + struct.pack(">QI", 0, 100))
    return found[4:] if kind == Kind.DATA else b""


def spell(at: Attacked, *, links: bool) -> Iterator[str]:
    lay_out(at, links=links)
    before = tree(at.root)
    with at.raw(CNP) as raw:
        for spelling in SPELLINGS:
            path = string(spelling.encode("latin-1", "replace"))
            for asked in ON_A_PATH:
                kind, rest = raw.ask(*asked(path))
                if kind != Kind.STATUS or int.from_bytes(rest[:4]) not in REFUSED:
                    yield "it is answered"
                if ONC.encode() in rest or os.fsencode(at.root) in rest or b"try again" in rest:
                    yield "words that tell of the hub's inside"
                if tree(at.root) != before:
                    if tree(at.folder(ONC, "inbound")) != {"secret": SECRET}:
                        yield "another's folder is changed"
                    lay_out(at, links=links)
                    before = tree(at.root)
            # What is not there is answered alike, whoever has it.
            other = string(spelling.replace(ONC, "nobody").encode("latin-1", "replace"))
            for one in (Kind.STAT, Kind.SETSTAT):
                if raw.ask(one, other + NO_ATTRIBUTES) != raw.ask(one, path + NO_ATTRIBUTES):
                    yield "whether a file of another is there"
            if SECRET in read(raw, spelling):
                yield "another's file is read"


@attack(stock=["it is answered"])
def another_partners_file_by_any_spelling(at: Attacked) -> Iterator[str]:
    yield from spell(at, links=False)


@attack(stock=["it is answered", "another's folder is changed", "another's file is read"])
def another_partners_file_through_links_that_lie_there(at: Attacked) -> Iterator[str]:
    yield from spell(at, links=True)


@attack(stock=["a link is made", "another's file is read"])
def a_link_made_deep_inside_and_moved_up(at: Attacked) -> Iterator[str]:
    lay_out(at, links=False)
    target = string(f"../{ONC}/inbound/secret")
    with at.raw(CNP) as raw:
        for fields in (target + string("inbound/up"), string("inbound/up") + target):
            if raw.status(Kind.SYMLINK, fields)[0] == OK:
                yield "a link is made"
        raw.status(Kind.RENAME, string("inbound/up") + string("up"))
        for path in ("up", "inbound/up"):
            if read(raw, path) == SECRET:
                yield "another's file is read"


@attack(
    stock=[
        "a folder is made",
        "a hard link is made",
        "a file is moved to the hub's folder",
        "a file is moved to the top",
        "a folder is moved",
    ]
)
def folders_hard_links_and_moves_between_folders(at: Attacked) -> Iterator[str]:
    lay_out(at, links=False)
    own = string("inbound/own.tmp")
    with at.raw(CNP) as raw:
        for what, kind, body in (
            ("a folder is made", Kind.MKDIR, string("inbound/deep") + NO_ATTRIBUTES),
            ("a hard link is made", Kind.EXTENDED, string("hardlink@openssh.com") + own + string("inbound/b.tmp")),
            ("a file is moved to the hub's folder", Kind.RENAME, own + string("receipts/a.json")),
            ("a file is moved to the top", Kind.RENAME, string("inbound/b.tmp") + string("b.tmp")),
            ("a folder is moved", Kind.RENAME, string("receipts") + string("inbound/receipts")),
            ("a folder is taken away", Kind.RMDIR, string("inbound/receipts")),
        ):  # fmt: skip
            code, words = raw.status(kind, body)
            if code == OK:
                yield what
            elif not words:
                yield "a refusal without words"


@attack(stock=["another's file is written", "the link stays in the way"])
def an_upload_through_a_link_that_lies_in_its_way(at: Attacked) -> Iterator[str]:
    lay_out(at, links=False)
    own, secret = at.folder(CNP, "inbound"), at.folder(ONC, "inbound") / "secret"
    for name in ("a.tmp", ".a.tmp.part", "b.tmp"):
        (own / name).symlink_to(secret)
    with at.raw(CNP) as raw:
        for name, flags in (
            ("a.tmp", WRITE | APPEND), ("b.tmp", WRITE), ("a.tmp", WRITE | CREAT), ("b.tmp", WRITE | CREAT | TRUNC),
        ):  # fmt: skip
            kind, handle = raw.ask(Kind.OPEN, string(f"inbound/{name}") + struct.pack(">II", flags, 0))
            if kind == Kind.HANDLE:
                raw.write(handle, 0, b"mine")
                raw.status(Kind.CLOSE, handle)
        if secret.read_bytes() != SECRET:
            yield "another's file is written"
    if tree(own).get("b.tmp") != b"mine":
        yield "the link stays in the way"


@attack(stock=["it is given back"])
def a_path_of_a_quarter_of_a_megabyte(at: Attacked) -> Iterator[str]:
    with at.raw(CNP) as raw:
        for path in (b"a/" * 120_000, b"../" * 80_000, b"\n" * 250_000):
            for kind in (Kind.REALPATH, Kind.STAT, Kind.OPENDIR, Kind.REMOVE):
                _, rest = raw.ask(kind, string(path))
                if len(rest) > 1_000:
                    yield "it is given back"
                    return


@attack(
    stock=[
        "link is read",
        "link is seen",
        ".hidden is read",
        ".hidden is seen",
        "link is listed",
        ".hidden is listed",
    ]
)
def a_link_and_a_hidden_file_where_the_hub_lays_its_files(at: Attacked) -> Iterator[str]:
    lay_out(at, links=False)
    own = at.folder(CNP, "receipts")
    (own / "link").symlink_to(at.folder(ONC, "inbound") / "secret")
    (own / ".hidden").write_bytes(SECRET)
    with at.raw(CNP) as raw:
        for name in ("link", ".hidden"):
            if read(raw, f"receipts/{name}"):
                yield f"{name} is read"
            if raw.ask(Kind.STAT, string(f"receipts/{name}"))[0] != Kind.STATUS:
                yield f"{name} is seen"
        kind, handle = raw.ask(Kind.OPENDIR, string("receipts"))
        assert kind == Kind.HANDLE
        _, listed = raw.ask(Kind.READDIR, handle)
        for name in ("link", ".hidden"):
            if string(name) in listed:
                yield f"{name} is listed"
