"""Registries: objects of one kind by name, each entered by the module that defines it."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


class Registry(dict[str, T]):
    """Objects by name. A new one is a new module that calls ``register``.

    Args:
        kind: what the objects are called in messages, such as ``"scheme"``.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def register(self, name: str, thing: T) -> T:
        """Enter ``thing`` under ``name`` and return it.

        Raises:
            ValueError: the name is taken by something else.
        """
        if self.setdefault(name, thing) is not thing:
            raise ValueError(f"the {self.kind} {name!r} is defined twice")
        return thing

    def check(self, name: str) -> str:
        """``name`` itself, if it is known.

        Raises:
            ValueError: it is not; the message has the nearest name and all others.
        """
        if name not in self:
            close = difflib.get_close_matches(name, self, 1, 0.5)
            meant = f"did you mean {close[0]}? " if close else ""
            raise ValueError(f"unknown {self.kind} {name!r}; {meant}known: {', '.join(self)}")
        return name


def import_modules(package: str, path: Iterable[str]) -> None:
    """Import the modules of a package, so that each enters what it defines."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
