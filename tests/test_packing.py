"""Gzip: in any shape that its makers give it, and never more of it than is asked for."""

import gzip
import resource
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_fixtures import PATIENCE
from interruption_fixtures import FORKS
from schemas import packing
from schemas.fault import Fault

MANY = 1 << 40


@given(st.lists(st.binary(max_size=2000), min_size=1), st.integers(0, 9), st.integers(0, 600))
def test_members_and_padding_unpack_to_what_was_packed(parts: list[bytes], level: int, zeros: int) -> None:
    packed = b"".join(gzip.compress(part, level) for part in parts) + bytes(zeros)
    assert packing.unpack(packed, limit=MANY) == b"".join(parts)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 5_000_000])
def test_sizes_around_what_is_read_at_once(size: int) -> None:
    content = bytes(k * 7 % 251 for k in range(size))
    for level in (0, 6):
        assert packing.unpack(gzip.compress(content, level), limit=MANY) == content


@given(st.binary(min_size=1, max_size=300), st.data())
def test_whatever_is_cut_off_or_changed_is_broken_or_the_same(content: bytes, data: st.DataObject) -> None:
    packed = gzip.compress(content, mtime=0)
    cut = data.draw(st.integers(0, len(packed) - 1))
    found = packing.unpack(packed[:cut], limit=MANY)
    assert isinstance(found, Fault)
    assert (found.code, bool(found.found)) == ("broken-gzip", True)
    at = data.draw(st.integers(0, len(packed) - 1))
    changed = bytearray(packed)
    changed[at] ^= data.draw(st.integers(1, 255))
    answer = packing.unpack(bytes(changed), limit=MANY)
    assert answer == content or isinstance(answer, Fault)


PACKED = gzip.compress(bytes(range(256)) * 40, mtime=0)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (PACKED[:-9], "the end of the file after 10240 unpacked bytes"),
        (
            PACKED[:-8] + bytes(8),
            "bytes that are not those of which its trailer tells, after 0 unpacked bytes",
        ),
        (PACKED[:20] + b"\xff" * 20 + PACKED[40:], "packed bytes that were changed, after 0 unpacked bytes"),
        (PACKED + b"more" * 5, "bytes behind its trailer that are not gzip's, after 10240 unpacked bytes"),
        (b"0000", "the bytes 30 30 30 30 at its beginning, which are not gzip's"),
        (bytes(90) + PACKED, "the bytes 00 00 00 00 at its beginning, which are not gzip's"),
    ],
)
def test_what_is_broken_is_told_in_our_own_words(content: bytes, found: str) -> None:
    fault = packing.unpack(content, limit=MANY)
    assert isinstance(fault, Fault)
    assert fault.found == found


@given(st.binary(max_size=500))
def test_what_is_no_gzip_is_broken(content: bytes) -> None:
    if not content.startswith(b"\x1f\x8b"):
        assert isinstance(packing.unpack(content, limit=MANY), Fault)


@pytest.mark.parametrize(("limit", "fits"), [(999, False), (1000, True), (1001, True)])
def test_the_limit_itself_is_allowed(limit: int, fits: bool) -> None:
    found = packing.unpack(gzip.compress(bytes(600)) + gzip.compress(bytes(400)), limit=limit)
    assert found == bytes(1000) if fits else isinstance(found, Fault) and found.code == "too-big-unpacked"


def _bomb(gigabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    member = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    return member * (16 * gigabytes)


def _unpack_a_bomb() -> None:
    bomb = _bomb(3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = packing.unpack(bomb, limit=2 << 30)
    assert isinstance(found, Fault)
    assert found.code == "too-big-unpacked"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert grown < (packing.HELD >> 10) * 1.3, f"{grown >> 10} MiB"


def test_a_bomb_is_counted_and_not_held() -> None:
    child = FORKS.Process(target=_unpack_a_bomb)
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == 0


def test_what_is_large_and_legal_is_unpacked_all_the_same() -> None:
    size = packing.HELD + (1 << 20)
    packer = zlib.compressobj(1, wbits=31)
    chunk = bytes(1 << 20)
    packed = b"".join(packer.compress(chunk) for _ in range(size >> 20)) + packer.flush()
    found = packing.unpack(packed, limit=size)
    assert isinstance(found, bytes)
    assert (len(found), found.count(0)) == (size, size)


def test_a_file_of_a_great_many_members_takes_no_longer_than_its_bytes() -> None:
    member = gzip.compress(b"", mtime=0)
    assert packing.unpack(member * 50_000, limit=MANY) == b""
