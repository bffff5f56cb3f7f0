"""Paths, names, packets and byte ranges: what needs no connection."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.partners import Role
from exchange import namespace, sftp_v3
from exchange.namespace import FOLDERS
from exchange.ranges import Ranges
from exchange.sftp_v3 import Malformed, Packets, Refusal

pieces = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=30)


@given(pieces, st.integers(0, 90))
def test_ranges_know_every_byte_whatever_the_order_and_overlap(
    pieces: list[tuple[int, int]], size: int
) -> None:
    ranges = Ranges()
    bytes_there: set[int] = set()
    for start, length in pieces:
        ranges.add(start, start + length)
        bytes_there |= set(range(start, start + length))
    assert ranges.total == len(bytes_there)
    missing = next((at for at in range(200) if at not in bytes_there), 200)
    assert ranges.prefix == missing
    gap = ranges.gap(size)
    if missing >= size:
        assert gap is None
    else:
        assert gap is not None
        assert not bytes_there & set(range(*gap))
        assert gap == (missing, min(size, min((at for at in bytes_there if at > missing), default=size)))


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"", b"/"),
        (b".", b"/"),
        (b"/..", b"/"),
        (b"../../etc/passwd", b"/etc/passwd"),
        (b"inbound/", b"/inbound"),
        (b"//inbound//./x", b"/inbound/x"),
        (b"/receipts/../inbound/x", b"/inbound/x"),
    ],
)
def test_a_path_is_told_absolute_and_plain(path: bytes, shown: bytes) -> None:
    assert namespace.canonical(path) == shown


@pytest.mark.parametrize(
    "path",
    [
        b"outbound",
        b"/onc/inbound",
        b"../onc/inbound/x",
        b"/inbound/../../onc/inbound/x",
        b"inbound/x/y",
        b"/inbound/x/../../../onc",
        b"inbound\0",
        b"INBOUND",
        b"/sftp_root/cnp/inbound",
        b"\xff\xfe",
    ],
)
def test_a_path_outside_the_partners_folders_is_not_there(path: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        namespace.place(Role.EDC, path)
    assert refused.value.code == sftp_v3.Code.NO_SUCH_FILE


@given(st.sampled_from(list(Role)), st.binary(max_size=60))
def test_whatever_a_path_says_it_means_a_folder_of_the_role_or_nothing(role: Role, path: bytes) -> None:
    try:
        place = namespace.place(role, path)
    except Refusal:
        return
    assert place.folder is None or place.folder in FOLDERS[role]
    assert "/" not in place.name
    assert place.name not in {".", ".."}


@pytest.mark.parametrize(
    "name", ["a", "A-b_c.9", "_", "x" * 200, "957877905IntervalData20130903010203001.lse.gz.filepart"]
)
def test_a_name_of_the_agreed_characters_may_be_uploaded(name: str) -> None:
    namespace.require_upload_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "-x", "x" * 201, "a b", "a\n", "a\x1b[2J", "ä", "\u202eexe", "a/b", "a\0"]
)
def test_any_other_name_is_refused_in_words(name: str) -> None:
    with pytest.raises(Refusal, match="a name has 1 to 200 of"):
        namespace.require_upload_name(name)


def test_an_unfinished_upload_is_shown_under_its_own_name_and_only_to_who_writes() -> None:
    inbound, receipts, _ = FOLDERS[Role.EDC]
    hidden = namespace.part_name("night.gz")
    assert namespace.shown(inbound, hidden) == ("night.gz", False)
    assert namespace.shown(receipts, hidden) is None
    for name in (".x.aside", ".part", "..part", "....part", ".night.gz.1f.aside"):
        assert namespace.shown(inbound, name) is None


@given(st.lists(st.binary(min_size=5, max_size=80), max_size=8), st.lists(st.integers(1, 50)))
def test_packets_come_out_as_they_went_in_however_they_are_cut(packets: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(struct.pack(">I", len(packet)) + packet for packet in packets)
    inbox, found = Packets(), []
    for cut in [*cuts, len(stream)]:
        inbox.add(stream[:cut])
        stream = stream[cut:]
        while (packet := inbox.take()) is not None:
            found.append(packet)
    assert found == packets
    assert inbox.size == 0


@given(st.lists(st.binary(min_size=5, max_size=80), min_size=1, max_size=8))
def test_who_asks_for_packets_only_when_some_may_be_taken_gets_them_all(packets: list[bytes]) -> None:
    inbox, found = Packets(), []
    for byte in b"".join(struct.pack(">I", len(packet)) + packet for packet in packets):
        inbox.add(bytes((byte,)))
        if inbox.may_be_taken and (packet := inbox.take()) is not None:
            found.append(packet)
    assert found == packets


@pytest.mark.parametrize("length", [0, 4, sftp_v3.MAX_TAKEN + 1, 0xFFFFFFFF])
def test_a_packet_of_an_impossible_length_is_malformed(length: int) -> None:
    inbox = Packets()
    inbox.add(struct.pack(">I", length))
    with pytest.raises(Malformed):
        inbox.take()
