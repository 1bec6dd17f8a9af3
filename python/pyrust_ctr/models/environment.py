"""Environment variables and labels: `NAME=value`, `NAME`, and files of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrust_ctr.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def parse_env(entries: Iterable[str], outer: Mapping[str, str]) -> tuple[str, ...]:
    """`NAME=value` as it is; a mere `NAME` takes its value from `outer`, or stays (it removes the
    image's one).
    """
    parsed = []
    for entry in entries:
        name, equals, _ = entry.partition("=")
        _check_name(name, entry)
        parsed.append(f"{name}={outer[name]}" if not equals and name in outer else entry)
    return tuple(parsed)


def env_of_mapping(values: Mapping[str, str | None]) -> tuple[str, ...]:
    """`NAME=value` pairs; None removes what the image sets."""
    for name, value in values.items():
        _check_name(name, f"{name}{value or ''}")
        if "=" in name:
            raise InvalidArgument(f"the name of an environment variable has no `=`: `{name}`")
    return tuple(name if value is None else f"{name}={value}" for name, value in values.items())


def parse_file(text: str, name: str) -> tuple[str, ...]:
    """The entries of an `--env-file` or `--label-file`: one a line, blank lines and `#` lines left out."""
    entries = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        entry = line.lstrip()
        if not entry or entry.startswith("#"):
            continue
        key = entry.partition("=")[0]
        if not key or any(letter.isspace() for letter in key):
            raise InvalidArgument(f"line {number} of `{name}` is not `NAME=value`: `{line.strip()}`")
        entries.append(entry)
    return tuple(entries)


def parse_labels(entries: Iterable[str]) -> dict[str, str]:
    """`key=value`, or `key` for an empty value."""
    labels = {}
    for entry in entries:
        key, _, value = entry.partition("=")
        if not key:
            raise InvalidArgument(f"a label is `key=value`, not `{entry}`")
        labels[key] = value
    return labels


def merge_env(*layers: Iterable[str]) -> list[str]:
    """Later layers replace earlier ones by name, in the place of the first; a mere `NAME` removes it."""
    merged: dict[str, str] = {}
    for layer in layers:
        for entry in layer:
            name, equals, _ = entry.partition("=")
            if equals:
                merged[name] = entry
            else:
                merged.pop(name, None)
    return list(merged.values())


def _check_name(name: str, entry: str) -> None:
    if not name:
        raise InvalidArgument(f"an environment variable needs a name: `{entry}`")
    if "\0" in entry:
        raise InvalidArgument(f"the environment variable `{name}` has a NUL character")
