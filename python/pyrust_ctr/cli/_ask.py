"""Questions to the user, on stderr: what a command prints on stdout is data."""

from __future__ import annotations

import sys

from pyrust_ctr.errors import InvalidArgument


def confirm(question: str) -> bool:
    """Whether the answer begins with `y`; an end of input is a no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def ask(what: str, *, option: str, is_secret: bool) -> str:
    """A line that the user types, not shown when it is secret; only a terminal is asked."""
    if not sys.stdin.isatty():
        raise InvalidArgument(
            f"cannot ask for the {what.lower()}: standard input is not a terminal", hint=f"Use `{option}`."
        )
    if is_secret:
        from getpass import getpass

        return getpass(f"{what}: ", stream=sys.stderr)
    sys.stderr.write(f"{what}: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()
