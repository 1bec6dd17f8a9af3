"""Reading JSON that strangers wrote: one meaning a document, or none."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from pyrust_ctr.errors import ContentError, TooLarge

MAX_DOCUMENT_BYTES = 4 << 20
"""Size limit of manifests; registries keep to the same."""
MAX_CONFIG_BYTES = 8 << 20


def parse_object(data: bytes, what: str, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> dict[str, Any]:
    """The JSON object in `data`; `what` names it in errors ("the manifest of `x`").

    Refused: anything but an object in UTF-8, a key twice in one object, numbers that are not numbers, nesting
    without end, texts that cannot be written down again.
    """
    if len(data) > max_bytes:
        raise TooLarge(f"{what} has {len(data)} bytes, more than the limit of {max_bytes}")
    try:
        # Python would guess UTF-16 and UTF-32, which no other program reads here.
        document = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
        if b"\\u" in data:  # half a surrogate pair is no character
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise ContentError(f"{what} is nested too deeply") from None
    except ValueError as cause:  # JSONDecodeError, UnicodeError and the two refusals below
        raise ContentError(f"{what} is not valid JSON: {cause}") from None
    if not isinstance(document, dict):
        raise ContentError(f"{what} is not a JSON object")
    return document


def refuse_lookalike_keys(document: dict[str, Any], known: frozenset[str], what: str) -> None:
    """Refuses `Layers` beside or instead of `layers`: parsers disagree about which of them counts."""
    by_folded = {key.lower(): key for key in known}
    for key in document:
        expected = by_folded.get(key.lower())
        if expected is not None and key != expected:
            raise ContentError(
                f"{what} is ambiguous: it has a key `{key}` that could be read as `{expected}`"
            )


def text(document: dict[str, Any], key: str, what: str) -> str:
    """An optional text; empty when it is missing or null."""
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ContentError(f"`{key}` of {what} is not a text")
    return value


def texts(document: dict[str, Any], key: str, what: str) -> tuple[str, ...] | None:
    """An optional list of texts; None when it is missing or null."""
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ContentError(f"`{key}` of {what} is not a list of texts")
    return tuple(value)


def mapping(document: dict[str, Any], key: str, what: str) -> dict[str, Any]:
    """An optional object; empty when it is missing or null."""
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ContentError(f"`{key}` of {what} is not an object")
    return value


def number(document: dict[str, Any], key: str, what: str) -> int:
    """An optional whole number of 64 bits; 0 when it is missing or null."""
    value = document.get(key)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
        raise ContentError(f"`{key}` of {what} is not a whole number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key `{key}` appears twice")
            seen.add(key)
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"`{name}` is not a number")
