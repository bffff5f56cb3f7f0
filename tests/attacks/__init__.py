"""What is tried at a door with packets that no client sends, as a table: an attack, and what it does to a server.

An attack is a function that yields, in a few words each, whatever it did that must not be: nothing at the hub's
doors. What it does to the server that is in the library's box stands beside it, and is held to as well: so it is known
what the hub's own server is for, and noticed when the library changes. An attack stops when it has won: it never
has a server use up the machine.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from attacked_fixtures import Attacked

Tries = Callable[[Attacked], Iterator[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """`stock`: what it does to the library's own server. `limits`: settings that the hub's doors have meanwhile."""

    tries: Tries
    stock: frozenset[str]
    limits: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.tries.__name__


def table(*modules: Any) -> list[Attack]:
    """All attacks of some modules, in their order."""
    return [one for module in modules for one in vars(module).values() if isinstance(one, Attack)]


def attack(stock: Iterable[str] = (), **limits: Any) -> Callable[[Tries], Attack]:
    """Put a function into the table, with what it does to the library's own server: nothing, unless it is said."""

    def put(tries: Tries) -> Attack:
        return Attack(tries=tries, stock=frozenset(stock), limits=limits)

    return put
