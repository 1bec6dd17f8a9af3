"""Sizes in Docker's notation: binary units, `64m` is 64 MiB."""

from __future__ import annotations

import re
from typing import Final

from pyrust_ctr.errors import InvalidArgument

_SIZE: Final = re.compile(
    r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s?(?:([bkmgtp])(?:i?b)?)?", re.ASCII | re.IGNORECASE
)
_EXPONENTS: Final = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_MAXIMUM: Final = 2**63 - 1


def parse_size(value: int | str, what: str) -> int:
    """Bytes of `64m`, `1.5g`, `512` or 512; `what` names the option in the error."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidArgument(f"{what} must be a number of bytes or a size like `64m`, not `{value!r}`")
    if isinstance(value, int):
        size = value
    else:
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise InvalidArgument(
                f"{what} must be a size like `512k`, `64m` or `1g`, not `{value}`",
            )
        factor: int = 1024 ** _EXPONENTS[(match[2] or "b").lower()]
        size = int(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor
    if not 0 <= size <= _MAXIMUM:
        raise InvalidArgument(f"{what} must be between 0 and {_MAXIMUM} bytes, not `{value}`")
    return size
