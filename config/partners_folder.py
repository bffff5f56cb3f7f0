"""Partners as they are now: a folder's files, read again when one of them changes."""

import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

import structlog

from config import partners
from config.partners import Partner, Partners


class PartnersFolder:
    """The partners of a folder, read again when a file in it changes. Safe to share between threads.

    A file that cannot be taken leaves its partner as it was, and all others are as their files say. It is
    logged once as `partners.refused`. With `kept`, a folder for copies of what was taken, that holds for a
    new process, too; a partner of whom nothing earlier is known is left out.
    """

    def __init__(self, folder: Path, kept: Path | None = None) -> None:
        self._folder = folder
        self._keep = kept
        self._lock = Lock()
        self._seen = self._look()
        self._earlier: dict[str, str] = {}
        self._partners = self._read()

    def current(self) -> Partners:
        """The partners as of now, and the mistakes in their files."""
        with self._lock:
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self._partners = self._read()
                if not self._partners.mistakes:
                    structlog.get_logger().info("partners.read", partners=len(self._partners.by_id))
            return self._partners

    def one(self, login: str) -> Partner | None:
        """That partner as its file says now; the files of the others are not looked at, which takes long if there
        are many.
        """
        with self._lock:
            known = self._standing(login)
        return known or self.current().get(login)

    def one_at_once(self, login: str) -> Partner | None:
        """That partner if its file is as it was read, and nobody is reading just now. None: ask `one`."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self._standing(login)
        finally:
            self._lock.release()

    def _standing(self, login: str) -> Partner | None:
        known = self._partners.get(login)
        return known if known is not None and self._stands(f"{login}.toml") else None

    def _stands(self, name: str) -> bool:
        try:
            found = (self._folder / name).stat()
        except FileNotFoundError:
            return False
        return self._seen.get(name) == _mark(found)

    def _read(self) -> Partners:
        found = partners.texts(self._folder)
        # another process may have taken what this one has not
        before = self._earlier | partners.kept(self._keep)
        known, taken = partners.take(found, before)
        there = {file.name for file in found}
        earlier = {name: text for name, text in before.items() if name in there} | taken
        mistakes = list(known.mistakes)
        try:
            self._write(earlier)
        except OSError as error:  # a full disk shuts nobody out
            mistakes.append(f"{self._keep}: no copy can be kept there: {error}")
        self._earlier = earlier
        if mistakes:
            structlog.get_logger().error(
                "partners.refused", mistakes=mistakes, left_out=sorted(known.left_out)
            )
        return known

    def _write(self, texts: Mapping[str, str]) -> None:
        """Keep the texts that were taken, and none of partners whose files are gone."""
        if self._keep is None:
            return
        self._keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = partners.kept(self._keep)
        for name, text in texts.items():
            if there.get(name) != text:
                aside = self._keep / f".{name}.{os.getpid()}"
                aside.write_text(text, encoding="utf-8")
                aside.replace(self._keep / name)
        for name in there.keys() - texts.keys():
            (self._keep / name).unlink(missing_ok=True)

    def _look(self) -> dict[str, tuple[int, int, int]]:
        seen = {}
        for entry in self._entries():
            if not partners.is_file(entry.name):
                continue
            try:
                stat = entry.stat()
            except FileNotFoundError:  # taken away since it was listed: the next look does not list it
                continue
            seen[entry.name] = _mark(stat)
        return seen

    def _entries(self) -> "list[os.DirEntry[str]]":
        """Paths would take twice as long."""
        try:
            with os.scandir(self._folder) as entries:
                return list(entries)
        except FileNotFoundError:  # no partner yet
            return []


def _mark(found: os.stat_result) -> tuple[int, int, int]:
    """What is another when the file is."""
    return found.st_mtime_ns, found.st_size, found.st_ino
