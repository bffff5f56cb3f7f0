"""Names that some system, terminal or script could take for something else."""

import struct
from collections.abc import Iterator

from attacked_fixtures import CNP, Attacked
from attacks import attack
from attacks.paths import APPEND, CREAT, NO_ATTRIBUTES, OK, READ, TRUNC, WRITE, tree
from doors_fixtures import string
from exchange.sftp_v3 import Kind

EXCL = 32
NAMES = {
    "longer than a receipt can be called": ("x" * 201, "x" * 250, "x" * 255),
    "longer than a file can be called": ("x" * 256, "x" * 100_000),
    "none": ("", ".", "\0", "a\0b"),
    "hidden, or like an option": (".hidden", "-rf"),
    "a terminal's orders": ("a\nb", "a\rb", "\x1b[2Ja", "\x7f", "a\x85"),
    "another than it looks like": ("\N{RIGHT-TO-LEFT OVERRIDE}esl.exe", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
    "a shell's or another system's": ("a b", "a\\b", "a:b", "a*", "$(id)", "`id`", "a;b", "'", '"', "~", "%00"),
}  # fmt: skip


@attack(
    stock=[
        "longer than a receipt can be called",
        "hidden, or like an option",
        "a terminal's orders",
        "another than it looks like",
        "a shell's or another system's",
    ]
)
def a_name_that_no_upload_may_have(at: Attacked) -> Iterator[str]:
    own = at.folder(CNP, "inbound")
    with at.raw(CNP) as raw:
        for what, name in ((what, name) for what, several in NAMES.items() for name in several):
            path = string(f"inbound/{name}")
            (own / "own.tmp").write_bytes(b"mine")
            mine = string("inbound/own.tmp")
            for kind, body in (
                *((Kind.OPEN, path + struct.pack(">II", flags, 0)) for flags in (
                    WRITE | CREAT, WRITE | CREAT | TRUNC, WRITE | CREAT | EXCL, APPEND | CREAT, READ | CREAT)),
                (Kind.RENAME, mine + path),
                (Kind.EXTENDED, string("posix-rename@openssh.com") + mine + path),
                (Kind.MKDIR, path + NO_ATTRIBUTES),
                (Kind.STAT, path),
                (Kind.RENAME, path + string("inbound/other.tmp")),
                (Kind.REMOVE, path),
            ):  # fmt: skip
                answer, rest = raw.ask(kind, body)
                if answer == Kind.HANDLE:
                    raw.status(Kind.CLOSE, rest)
                code, words = int.from_bytes(rest[:4]), rest[8:]
                if answer == Kind.STATUS and code != OK and words == bytes(8):
                    yield "a refusal without words"
                if b"try again" in words:
                    yield "a mistake of the server's"
            if tree(own) != {"own.tmp": b"mine"}:
                yield what
                for file in own.iterdir():
                    file.rmdir() if file.is_dir() else file.unlink()
