"""The partners' guide says what the doors say."""

import re
from pathlib import Path

from config import legacy
from config.partners import Role
from exchange.namespace import FOLDERS

EXCHANGE = Path(__file__).parents[1] / "exchange"
GUIDE = (EXCHANGE / "PARTNERS.md").read_text(encoding="utf-8")


def test_every_refusal_in_the_guide_is_one_that_the_doors_give() -> None:
    source = "\n".join(file.read_text(encoding="utf-8") for file in EXCHANGE.glob("*.py"))
    rows = re.findall(r"^\| `(.+?)` ", GUIDE.partition("What a refusal means")[2], re.MULTILINE)
    told = [row for row in rows if not row.startswith("Permission denied")]
    assert len(told) > 15
    for words in told:
        for piece in filter(None, (piece.strip(" :") for piece in words.split("…"))):
            assert piece in source, words


def test_the_guide_names_every_folder_of_those_who_exchange_files() -> None:
    for role in (Role.EDC, Role.EGS):
        for folder in FOLDERS[role]:
            assert f"`{folder.name}/`" in GUIDE


def test_the_guide_names_every_old_algorithm_that_can_be_allowed() -> None:
    part = GUIDE.partition("A client too old for that")[2].partition(" MD5, RC4")[0]
    assert set(re.findall(r"`([a-z0-9@.-]+)`", part)) == set(legacy.KNOWN)
