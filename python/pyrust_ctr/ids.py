"""Identifiers of containers and execs."""

from __future__ import annotations

import os
import re

_FULL_ID = re.compile(r"[0-9a-f]{64}")
_PREFIX = re.compile(r"[0-9a-f]{1,64}")
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
"""What a container may be named (Docker's rule, and single characters)."""


def new_id() -> str:
    """64 random hexadecimal digits, never only decimal ones in the short form."""
    while True:
        candidate = os.urandom(32).hex()
        if not candidate[:12].isdecimal():
            return candidate


def short(identifier: str) -> str:
    """The twelve digits that lists show; a digest loses its algorithm."""
    return identifier.removeprefix("sha256:")[:12]


def is_full_id(text: str) -> bool:
    """Whether `text` is a whole identifier."""
    return _FULL_ID.fullmatch(text) is not None


def is_id_prefix(text: str) -> bool:
    """Whether `text` could be the beginning of an identifier."""
    return _PREFIX.fullmatch(text) is not None
