"""The README says what is so: its commands, make targets and links are there."""

import re
from pathlib import Path

from exchange.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_that_the_readme_names_is_one() -> None:
    named = set(re.findall(r"meterhub (?:--home \S+ )?([a-z][a-z-]+)", README))
    assert {"status", "explain", "serve", "query"} <= named
    assert named <= set(COMMANDS)


def test_every_make_target_that_the_readme_names_is_one() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(" ".join(re.findall(r"(?:`|\$ )make ([a-z ]+)", README)).split())
    assert {"setup", "demo", "test", "run", "bench", "check"} <= named
    assert named <= targets


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_tree_in_the_readme_is_the_one_on_disk() -> None:
    tree = re.search(r"## The house\n\n```\n(.*?)```", README, re.DOTALL)
    assert tree is not None
    folders = re.findall(r"^(\w+)/", tree[1], re.MULTILINE)
    assert folders == ["exchange", "jobs", "config", "schemas", "sftp_root"]
    assert all((ROOT / folder).is_dir() for folder in folders)
