"""From what a user writes to a container: a name first, then a full id, then a unique beginning of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrust_ctr import ids
from pyrust_ctr.errors import ContainerNotFound, InvalidArgument

if TYPE_CHECKING:
    from pyrust_ctr.containers.table import ContainerRow, ContainerTable


def find(table: ContainerTable, text: str) -> ContainerRow:
    """The container that `text` names; `ContainerNotFound`, or `InvalidArgument` when it is ambiguous."""
    if not text:
        raise InvalidArgument("a container needs a name or an id, got an empty text")
    by_name = table.by_name(text.removeprefix("/"))
    if by_name is not None:
        return by_name
    if ids.is_id_prefix(text):
        matches = table.by_id_prefix(text)
        if len(matches) > 1:
            raise InvalidArgument(
                f"`{text}` is the beginning of more than one container id", hint="Write more of the id."
            )
        if matches:
            return matches[0]
    raise not_found(text)


def not_found(text: str) -> ContainerNotFound:
    """The error for a container that is not there."""
    return ContainerNotFound(f"No such container: {text}", hint="`pctr ps -a` lists what is there.")
