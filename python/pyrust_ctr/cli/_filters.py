"""`--filter KEY=VALUE`, as often as wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrust_ctr.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse_filters(texts: Sequence[str]) -> dict[str, list[str]]:
    """`key=value` texts by key."""
    filters: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidArgument(f"a filter is `key=value`, not `{text}`")
        filters.setdefault(key.strip().lower(), []).append(value.strip())
    return filters
