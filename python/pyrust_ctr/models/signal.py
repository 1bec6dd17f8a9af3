"""Signals by name and number (`signal(7)`, x86 and arm numbering)."""

from __future__ import annotations

import signal
from typing import Final

from pyrust_ctr.errors import InvalidArgument

_RT_MINIMUM: Final = 34
_RT_MAXIMUM: Final = 64


def parse_signal(value: int | str) -> int:
    """The number of `SIGTERM`, `term`, `15`, `RTMIN+3` or 15; 0 is not a signal here."""
    if isinstance(value, str):
        text = value.strip().upper()
        number = int(text) if text.isdecimal() else _by_name(text.removeprefix("SIG"))
    else:
        number = -1 if isinstance(value, bool) else value
    if not 1 <= number <= _RT_MAXIMUM:
        raise InvalidArgument(
            f"`{value}` is not a signal", hint="Use a name like `TERM` or a number like `15`."
        )
    return number


def signal_name(number: int) -> str:
    """`SIGTERM` of 15."""
    try:
        return signal.Signals(number).name
    except ValueError:
        if _RT_MINIMUM <= number <= _RT_MAXIMUM:
            return f"SIGRTMIN+{number - _RT_MINIMUM}"
        return f"signal {number}"


def _by_name(name: str) -> int:
    for base, sign in (("RTMIN", 1), ("RTMAX", -1)):
        if name.startswith(base):
            offset = name.removeprefix(base).lstrip("+" if sign > 0 else "-") or "0"
            if not offset.isdecimal():
                return -1
            number = _RT_MINIMUM + int(offset) if sign > 0 else _RT_MAXIMUM - int(offset)
            return number if _RT_MINIMUM <= number <= _RT_MAXIMUM else -1
    found = signal.Signals.__members__.get(f"SIG{name}")
    return found.value if found is not None else -1
