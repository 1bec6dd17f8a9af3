"""Commands that are imported when they are called: a start of the command line is mostly imports."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

_SETTINGS: Final = "settings_of_command"


class PlainCommand(TyperCommand):
    """A command whose usage line is written as Docker's: `pctr rm [OPTIONS] CONTAINER...`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives: `target` in `module` is a function, or a table of entries."""

    module: str
    target: str
    help: str
    is_hidden: bool = False


def settings(
    *, cls: type[TyperCommand] = PlainCommand, **context_settings: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """For a command function: its class, and settings of its parser (`allow_interspersed_args=False` …)."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__dict__[_SETTINGS] = (cls, context_settings)
        return function

    return mark


def _load(name: str, entry: Entry) -> Any:
    found = getattr(importlib.import_module(entry.module), entry.target)
    if isinstance(found, Mapping):
        return group_class(found)(
            name=name, help=entry.help, no_args_is_help=True, rich_markup_mode=None, callback=lambda: None
        )
    single = typer.Typer(rich_markup_mode=None, add_completion=False)
    cls, context_settings = getattr(found, _SETTINGS, (PlainCommand, None))
    single.command(name, cls=cls, context_settings=context_settings)(found)
    return typer.main.get_command(single)


def group_class(entries: Mapping[str, Entry]) -> type[TyperGroup]:
    """A group of the given commands; names and help texts are known without importing any of them."""
    table = MappingProxyType(dict(entries))

    class LazyGroup(TyperGroup):
        """Imports a command when it is resolved, and none for `--help` and completion."""

        def __init__(self, **arguments: Any) -> None:
            arguments["commands"] = _Commands(table)
            super().__init__(**arguments)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            return self.commands.get(cmd_name)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            with self._listing():
                super().format_commands(ctx, formatter)

        def shell_complete(self, ctx: Any, incomplete: str) -> Any:
            with self._listing():
                return super().shell_complete(ctx, incomplete)

        def _listing(self) -> Any:
            commands = self.commands
            assert isinstance(commands, _Commands)
            return commands.as_listing()

    return LazyGroup


class _Commands(dict[str, Any]):
    """Command by name; each is loaded on first access, or stands in as a mere name while a list is made."""

    def __init__(self, table: Mapping[str, Entry]) -> None:
        super().__init__(dict.fromkeys(table))
        self._table = table
        self._is_listing = False

    @contextmanager
    def as_listing(self) -> Iterator[None]:
        """Meanwhile, commands are names with a help text."""
        self._is_listing = True
        try:
            yield
        finally:
            self._is_listing = False

    def get(self, key: str, default: Any = None) -> Any:
        entry = self._table.get(key)
        if entry is None:
            return default
        if self._is_listing:
            return TyperCommand(key, help=entry.help, hidden=entry.is_hidden, rich_markup_mode=None)
        loaded = super().get(key)
        if loaded is None:
            loaded = self[key] = _load(key, entry)
        return loaded
