"""Completion of names for the shell."""

from __future__ import annotations

from pyrust_ctr.errors import Error


def containers(incomplete: str) -> list[str]:
    """Names of containers that begin so."""
    return _names(incomplete, everything=True)


def running_containers(incomplete: str) -> list[str]:
    """Names of running containers that begin so."""
    return _names(incomplete, everything=False)


def images(incomplete: str) -> list[str]:
    """Tags of images that begin so."""
    from pyrust_ctr.engine import Engine

    try:
        with Engine() as engine:
            found = engine.images.list()
    except Error:
        return []
    return [tag for image in found for tag in image.tags if tag.startswith(incomplete)]


def _names(incomplete: str, *, everything: bool) -> list[str]:
    from pyrust_ctr.engine import Engine

    try:
        with Engine() as engine:
            found = engine.containers.list(all=everything)
    except Error:
        return []  # completion never complains
    return [container.name for container in found if container.name.startswith(incomplete)]
