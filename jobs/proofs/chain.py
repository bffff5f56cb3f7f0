"""The chain of events: no event changed, taken out, put in or, by a head that was kept, cut off."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from jobs.proofs.finding import Check, Finding
from jobs.stores.ledger.events import NOTHING_YET, Head, Link

_BROKEN = "the history was changed by something else than the hub: restore the ledger from a backup"


@dataclass(slots=True, kw_only=True)
class Chain:
    """Goes along the chain. `expected`: heads that were noted earlier, by number, and who has them."""

    expected: Mapping[Head, str] = field(default_factory=dict)
    head: Head = NOTHING_YET
    findings: list[Finding] = field(default_factory=list)

    def follow(self, links: Iterator[Link]) -> Iterator[Link]:
        """Every event, in order, held to the one before it."""
        noted: dict[int, list[Head]] = {}
        for one in self.expected:
            noted.setdefault(one.id, []).append(one)
        for link in links:
            self._hold(link)
            for one in noted.pop(link.id, ()):
                if one.hash != link.hash:
                    self._differs(one, link)
            yield link
        for missing in (one for heads in noted.values() for one in heads):
            self._cut_off(missing)

    def _hold(self, link: Link) -> None:
        before, self.head = self.head, Head(link.id, link.hash)
        if link.id != before.id + 1:
            gone = f"event {before.id + 1}" if link.id == before.id + 2 else f"events {before.id + 1} to {link.id - 1}"  # fmt: skip
            self._find(f"event {link.id}", f"{gone} before it: taken out")
        elif link.hash_after(before.hash) != link.hash:
            self._find(
                f"event {link.id}",
                f"{link.name} about {link.about or 'nothing'} at {link.at} is not what was recorded, or an event "
                "before it was changed, put in or taken out",
            )

    def cannot_read(self, link: Link) -> None:
        """What this event says is nothing that the hub writes."""
        self._find(f"event {link.id}", f"{link.name} says what the hub never writes")

    def _differs(self, one: Head, link: Link) -> None:
        self._find(
            f"event {link.id}",
            f"{self.expected[one]} has it with the hash {one.hash[:12]}…, the ledger with {link.hash[:12]}…: "
            "the history up to it is another one now",
        )

    def _cut_off(self, one: Head) -> None:
        self._find(
            f"event {one.id}",
            f"{self.expected[one]} names it, and the ledger's last is event {self.head.id}: what followed was "
            "cut off",
        )

    def _find(self, where: str, what: str) -> None:
        self.findings.append(Finding(check=Check.CHAIN, where=where, what=what, do=_BROKEN))
