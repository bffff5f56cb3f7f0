"""The page of formats says what the code does."""

import re
from datetime import date
from pathlib import Path

from schemas import file_name, sync_file
from schemas.file_name import FileName, Kind

PAGE = (Path(__file__).parents[1] / "schemas" / "formats.md").read_text(encoding="utf-8")
RECEIPT = (Path(__file__).parents[1] / "schemas" / "receipt.py").read_text(encoding="utf-8")


def test_the_sync_on_the_page_is_one() -> None:
    (text,) = re.findall(r"^```\n(HDR,.*?)```$", PAGE, re.MULTILINE | re.DOTALL)
    part = sync_file.parse(text.encode(), duns="957877905", today=date(2013, 9, 3))
    assert isinstance(part, sync_file.Part)
    assert (part.part, part.parts, len(part.rows)) == (1, 2, 2)


def test_the_names_on_the_page_are_agreed_names() -> None:
    (name,) = re.findall(r"`(\d+IntervalData\d+\.lse)`", PAGE)
    assert isinstance(file_name.parse(name), FileName)
    for kind in Kind:
        assert f"`<DUNS>{kind}<ccyymmddhhmmss><counter>" in PAGE


def test_every_field_of_a_receipt_is_on_the_page() -> None:
    final = RECEIPT.partition("def final(")[2].partition("\ndef ")[0]
    fields = set(re.findall(r'"([a-z_]+)"\]? ?[:=]', final))
    assert len(fields) > 12
    for field in fields - {"outcome", "suspense"}:
        assert f"`{field}`" in PAGE, field
