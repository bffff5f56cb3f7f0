"""A block as its EDC sent it: cut out of the archived bytes, which are held to their hash first."""

import hashlib
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from config.partners import Partner
from jobs.stores.archive import DamagedError
from jobs.stores.opened import Stores
from schemas import file_name, interval_file, packing
from schemas.drop import Drop
from schemas.fault import Fault

_NEXT = b"\n00000001,"
AGREES = "agrees"


def held_to(
    version: Mapping[str, Any], drop: Drop, edc: Partner, *, channel: str, day: date, stores: Stores
) -> dict[str, Any]:
    """What the archive says of a version of the lake: whether it agrees, or what differs; the first row of the
    block as it stands on that line of the file; its sum and how many of its values are estimated.
    """
    told: dict[str, Any] = {"archive": AGREES, "archived_row": None, "archived_kwh": None}
    text = _text(drop, stores=stores)
    if isinstance(text, str):
        return told | {"archive": text}
    block = _block(text, version["line"])
    told["archived_row"] = block.partition(b"\n")[0].rstrip(b"\r").decode(errors="replace") or None
    name = file_name.parse(drop.name)
    assert edc.zone is not None
    parsed = interval_file.parse(
        block,
        stamp="" if isinstance(name, Fault) else name.stamp,
        zone=edc.zone,
        channels=frozenset({channel}),
        max_accounts=1,
        latest=day,
    )
    rows = parsed.blocks.to_pylist()
    if len(rows) != 1:
        return told | {"archive": "there is no good block on this line"}
    told["archived_kwh"] = rows[0]["wh_total"] / 1000
    wanted = {"account": version["account"], "channel": channel, "usage_date": day, "stamp": version["stamp"]}
    wanted |= {"wh_total": version["wh_total"], "estimated": version["estimated"]}
    differs = [key for key, value in wanted.items() if rows[0][key] != value]
    return told | ({"archive": f"another {', '.join(differs)} than in the lake"} if differs else {})


def _text(drop: Drop, *, stores: Stores) -> bytes | str:
    """The file as it came, unpacked; or why not, in words."""
    try:
        content = stores.archive.read(drop.sha256)
    except FileNotFoundError:
        return "lost"
    except DamagedError as error:
        return str(error)
    if (found := hashlib.sha256(content).hexdigest()) != drop.sha256:
        return f"other bytes than came: their hash is {found}"
    if not drop.name.endswith(".gz"):
        return content
    text = packing.unpack(content, limit=stores.settings.limits.max_unpacked_bytes)
    return text.message if isinstance(text, Fault) else text


def _block(text: bytes, line: int) -> bytes:
    """From this line on to the next row 00000001."""
    begin = 0
    if line > 1:
        feeds = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
        if len(feeds) < line - 1:
            return b""
        begin = int(feeds[line - 2]) + 1
    end = text.find(_NEXT, begin)
    return text[begin:] if end < 0 else text[begin : end + 1]
