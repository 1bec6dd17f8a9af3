"""`ls`: which containers there are, with Docker's filters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pyrust_ctr.containers import truth
from pyrust_ctr.containers.find import find
from pyrust_ctr.errors import (
    ContainerNotFound,
    ImageNotFound,
    InvalidArgument,
    InvalidReference,
    UnsupportedOption,
)

if TYPE_CHECKING:
    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.containers.table import ContainerRow
    from pyrust_ctr.models.container import ContainerState

Filters = Mapping[str, str | Sequence[str]]

STATUSES: Final = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_KNOWN: Final = frozenset({"id", "name", "label", "status", "exited", "ancestor", "before", "since"})
_LATER: Final = frozenset({"health", "network", "volume", "publish", "expose", "isolation", "is-task"})


def list_containers(
    context: ContainerContext, *, everything: bool, filters: Filters
) -> list[tuple[ContainerRow, ContainerState]]:
    """Containers that run, or all of them, newest first; filters of one key are alternatives, keys add up."""
    wanted = _checked(filters)
    truth.reap_abandoned(context)
    rows = [row for row in context.table.all() if _matches_row(row, wanted)]
    rows = _in_period(context, rows, wanted)
    if "ancestor" in wanted:
        rows = _of_images(context, rows, wanted["ancestor"])
    everything = everything or "status" in wanted or "exited" in wanted
    found = []
    for row in rows:
        state = truth.observe(context, row)
        if state is None or not (everything or state.is_running):
            continue
        if "status" in wanted and state.status not in wanted["status"]:
            continue
        if "exited" in wanted and not (
            state.status in {"exited", "removing"} and str(state.exit_code) in wanted["exited"]
        ):
            continue
        found.append((row, state))
    return found


def _checked(filters: Filters) -> dict[str, tuple[str, ...]]:
    wanted: dict[str, tuple[str, ...]] = {}
    for name, value in filters.items():
        if name in _LATER:
            raise UnsupportedOption(f"the filter `{name}` is not available yet")
        if name not in _KNOWN:
            raise InvalidArgument(
                f"`{name}` is not a filter of containers", hint=f"Known ones: {', '.join(sorted(_KNOWN))}."
            )
        wanted[name] = (value,) if isinstance(value, str) else tuple(map(str, value))
    for status in wanted.get("status", ()):
        if status not in STATUSES:
            raise InvalidArgument(f"`{status}` is not a status", hint=f"Known ones: {', '.join(STATUSES)}.")
    for code in wanted.get("exited", ()):
        if not code.lstrip("-").isdecimal():
            raise InvalidArgument(f"the filter `exited` takes an exit code, not `{code}`")
    return wanted


def _matches_row(row: ContainerRow, wanted: Mapping[str, tuple[str, ...]]) -> bool:
    if "id" in wanted and not any(row.id.startswith(prefix) for prefix in wanted["id"]):
        return False
    if "name" in wanted and not any(_name_matches(row.name, pattern) for pattern in wanted["name"]):
        return False
    # Labels add up, as in Docker.
    return all(_has_label(row, label) for label in wanted.get("label", ()))


def _name_matches(name: str, pattern: str) -> bool:
    try:
        expression = re.compile(pattern)
    except re.error as cause:
        raise InvalidArgument(
            f"the filter `name` takes a regular expression, and `{pattern}` is none"
        ) from cause
    return expression.search(name) is not None or expression.search(f"/{name}") is not None


def _has_label(row: ContainerRow, label: str) -> bool:
    key, equals, value = label.partition("=")
    labels = row.labels
    return key in labels and (not equals or labels[key] == value)


def _in_period(
    context: ContainerContext, rows: list[ContainerRow], wanted: Mapping[str, tuple[str, ...]]
) -> list[ContainerRow]:
    for name, is_after in (("since", True), ("before", False)):
        for text in wanted.get(name, ()):
            try:
                moment = find(context.table, text).created_at_ns
            except ContainerNotFound as cause:
                raise InvalidArgument(f"the filter `{name}` names no container: `{text}`") from cause
            rows = [
                row
                for row in rows
                if row.created_at_ns != moment and (row.created_at_ns > moment) is is_after
            ]
    return rows


def _of_images(
    context: ContainerContext, rows: list[ContainerRow], names: Sequence[str]
) -> list[ContainerRow]:
    image_ids = set()
    for name in names:
        try:
            image_ids.add(context.images.get(name).id)
        except (ImageNotFound, InvalidReference):
            continue
    return [row for row in rows if row.image_id in image_ids or row.image_name in names]
