"""Addresses that are shut out for a time: one small file each, seen by the server and the commands alike.

Lifting a ban is removing its file; the server looks at every connection, so that it holds at once.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from exchange import addresses
from exchange.addresses import Source
from jobs.stores import files

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """Nobody from `source` is let in before `until`. Instants are UTC."""

    source: Source
    since: datetime
    until: datetime
    times: int  # how often it was banned without a pause in between; each time is twice as long
    reason: str  # what was done last (exchange.defender.POINTS)

    def as_json(self) -> dict[str, Any]:
        """As its file and the commands say it."""
        return {
            "address": addresses.shown(self.source),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "times": self.times,
            "reason": self.reason,
        }


class Bans:
    """The bans of a home, in force and a while after, for the next one to be longer."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now

    def on(self, source: Source) -> Ban | None:
        """The ban that is in force on it. One look at the disk where there is none."""
        ban = self._read(self._file(source))
        return ban if ban is not None and self._now() < ban.until else None

    def in_force(self) -> list[Ban]:
        """All that are in force now, the one that ends last first."""
        now = self._now()
        bans = [ban for file in self._files() if (ban := self._read(file)) is not None and now < ban.until]
        return sorted(bans, key=lambda ban: ban.until, reverse=True)

    def add(self, source: Source, reason: str, *, first: timedelta, most: timedelta) -> Ban:
        """Ban it from now on: for `first`, and for twice as long as the last time, at most for `most`, if it
        was banned before and has not been quiet for `most` since.
        """
        now = self._now()
        before = self._read(self._file(source))
        times = before.times + 1 if before is not None and now < before.until + most else 1
        length = min(first * 2 ** min(times - 1, 30), most) if first < most else most
        ban = Ban(source=source, since=now, until=now + length, times=times, reason=reason)
        files.write(self._file(source), json.dumps(ban.as_json()).encode(), mode=0o600, durable=False)
        return ban

    def forget(self, *, most: timedelta) -> int:
        """Take away the files of those that have been quiet for `most` since their ban. How many those are."""
        now, gone = self._now(), 0
        for file in self._files():
            ban = self._read(file)
            if ban is not None and now >= ban.until + most:
                file.unlink(missing_ok=True)
                gone += 1
        return gone

    def lift(self, source: Source) -> bool:
        """Let it in again, as if it had never been banned. Whether there was anything to lift."""
        there = self.on(source) is not None
        self._file(source).unlink(missing_ok=True)
        return there

    def _file(self, source: Source) -> Path:
        return self._folder / f"{source.network_address}_{source.prefixlen}.json"

    def _files(self) -> list[Path]:
        return sorted(file for file in self._folder.glob("*.json") if not file.name.startswith("."))

    def _read(self, file: Path) -> Ban | None:
        try:
            found = json.loads(file.read_bytes())
            return Ban(
                source=addresses.source(found["address"].partition("/")[0]),
                since=datetime.fromisoformat(found["since"]),
                until=datetime.fromisoformat(found["until"]),
                times=int(found["times"]),
                reason=str(found["reason"]),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # Written by somebody else: it bans nobody, and is told.
            log.error("ban.unreadable", file=file.name, why=str(error))
            return None
