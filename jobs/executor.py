"""Where work is done: the one place that changes when it moves to other machines.

Tasks are functions of small values that are safe to run twice; they answer with small values.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import forkserver, resource_tracker
from typing import Any, ParamSpec, TypeVar

from config.errors import OperatorError
from config.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

_GONE = 10.0  # seconds that a killed process may take to be gone


def workers(settings: Settings) -> int:
    """How many tasks run side by side: the setting, or the number of cores."""
    return settings.workers or len(os.sched_getaffinity(0))


def make_executor(settings: Settings, *, prepare: Callable[..., None], given: tuple[Any, ...]) -> Executor:
    """Processes of this machine, or a Dask cluster's. `prepare(*given)` is called once in each process
    of this machine.
    """
    if settings.executor.startswith("dask://"):
        return _dask(settings.executor)
    _start_forkserver()
    return ProcessPoolExecutor(
        workers(settings),
        # Not forked from the server: it has threads, an event loop and open connections.
        mp_context=multiprocessing.get_context("forkserver"),
        initializer=prepare,
        initargs=given,
    )


def _start_forkserver() -> None:
    """Start the process that workers are forked from, deaf to what a terminal or a service manager sends to
    the whole group: from their first moment, workers leave that to their hub.
    """
    deaf_to = {signal.SIGINT, signal.SIGTERM}
    resource_tracker.ensure_running()  # first: it lets the signals through again when it has started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, deaf_to)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def is_broken(executor: Executor) -> bool:
    """Whether a process of the pool has died: then it takes no more work."""
    return bool(getattr(executor, "_broken", False))


def abandon(executor: Executor) -> list[int]:
    """Let go of a pool at once. Its processes are killed: they leave a termination to their hub, and one
    that waits behind a dead one would wait for ever, and whoever shuts the pool down with it.

    The ids of those that were killed by this, and had not died before.
    """
    killed = []
    for process in list((getattr(executor, "_processes", None) or {}).values()):
        if process.is_alive():
            process.kill()
            process.join(_GONE)
            killed.append(process.pid)
    executor.shutdown(wait=False)
    return killed


def _dask(address: str) -> Executor:
    try:
        from distributed import Client
    except ImportError as error:
        raise OperatorError(
            "dask-missing", f"executor is {address}, and Dask is not installed", "pip install meterhub[dask]"
        ) from error
    executor: Executor = Client(address.replace("dask://", "tcp://", 1)).get_executor(retries=2, pure=False)
    return executor


class Inline(Executor):
    """Does each task at once, in this process: for a command with little to do."""

    def submit(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(task(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - a future carries whatever was raised
            future.set_exception(error)
        return future
