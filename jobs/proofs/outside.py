"""What operators and the log write: held to what the hub took note of last (jobs.steps.seal)."""

import json
from collections.abc import Iterator
from pathlib import Path

from jobs.proofs.finding import Check, Finding
from jobs.proofs.known import Known
from jobs.proofs.place import Place, files_below, sha256
from jobs.stores.ledger.events import Head

_NOTED = "if that was you: meterhub sweep, which takes note of it; if not: put it back as it was"


def settings(known: Known, place: Place) -> Iterator[Finding]:
    """Settings, partners and keys are as the hub last took note of them, and so are its copies of partners."""
    if not known.told.config:
        what = "the hub has not taken note of settings, partners and keys yet"
        yield Finding(check=Check.CONFIG, where="config", what=what, do="meterhub sweep takes note of them")
        return
    noted = {name: said for name, said in known.told.config.items() if said}
    there = {place.named(path): path for path in place.home.config_files()}
    for where in sorted(noted.keys() | there.keys()):
        what = ""
        if where not in there:
            what = "it is gone"
        elif where not in noted:
            what = "it is new: the hub has not taken note of it"
        elif _hash(there[where]) != noted[where]:
            what = "it was changed since the hub last took note of it"
        if what:
            yield Finding(check=Check.CONFIG, where=where, what=what, do=_NOTED)
    for path in files_below(place.home.kept_partners):
        if not path.name.startswith(".") and _hash(path) not in known.told.config_ever:
            what = "the hub's copy of a partner's file is not what that file ever was"
            do = "take it away: the hub makes it again from config/partners/"
            yield Finding(check=Check.CONFIG, where=place.named(path), what=what, do=do)
    for file in sorted(place.home.partners.glob("*.toml")):
        kept = place.home.kept_partners / file.name
        if place.named(file) in noted and not kept.exists() and place.partners.get(file.stem):
            what, do = "the hub's copy of a partner's file is gone", "meterhub sweep makes it again"
            yield Finding(check=Check.CONFIG, where=place.named(kept), what=what, do=do)


def logs(known: Known, place: Place) -> Iterator[Finding]:
    """The logs of days that are over are as they were when they were sealed; the others are whole lines."""
    do = "the ledger has the history itself; restore the file from where logs are kept"
    for name, said in sorted(known.told.logs.items()):
        path = place.home.logs / name
        if not said:
            continue  # it was gone already when the chain was sealed after it
        if not path.is_file():
            what = "it is gone; a later seal will say so for good"
            yield Finding(check=Check.LOGS, where=place.named(path), what=what, do=do)
        elif _hash(path) != said:
            what = "it is not as it was when its day was sealed"
            yield Finding(check=Check.LOGS, where=place.named(path), what=what, do=do)
    for path in files_below(place.home.logs):
        if path.name not in known.told.logs and (line := _broken_line(path)):
            what = f"line {line} is no whole line of the log"
            yield Finding(check=Check.LOGS, where=place.named(path), what=what, do=do)


def heads(place: Place) -> dict[Head, str]:
    """The heads of the chain that the logs have, and which log it is."""
    found: dict[Head, str] = {}
    for path in files_below(place.home.logs):
        for line in path.read_bytes().splitlines():
            if b'"ledger.rebuilt"' in line:
                found.clear()  # with a ledger that was made again, a chain began anew
            elif b'"chain.sealed"' in line:
                try:
                    said = json.loads(line)
                    if said["through"]:
                        found[Head(said["through"], said["head"])] = path.name
                except (ValueError, KeyError):  # told as a broken line, or changed since it was sealed
                    continue
    return found


def _broken_line(path: Path) -> int:
    """The first line that is no JSON object; 0 when all are. A last line without its end is being written."""
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        if not (line.startswith(b"{") and line.endswith(b"}")):
            return number
    return 0


def _hash(path: Path) -> str:
    try:
        return sha256(path)
    except OSError:  # it went while we looked, or is not for us to read
        return ""
