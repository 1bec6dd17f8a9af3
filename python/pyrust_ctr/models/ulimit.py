"""Resource limits of processes (`getrlimit(2)`): `--ulimit nofile=1024:2048`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pyrust_ctr.errors import InvalidArgument

RESOURCES: Final[dict[str, int]] = {
    "cpu": 0,
    "fsize": 1,
    "data": 2,
    "stack": 3,
    "core": 4,
    "rss": 5,
    "nproc": 6,
    "nofile": 7,
    "memlock": 8,
    "as": 9,
    "locks": 10,
    "sigpending": 11,
    "msgqueue": 12,
    "nice": 13,
    "rtprio": 14,
    "rttime": 15,
}
"""Kernel number by name."""

UNLIMITED: Final = 2**64 - 1
_VALUE: Final = re.compile(r"-1|[0-9]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ulimit:
    """One limit; `UNLIMITED` is none."""

    name: str
    soft: int
    hard: int

    @classmethod
    def parse(cls, text: str) -> Ulimit:
        """`name=soft[:hard]`; -1 is unlimited; without a hard limit both are the same."""
        name, equals, values = text.partition("=")
        if name not in RESOURCES:
            raise InvalidArgument(
                f"`{name}` is not a resource limit", hint=f"Known ones: {', '.join(RESOURCES)}."
            )
        soft_text, colon, hard_text = values.partition(":")
        if not colon:
            hard_text = soft_text
        if not equals or not _VALUE.fullmatch(soft_text) or not _VALUE.fullmatch(hard_text):
            raise InvalidArgument(f"a resource limit is `name=soft[:hard]` with whole numbers, not `{text}`")
        return cls.of(name, int(soft_text), int(hard_text))

    @classmethod
    def of(cls, name: str, soft: int, hard: int | None = None) -> Ulimit:
        """A checked limit; -1 is unlimited."""
        if name not in RESOURCES:
            raise InvalidArgument(
                f"`{name}` is not a resource limit", hint=f"Known ones: {', '.join(RESOURCES)}."
            )
        hard = soft if hard is None else hard
        soft, hard = (UNLIMITED if value == -1 else value for value in (soft, hard))
        if not 0 <= soft <= UNLIMITED or not 0 <= hard <= UNLIMITED:
            raise InvalidArgument(f"the resource limit `{name}` must be between 0 and 2**64-1, or -1")
        if soft > hard:
            raise InvalidArgument(f"the soft limit of `{name}` is above its hard limit")
        return cls(name, soft, hard)
