"""Where a container's namespaces come from: `--network`, `--pid`, `--ipc`, `--uts`."""

from __future__ import annotations

from typing import Final

from pyrust_ctr.errors import InvalidArgument, UnsupportedOption

CONTAINER_PREFIX: Final = "container:"


def parse_network(text: str) -> str:
    """`none`, `host` or `container:NAME`."""
    if text in {"", "none"}:
        return "none"
    if text == "host" or _is_container(text):
        return text
    raise UnsupportedOption(f"networks are not available yet: `{text}`", hint="Use `none` or `host`.")


def parse_pid(text: str) -> str:
    """`private`, `host` or `container:NAME`."""
    return _parse(text, "pid", {"private", "host"}, joins=True)


def parse_ipc(text: str) -> str:
    """`private`, `none`, `host`, `shareable` or `container:NAME`."""
    return _parse(text, "ipc", {"private", "none", "host", "shareable"}, joins=True)


def parse_uts(text: str) -> str:
    """`private` or `host`."""
    return _parse(text, "uts", {"private", "host"}, joins=False)


def joined_container(mode: str) -> str | None:
    """The container that a mode names, None when it names none."""
    return mode.removeprefix(CONTAINER_PREFIX) if _is_container(mode) else None


def _parse(text: str, what: str, known: set[str], *, joins: bool) -> str:
    if not text:
        return "private"
    if text in known or (joins and _is_container(text)):
        return text
    choices = sorted(known) + ([f"{CONTAINER_PREFIX}NAME"] if joins else [])
    raise InvalidArgument(f"`{text}` is not a {what} namespace", hint=f"Use one of: {', '.join(choices)}.")


def _is_container(text: str) -> bool:
    return text.startswith(CONTAINER_PREFIX) and len(text) > len(CONTAINER_PREFIX)
