"""Where tortured processes come from: one process that has imported everything, and forks them.

Most of what a hub's start takes is reading its modules; one that is killed after some seconds would hardly do
anything else. A process that is forked here has them, and is otherwise as a new one: a session, an environment and
mishaps of its own. Its workers are forked from another fork of the same.
"""

import json
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from multiprocessing import connection, forkserver, resource_tracker
from pathlib import Path
from typing import IO, Any

_MESSAGE = 1 << 20  # bytes


class Child:
    """A process that was born here. Its `stdout` is to be read by whoever asked for it."""

    def __init__(self, pid: int, handle: int, stdout: IO[str]) -> None:
        self.pid = pid
        self.stdout = stdout
        self._handle = handle  # of the process itself, whatever becomes of its number

    @property
    def is_alive(self) -> bool:
        return not self._is_over(0)

    def wait(self, seconds: float) -> None:
        """Raises TimeoutError if it lives still then."""
        if not self._is_over(seconds):
            raise TimeoutError(f"process {self.pid} is alive after {seconds} s")

    def signal(self, number: signal.Signals) -> None:
        if self.is_alive:
            signal.pidfd_send_signal(self._handle, number)

    def close(self) -> None:
        self.stdout.close()
        os.close(self._handle)

    def _is_over(self, seconds: float) -> bool:
        return bool(select.select([self._handle], [], [], seconds)[0])


class Nursery:
    """The nursery, as a process of its own; its children's errors go to the file `errors`."""

    def __init__(self, errors: Path) -> None:
        self._errors = errors
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [sys.executable, "-m", "exchange.torture.nursery", str(theirs.fileno())]
        with theirs, errors.open("ab") as told:
            self._process = subprocess.Popen(
                words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=told
            )

    def bear(self, words: Sequence[str], environment: dict[str, str]) -> Child:
        """A process that does what `python -m` with these words would."""
        out, theirs = os.pipe()
        asked = {"words": list(words), "environment": environment, "errors": str(self._errors)}
        try:
            socket.send_fds(self._door, [json.dumps(asked).encode()], [theirs])
        finally:
            os.close(theirs)
        said, handles, _, _ = socket.recv_fds(self._door, _MESSAGE, 1)
        if not said:
            raise RuntimeError(f"the nursery is gone; see {self._errors}")
        return Child(int(said), handles[0], os.fdopen(out))

    def close(self) -> None:
        """No more are born; those that live are not touched."""
        self._door.close()
        self._process.wait()


def main(door: socket.socket) -> int:
    """Bear a child for each that is asked for, until nobody asks. In a child: what it was born for; its exit code."""
    _read_modules()
    while True:
        said, handles, _, _ = socket.recv_fds(door, _MESSAGE, 1)
        if not said:
            return 0
        _bury()
        pid = os.fork()
        if pid == 0:
            door.close()
            return _live(json.loads(said), handles[0])
        os.close(handles[0])
        handle = os.pidfd_open(pid)  # nobody has buried it: the number is its own
        socket.send_fds(door, [str(pid).encode()], [handle])
        os.close(handle)


def _read_modules() -> None:
    """What hubs and the commands beside them need. Here and not above: workers read this file, too."""
    import uvloop  # noqa: F401

    import exchange.cli.main
    import exchange.cli.serve
    import exchange.torture.beside  # noqa: F401


def fork_the_forkserver() -> None:
    """Have workers forked from a fork of this process, which has read their modules: the server that multiprocessing
    would start reads them anew, a second for each hub. It is told by insides of the library; a test holds them.
    """
    multiprocessing.set_forkserver_preload(["jobs.tasks"])  # of one that is started when this was killed
    resource_tracker.ensure_running()
    server: Any = forkserver._forkserver  # noqa: SLF001 - see above
    with socket.socket(socket.AF_UNIX) as listener:
        address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined] # its stub lacks it
        listener.bind(address)
        listener.listen()
        ends, alive = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(alive)
            # As jobs.executor has it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            try:
                forkserver.main(listener.detach(), ends, [])
            finally:
                os._exit(0)
        os.close(ends)
    for name, value in (("address", address), ("alive_fd", alive), ("pid", pid)):
        assert hasattr(server, f"_forkserver_{name}")
        setattr(server, f"_forkserver_{name}", value)


def _bury() -> None:
    """Take leave of the dead."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return


def _live(asked: dict[str, object], out: int) -> int:
    from exchange.cli import main as commands
    from exchange.torture import beside
    from jobs.stores import mishaps

    words, environment, errors = asked["words"], asked["environment"], asked["errors"]
    assert isinstance(words, list)
    assert isinstance(environment, dict)
    os.setsid()
    os.dup2(out, sys.stdout.fileno())
    os.close(out)
    told = os.open(str(errors), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    os.dup2(told, sys.stderr.fileno())
    os.close(told)
    os.environ.update(environment)
    mishaps.begin(os.environ.get(mishaps.VARIABLE, ""))
    fork_the_forkserver()
    try:
        return commands.main(words[1:]) if words[0] == "exchange.cli" else beside.main(Path(words[1]))
    except Exception:  # noqa: BLE001 - told, as an interpreter would
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as opened:
        sys.exit(main(opened))
