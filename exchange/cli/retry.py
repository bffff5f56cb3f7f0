"""`meterhub retry`: work that failed too often and was parked gets another three tries, or is refused."""

import click

from config.errors import MeterhubError, RefusedError
from exchange.cli import opened, options, show
from exchange.cli.options import Asked
from jobs import pipeline, tasks
from jobs.stores.ledger import failures
from jobs.stores.ledger.failures import Failure
from jobs.stores.opened import Stores


@options.command(
    "retry",
    "meterhub retry D130902-00042",
    "meterhub retry S130903-cnp-1 --by maria",
    "meterhub retry --all",
    'meterhub retry D130902-00042 --refuse --why "its readings are those of another day"',
)
@click.argument("parked", nargs=-1, metavar="[DROP|SYNC]…")
@click.option("--all", "everything", is_flag=True, help="All that is parked.")
@click.option("--refuse", "refused", is_flag=True, help="Refuse the drops instead, for good; with --why.")
@click.option("--why", default="", help="What their senders are told; with --refuse.")
@click.option("--by", help="Who says so; by default who is logged in to this machine.")
def command(
    asked: Asked, *, parked: tuple[str, ...], everything: bool, refused: bool, why: str, by: str | None
) -> int:
    """Have drops and syncs tried again that failed too often and were parked, or refuse drops for good.

    Each is tried at once, in this process. Exit code 1 if any fails again: a server, or the next sweep, tries it
    twice more before it is parked again. With --refuse, nothing of the drop is loaded: its sender is told so, and
    --why, by its receipt. A sync is not refused here: its EDC's next one takes its place. What is parked, and why:
    meterhub status.
    """
    if bool(parked) == everything:
        raise click.UsageError("say which, or --all")
    if refused != bool(why):
        raise click.UsageError("--refuse and --why go together: what the sender is to be told")
    answer = []
    with opened.stores(asked) as stores:
        for failure in _chosen(stores, parked):
            if refused:
                told = _refuse(failure, by or options.who(), why, asked, stores)
                answer.append({"about": failure.about, "was": failure.why, **told})
                continue
            with stores.ledger.write() as tx:
                failures.retry(tx, failure, by=by or options.who(), at=asked.clock())
            answer.append({"about": failure.about, "was": failure.why, **_try(failure, asked, stores)})
    rows = [(one["about"], one["outcome"], one["error"]) for one in answer]
    asked.show(answer, show.table(("", "outcome", "error"), rows) if rows else "Nothing is parked.")
    return 1 if any(one["error"] for one in answer) else 0


def _chosen(stores: Stores, named: tuple[str, ...]) -> list[Failure]:
    """What is parked of those named, or all. Raises RefusedError if one of them is not parked."""
    with stores.ledger.read() as tx:
        known = {failure.about: failure for failure in failures.parked(tx)}
    if unknown := [one for one in named if one not in known]:
        hint = f"parked are: {', '.join(known)}" if known else "nothing is parked"
        raise RefusedError("not-parked", f"{unknown[0]} is not parked", hint)
    return [known[one] for one in named or known]


def _refuse(failure: Failure, by: str, why: str, asked: Asked, stores: Stores) -> dict[str, str]:
    if not failure.task.startswith("drop:"):
        hint = "its EDC's next sync takes its place; or, when its cause is gone: meterhub retry"
        raise RefusedError("not-a-drop", f"{failure.about} is a sync, and only drops are refused here", hint)
    try:
        came = pipeline.refuse(failure, by=by, why=why, stores=stores, clock=asked.clock)
    except MeterhubError as error:
        return {"outcome": "", "error": error.message}
    except Exception as error:  # noqa: BLE001 - told to who asked; the drop stays parked
        return {"outcome": "", "error": f"{type(error).__name__}: {error}"}
    match came:
        case pipeline.Advanced():
            return {"outcome": str(came.drop.stage), "error": ""}
        case pipeline.NotOpen():
            said = (
                f"it is {came.drop.stage} already; to have its receipt written: meterhub retry {came.drop.id}"
            )
            return {"outcome": "", "error": said}
        case pipeline.ClaimedElsewhere():
            return {"outcome": "", "error": "another process has it in hand: try again in a moment"}


def _try(failure: Failure, asked: Asked, stores: Stores) -> dict[str, str]:
    """Do it now. Whatever stops it is the answer, and is counted as it always is."""
    tasks.lend(stores)
    work = tasks.advance if failure.task.startswith("drop:") else tasks.settle
    try:
        outcome = work(stores.home.root, failure.about, asked.clock)
    except MeterhubError as error:
        return {"outcome": "", "error": error.message}
    except Exception as error:  # noqa: BLE001 - told to who asked, and counted
        return {"outcome": "", "error": f"{type(error).__name__}: {error}"}
    finally:
        tasks.give_back(stores)
    return {"outcome": outcome or "in another process's hands", "error": ""}
