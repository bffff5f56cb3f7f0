"""Gzip, unpacked within a limit: a small file may claim to hold terabytes."""

from isal import isal_zlib

from schemas.fault import Fault

_CHUNK = 4 << 20
_GZIP = 16 + 15  # window bits that ask for gzip's header and trailer


def unpack(content: bytes, *, limit: int) -> bytes | Fault:
    """The bytes that a gzip file of one or more members holds, at most `limit` of them; or the fault:
    `broken-gzip` when its own trailer does not agree or is not there, `too-big-unpacked`."""
    out: list[bytes] = []
    size, rest = 0, content
    while rest:
        member = isal_zlib.decompressobj(wbits=_GZIP)
        data = rest
        while not member.eof:
            try:
                chunk = member.decompress(data, _CHUNK)
            except isal_zlib.error as error:  # type: ignore[misc] # its stub says less than it is
                return _broken(f"{error} after {size} unpacked bytes")
            size += len(chunk)
            if size > limit:
                return too_big(size, limit=limit)
            out.append(chunk)
            data = member.unconsumed_tail
            if not chunk and not data and not member.eof:
                return _broken(f"the end of the file after {size} unpacked bytes")
        rest = member.unused_data.lstrip(b"\0")  # tape-minded senders pad with zeros
    if not content:
        return _broken("nothing")
    return b"".join(out)


def too_big(size: int, *, limit: int) -> Fault:
    return Fault(code="too-big-unpacked", found=f"{size} bytes or more", wanted=f"at most {limit} bytes")


def _broken(found: str) -> Fault:
    return Fault(code="broken-gzip", found=found, wanted="whole gzip data that ends in its own trailer")
