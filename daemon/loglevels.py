"""How severe an event has to be to be logged: one level for all, and others for some modules, such as `sip.io=debug`.

structlog has a class for each level, in which what is below it does nothing; a logger keeps its class for good. So
every module's loggers have a class of their own, and what stands above that changes with the level.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from structlog.typing import BindableLogger, Processor

SILENCED: Final[Mapping[str, int]] = {"aiosqlite": logging.WARNING}
"""Modules with a level that nobody lowers: at debug it logs every statement with its values, passwords among them."""


class Levels:
    """The levels, and the loggers' classes that have them."""

    def __init__(self) -> None:
        self._default = logging.INFO
        self._modules: dict[str, int] = {}
        self._classes: dict[str, type] = {}
        self._named: list[str] = []

    def set(self, default: str, modules: Sequence[str] = ()) -> None:
        """Change what is logged from now on, also by loggers that are in use; `modules` are `NAME=LEVEL`."""
        self._default = _number(default)
        self._modules = {name: _number(level) for name, _, level in (each.partition("=") for each in modules if each)}
        for name, kind in self._classes.items():
            kind.__bases__ = (self._base(name),)
        for name in self._named:
            logging.getLogger(name).setLevel(logging.NOTSET)
        self._named = [*self._modules, *SILENCED]
        for name in self._named:
            logging.getLogger(name).setLevel(self.of(name))
        logging.getLogger().setLevel(self._default)

    def of(self, module: str) -> int:
        """Return the level of a module: that of the longest name which it is, or is within."""
        parts = module.split(".")
        names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
        level = next((self._modules[name] for name in names if name in self._modules), self._default)
        return max(level, SILENCED.get(parts[0], level))

    def wrap(self, logger: NamedLogger, processors: Sequence[Processor], context: dict[str, Any]) -> BindableLogger:
        """Return a logger of the module's class (structlog's `wrapper_class`)."""
        kind = self._classes.get(logger.name)
        if kind is None:
            kind = self._classes[logger.name] = type("Levelled", (self._base(logger.name),), {})
        bound: BindableLogger = kind(logger, processors, context)
        return bound

    def _base(self, module: str) -> type:
        return structlog.make_filtering_bound_logger(self.of(module))


class NamedLogger(structlog.WriteLogger):
    """Writes lines, and knows the module that they come from."""

    def __init__(self, name: str, stream: Any) -> None:
        super().__init__(stream)
        self.name = name


def _number(level: str) -> int:
    return int(logging.getLevelName(level.upper()))
