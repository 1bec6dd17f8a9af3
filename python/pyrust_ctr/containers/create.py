"""`create`: the files first, then the row, so that there is never a row without its files."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pyrust_ctr import ids
from pyrust_ctr.containers import plan, truth
from pyrust_ctr.containers.names import check_name, random_name
from pyrust_ctr.containers.owner import Owner
from pyrust_ctr.containers.table import ContainerRow, ImageGone, NameTaken
from pyrust_ctr.errors import ImageNotFound, NameInUse

if TYPE_CHECKING:
    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.models.container import ContainerConfig

_NAME_ATTEMPTS = 100


def create(
    context: ContainerContext,
    config: ContainerConfig,
    *,
    name: str | None,
    pull: str,
    is_transient: bool = False,
    terminal_size: tuple[int, int] = (24, 80),
) -> ContainerRow:
    """A container that was not started.

    A transient one is removed when this process ends without having started it. `NameInUse`, `ImageNotFound`,
    `InvalidArgument`.
    """
    chosen = None if name is None else check_name(name)
    if chosen is not None:
        refuse_taken(context, chosen)
    config = plan.with_ids(context, config)
    for last in (False, True):
        image = plan.resolve_image(context, config.image, config.platform, pull)
        container_id = ids.new_id()
        final = plan.with_image_defaults(config, image)
        around = plan.surroundings(context, config, terminal_size=terminal_size, must_join=False)
        spec = plan.spec_bytes(container_id, config, image, around)
        plan.make_sources(config)
        config_json = final.to_json()
        directory = context.directory(container_id)
        context.runtime.create_container(directory, spec)
        try:
            return insert(
                context,
                chosen,
                ContainerRow(
                    container_id,
                    "",
                    image.image.id,
                    config.image,
                    time.time_ns(),
                    config_json,
                    config.auto_remove,
                    Owner.current() if is_transient else None,
                ),
            )
        except BaseException as failure:
            context.runtime.remove_container(directory, container_id, context.trash)
            if not isinstance(failure, ImageGone):
                raise
            if last:
                raise image_removed(config.image) from failure
    raise AssertionError("unreachable")


def insert(context: ContainerContext, name: str | None, nameless: ContainerRow) -> ContainerRow:
    """Inserts a row under the chosen name, or under a random one that is free."""
    for attempt in range(_NAME_ATTEMPTS):
        row = replace(nameless, name=name or random_name(attempt))
        try:
            context.table.insert(row)
        except NameTaken:
            if name is not None:
                refuse_taken(context, name)
            continue
        return row
    raise NameInUse("no free name for the container was found", hint="Choose one with `--name`.")


def refuse_taken(context: ContainerContext, name: str) -> None:
    """`NameInUse` when a container has the name, unless that one turns out to be gone."""
    row = context.table.by_name(name)
    if row is None or truth.observe(context, row) is None:
        return
    raise NameInUse(
        f'the container name "/{name}" is already in use by container "{row.id}"',
        hint="You have to remove (or rename) that container to be able to reuse that name.",
    )


def image_removed(name: str) -> ImageNotFound:
    """The image went away between looking it up and using it."""
    return ImageNotFound(f"No such image: {name}", hint="It was removed while the container was being made.")
