"""Write aside, make durable, rename: the one place that puts files where others look for them."""

import os
import secrets
from pathlib import Path


def write(path: Path, content: bytes | memoryview, *, mode: int = 0o644, durable: bool = True) -> None:
    """Put a whole file at `path`, or nothing. When it returns, the file outlives a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name[:180]}.{secrets.token_hex(4)}.aside")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if durable:
                os.fsync(file.fileno())
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def settle(aside: Path, path: Path) -> None:
    """Move a file that was written aside to its place, durably: fsync, rename, fsync the folder."""
    sync_file(aside)
    appear(aside, path)


def appear(aside: Path, path: Path) -> None:
    """Move a file that is durable already to its place, durably: rename, fsync the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside.rename(path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    sync_file(path)
