"""`pull`: from a reference to an image in the store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pyrust_ctr.images import content, transfer
from pyrust_ctr.images.context import ImageContext, now_ns
from pyrust_ctr.images.image_config import created_ns
from pyrust_ctr.images.platform import is_same, parse_platform
from pyrust_ctr.images.resolve import Resolved, Resolver
from pyrust_ctr.images.transfer import Job, ProgressCallback
from pyrust_ctr.models.image import Image, Platform, PulledImage
from pyrust_ctr.refs import Reference

if TYPE_CHECKING:
    import threading

    from pyrust_ctr.images.manifests import Descriptor
    from pyrust_ctr.registry.client import RegistryClient


def pull(
    context: ImageContext,
    name: str,
    *,
    platform: str | None,
    progress: ProgressCallback | None,
    cancel: threading.Event | None = None,
) -> PulledImage:
    """Brings the image called `name` here. What is here already is neither fetched nor stored again."""
    reference = Reference.parse(name)
    wanted = parse_platform(platform) if platform is not None else None
    with content.adding(context):
        pinned = _pinned(context, reference, wanted)
        if pinned is not None:
            return pinned
        client = context.access.client(reference.registry)
        resolved = Resolver(client, context.store, reference, wanted).resolve()
        return _bring(context, client, reference, resolved, progress, cancel)


def _pinned(context: ImageContext, reference: Reference, wanted: Platform | None) -> PulledImage | None:
    """An image that is named by digest and is here cannot have changed: nobody need be asked."""
    if reference.digest is None:
        return None
    image = context.table.by_name(reference.canonical)
    if image is None or not content.is_complete(context, image):
        return None
    if wanted is not None and not is_same(wanted, parse_platform(image.platform)):
        return None
    return PulledImage(image, reference.digest, is_new=False)


def _bring(
    context: ImageContext,
    client: RegistryClient,
    reference: Reference,
    resolved: Resolved,
    progress: ProgressCallback | None,
    cancel: threading.Event | None,
) -> PulledImage:
    manifest, config = resolved.manifest, resolved.config
    names = [reference.canonical, reference.with_digest(resolved.top.digest).canonical]
    before = context.table.by_name(reference.canonical)
    known = context.table.by_id(manifest.config.digest)
    was_complete = known is not None and content.is_complete(context, known)
    _fetch_layers(context, client, reference, resolved, progress, cancel)
    context.store.put_blob(resolved.config_bytes, manifest.config.digest)
    context.store.put_blob(manifest.body, manifest.digest)
    context.store.put_blob(resolved.top.body, resolved.top.digest)
    image = Image(
        id=manifest.config.digest,
        manifest_digest=manifest.digest,
        manifest_type=manifest.media_type,
        platform=str(resolved.platform),
        layers=config.diff_ids,
        size_bytes=layers_size(context, config.diff_ids),
        created_at_ns=created_ns(config),
        pulled_at_ns=known.pulled_at_ns if known is not None and was_complete else now_ns(),
    )
    stored = context.table.put(image, dict.fromkeys(names))
    is_new = not was_complete or before is None or before.id != image.id
    return PulledImage(stored, resolved.top.digest, is_new)


def _fetch_layers(
    context: ImageContext,
    client: RegistryClient,
    reference: Reference,
    resolved: Resolved,
    progress: ProgressCallback | None,
    cancel: threading.Event | None,
) -> None:
    # A layer may stand in an image twice; it is one layer of the store.
    layers: dict[str, Descriptor] = {}
    for diff_id, descriptor in zip(resolved.config.diff_ids, resolved.manifest.layers, strict=True):
        layers.setdefault(diff_id, descriptor)
    config = context.config
    jobs = []
    for diff_id, descriptor in layers.items():
        counters = context.runtime.new_progress()
        work = partial(
            client.pull_layer,
            context.store,
            reference.path,
            descriptor.digest,
            descriptor.size,
            diff_id,
            max_bytes=config.max_layer_bytes,
            progress=counters,
        )
        jobs.append(Job(descriptor.digest, descriptor.size, counters, work, context.store.layer(diff_id)))
    transfer.run(jobs, parallel=config.parallel_downloads, report=progress, cancel=cancel)


def layers_size(context: ImageContext, diff_ids: tuple[str, ...]) -> int:
    """Bytes of the regular files in the layers, each layer counted once."""
    infos = [context.store.layer(diff_id) for diff_id in dict.fromkeys(diff_ids)]
    return sum(info.disk_bytes for info in infos if info is not None)
