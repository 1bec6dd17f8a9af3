"""`load`: images from an archive, as `docker save`, `skopeo` and `podman save` write them.

The archive is unpacked into a fresh folder by the core, with the same safety as a layer; every member is then
opened beneath that folder. Docker archives have a `manifest.json`, old ones only `repositories`; OCI layouts
an `index.json`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from pyrust_ctr.errors import ContentError, InvalidArgument, NotFound
from pyrust_ctr.images import content, transfer
from pyrust_ctr.images.archive import ArchivedImage, ArchivedLayer, ArchiveFolder
from pyrust_ctr.images.context import ImageContext, now_ns
from pyrust_ctr.images.docker_archive import read_docker_archive, read_legacy_archive
from pyrust_ctr.images.image_config import created_ns
from pyrust_ctr.images.oci_layout import read_oci_layout
from pyrust_ctr.images.pull import layers_size
from pyrust_ctr.images.transfer import Job, ProgressCallback
from pyrust_ctr.models.image import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyrust_ctr.runtime.interface import LayerInfo, Progress

LoadSource = str | os.PathLike[str] | int
"""A path, or a descriptor that is read to its end and stays the caller's."""


def load(context: ImageContext, source: LoadSource, *, progress: ProgressCallback | None) -> list[Image]:
    """Brings every image of the archive here, plain or compressed; returns them in the archive's order."""
    with _opened(source) as (descriptor, name), content.adding(context):
        # The archive holds layers that may be compressed no further: its own limit is a few of theirs.
        limit = 8 * context.config.max_layer_bytes
        directory = context.store.unpack_archive(descriptor, max_bytes=limit, progress=None)
        try:
            folder = ArchiveFolder(context.store, directory, name)
            return [_bring(context, folder, archived, progress) for archived in _read(context, folder)]
        finally:
            context.store.discard(directory)


def _read(context: ImageContext, folder: ArchiveFolder) -> list[ArchivedImage]:
    readers: tuple[tuple[str, Callable[[], list[ArchivedImage]]], ...] = (
        ("manifest.json", partial(read_docker_archive, folder)),
        ("index.json", partial(read_oci_layout, folder)),
        ("repositories", partial(read_legacy_archive, folder, _apply_unknown(context, folder))),
    )
    for member, reader in readers:
        if folder.has(member):
            found = reader()
            if not found:
                raise ContentError(f"the archive `{folder.name}` has no images in it")
            return found
    raise ContentError(
        f"`{folder.name}` is not an archive of images: "
        "it has no `manifest.json`, `index.json` or `repositories`"
    )


def _bring(
    context: ImageContext, folder: ArchiveFolder, archived: ArchivedImage, progress: ProgressCallback | None
) -> Image:
    wanted: dict[str, ArchivedLayer] = {}
    for diff_id, layer in zip(archived.config.diff_ids, archived.layers, strict=True):
        wanted.setdefault(diff_id, layer)
    jobs = []
    for diff_id, layer in wanted.items():
        counters = context.runtime.new_progress()
        work = partial(_apply, context, folder, layer, diff_id, counters)
        present = context.store.layer(diff_id)
        jobs.append(
            Job(diff_id, folder.size(layer.member) if present is None else 0, counters, work, present)
        )
    # Unpacking is the work of the processors and the disk, not of a network: two at once are enough.
    transfer.run(jobs, parallel=min(2, context.config.parallel_downloads), report=progress)
    image_id = context.store.put_blob(archived.config_bytes)
    if archived.manifest is not None:
        context.store.put_blob(archived.manifest.body, archived.manifest.digest)
    image = Image(
        id=image_id,
        manifest_digest=archived.manifest.digest if archived.manifest is not None else "",
        manifest_type=archived.manifest.media_type if archived.manifest is not None else "docker-archive",
        platform=str(archived.config.platform),
        layers=archived.config.diff_ids,
        size_bytes=layers_size(context, archived.config.diff_ids),
        created_at_ns=created_ns(archived.config),
        pulled_at_ns=now_ns(),
    )
    return context.table.put(image, archived.names)


def _apply(
    context: ImageContext, folder: ArchiveFolder, layer: ArchivedLayer, diff_id: str, counters: Progress
) -> LayerInfo:
    with folder.opened(layer.member) as descriptor:
        if layer.descriptor is not None:
            folder.check(descriptor, layer.member, layer.descriptor)
        return context.store.apply_layer(
            descriptor, diff_id=diff_id, max_bytes=context.config.max_layer_bytes, progress=counters
        )


def _apply_unknown(context: ImageContext, folder: ArchiveFolder) -> Callable[[str], str]:
    """Unpacks a layer whose diff id nobody wrote down, and returns the diff id."""

    def apply(member: str) -> str:
        with folder.opened(member) as descriptor:
            limit = context.config.max_layer_bytes
            return context.store.apply_layer(descriptor, diff_id=None, max_bytes=limit).diff_id

    return apply


@contextmanager
def _opened(source: LoadSource) -> Iterator[tuple[int, str]]:
    if isinstance(source, int):
        yield source, "standard input" if source == 0 else f"file descriptor {source}"
        return
    path = os.fspath(source)
    if os.path.isdir(path):
        raise InvalidArgument(f"cannot load `{path}`: it is a directory, and an archive is needed")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as cause:
        raise NotFound(f"cannot load `{path}`: there is no such file") from cause
    except OSError as cause:
        raise InvalidArgument(f"cannot load `{path}`: {cause.strerror}") from cause
    try:
        yield descriptor, path
    finally:
        os.close(descriptor)
