"""`meterhub verify`: whether a home holds what its ledger says, to the last byte, and whether that is what was."""

import re
from dataclasses import asdict
from typing import Any

import click

from config import partners
from exchange.cli import options, show
from exchange.cli.options import Asked
from jobs.proofs import home as proofs
from jobs.proofs.finding import Check, Finding
from jobs.proofs.home import Proof
from jobs.proofs.place import Place
from jobs.stores.ledger import HEAD, Ledger
from jobs.stores.ledger.events import Head

_SHOWN = 100  # findings that people are shown
_HEAD = re.compile(r"([1-9][0-9]*):([0-9a-f]{64})")


class HeadType(click.ParamType[Head]):
    """A head of the chain, as `--head` prints it."""

    name = "head"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Head:
        found = _HEAD.fullmatch(str(value))
        if found is None:
            self.fail(f"{value} is no head; wanted: a number, a colon and 64 hexadecimal digits", param, ctx)
        return Head(int(found[1]), found[2])


@options.command(
    "verify",
    "meterhub verify",
    "meterhub verify --quick --json",
    "meterhub verify --head",
    f"meterhub verify --expect 48213:{'5fa0c3e1' * 8}",
)
@click.option("--quick", is_flag=True, help="The ledger alone: its form, its chain of events, its rows.")
@click.option("--head", is_flag=True, help="Print the head of the chain of events, to be kept elsewhere.")
@click.option(
    "--expect",
    multiple=True,
    type=HeadType(),
    metavar="HEAD",
    help="A head that was kept: what came before it must be what it was. May be given several times.",
)
def command(asked: Asked, *, quick: bool, head: bool, expect: tuple[Head, ...]) -> int:
    """Check a whole home and name each thing that is wrong, with what to do.

    It reads every file that the ledger knows and changes nothing; the hub may be at work meanwhile. Exit code 1 if
    anything is wrong; 3 if work was cut off and is not taken up yet, or settings were changed since the hub last took
    note of them.
    """
    home, settings = asked.home, asked.settings
    place = Place(home=home, settings=settings, partners=partners.known(home), now=asked.clock())
    if not settings.database_url and not home.ledger_file.is_file():
        return _answer(asked, proofs.without_ledger(place), quick=quick)
    ledger = Ledger(settings.ledger_url(home))
    try:
        with show.progress() as progress:
            bar = progress.add_task("reading the ledger", total=None)

            def told(done: int, of: int) -> None:
                progress.update(bar, description="reading files", completed=done, total=of)

            expected = dict.fromkeys(expect, "the head that was kept")
            proof = proofs.verify(
                ledger, place, version=HEAD, quick=quick or head, expected=expected, told=told
            )
    finally:
        ledger.close()
    if head:
        asked.show({"head": str(proof.head), "ok": not proof.findings}, str(proof.head))
        return 1 if proof.findings else 0
    return _answer(asked, proof, quick=quick)


def _answer(asked: Asked, proof: Proof, *, quick: bool) -> int:
    wrong = [one for one in proof.findings if one.check is not Check.CONFIG]
    code = 1 if wrong else 3 if proof.findings or proof.unfinished else 0
    answer = {
        "ok": code == 0,
        "quick": quick,
        "head": str(proof.head),
        "looked_at": {check.name.lower(): count for check, count in proof.looked_at.items()},
        "findings": [_for_programs(one) for one in proof.findings],
        "unfinished": [_for_programs(one) for one in proof.unfinished],
    }
    asked.show(answer, *_readable(proof, code))
    return code


def _for_programs(one: Finding) -> dict[str, str]:
    return asdict(one) | {"check": one.check.name.lower()}


def _readable(proof: Proof, code: int) -> list[Any]:
    counted = dict.fromkeys(Check, 0) | dict(proof.looked_at)
    wrong = {check: sum(one.check is check for one in proof.findings) for check in Check}
    rows = [
        (check.value, f"{counted[check]:,}" if counted[check] else "", wrong[check] or "")
        for check in Check
        if counted[check] or wrong[check]
    ]
    shown: list[Any] = [show.table(("what", ">looked at", ">wrong"), rows, tight=True)]
    for title, findings in (("Wrong", proof.findings), ("Under way, or cut off", proof.unfinished)):
        if findings:
            shown.append(title)
            shown += [f"  {one.where}: {one.what}\n      {one.do}" for one in findings[:_SHOWN]]
        if more := len(findings) - _SHOWN:
            shown += [f"… and {more:,} more: --json has them all"] if more > 0 else []
    if proof.unfinished:
        shown.append("What was cut off is taken up by the hub, or by: meterhub sweep. Then verify again.")
    words = {0: "All is as it was recorded.", 1: "Something is wrong.", 3: "An operator should look."}
    return [*shown, words[code], f"Head of the chain: {proof.head}"]
