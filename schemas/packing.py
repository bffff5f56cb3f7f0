"""Gzip, unpacked within a limit: a small file may claim to hold terabytes."""

from collections.abc import Iterator

from isal import isal_zlib

from schemas.fault import Fault

HELD = 256 << 20  # bytes; what unpacks to more is only counted first
_READ, _CHUNK = 64 << 10, 4 << 20
_MAGIC = b"\x1f\x8b"
_GZIP = 16 + 15  # window bits that ask for gzip's header and trailer


def unpack(content: bytes, *, limit: int) -> bytes | Fault:
    """The bytes that a gzip file of one or more members holds, at most `limit` of them; or the fault:
    `broken-gzip` when its own trailer does not agree or is not there, `too-big-unpacked`.

    Until it is known that a file keeps the limit, no more than `HELD` bytes of it are held.
    """
    out: list[bytes] = []
    size = 0
    try:
        for chunk in _chunks(content):
            size += len(chunk)
            if size > limit:
                return too_big(size, limit=limit)
            if size <= HELD:
                out.append(chunk)
            else:
                out.clear()
    except (isal_zlib.error, EOFError) as error:  # type: ignore[misc] # its stub says too little
        found = _found(error, content, size)
        return Fault(code="broken-gzip", found=found, wanted="whole gzip data that ends in its own trailer")
    return b"".join(out if size <= HELD else _chunks(content))


def _found(error: Exception, content: bytes, size: int) -> str:
    """Where gzip data is broken, in our words and not in a library's."""
    behind = f"after {size} unpacked bytes"
    if content[:2] != _MAGIC:
        return f"the bytes {content[:4].hex(' ')} at its beginning, which are not gzip's"
    if isinstance(error, EOFError):
        return f"the end of the file {behind}"
    match str(error)[:8]:
        case "Error -4" | "Error -5" if size:
            return f"bytes behind its trailer that are not gzip's, {behind}"
        case "Error -6":
            return f"bytes that are not those of which its trailer tells, {behind}"
    return f"packed bytes that were changed, {behind}"


def too_big(size: int, *, limit: int) -> Fault:
    return Fault(code="too-big-unpacked", found=f"{size} bytes or more", wanted=f"at most {limit} bytes")


def _chunks(content: bytes) -> Iterator[bytes]:
    """What the file unpacks to, in pieces of at most `_CHUNK` bytes. Raises EOFError where it ends too
    early. Zeros behind a member are passed over: tapes are padded with them.
    """
    member = isal_zlib.decompressobj(wbits=_GZIP)
    for begin in range(0, len(content), _READ):
        rest = content[begin : begin + _READ]
        while rest:
            if member.eof:
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                member = isal_zlib.decompressobj(wbits=_GZIP)
            yield member.decompress(rest, _CHUNK)
            rest = member.unused_data if member.eof else member.unconsumed_tail
    while not member.eof:
        chunk = member.decompress(b"", _CHUNK)
        if not chunk:
            raise EOFError
        yield chunk
