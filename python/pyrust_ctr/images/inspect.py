"""`inspect`: an image in the shape of Docker's JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyrust_ctr.images.content import config_of

if TYPE_CHECKING:
    from pyrust_ctr.images.context import ImageContext
    from pyrust_ctr.models.image import Image, ImageConfig

_ZERO_TIME = "0001-01-01T00:00:00Z"


def inspect(context: ImageContext, image: Image) -> dict[str, Any]:
    """Everything about an image; the keys are Docker's (`GET /images/{name}/json`)."""
    config = config_of(context, image, image.short_id)
    os_name, architecture, variant = (*image.platform.split("/"), "")[:3]
    document: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Comment": str(config.document.get("comment") or ""),
        "Created": config.created or _ZERO_TIME,
        "DockerVersion": str(config.document.get("docker_version") or ""),
        "Author": config.author,
        "Config": _settings(config),
        "Architecture": architecture,
        "Variant": variant,
        "Os": os_name,
        "Size": image.size_bytes,
        "RootFS": {"Type": "layers", "Layers": list(image.layers)},
        "Metadata": {"LastTagTime": _ZERO_TIME},
        "Descriptor": {"mediaType": image.manifest_type, "digest": image.manifest_digest},
    }
    if not variant:
        del document["Variant"]
    if not image.manifest_digest:
        del document["Descriptor"]
    return document


def _settings(config: ImageConfig) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "User": config.user,
        "Env": list(config.env),
        "Cmd": list(config.cmd) if config.cmd is not None else None,
        "Entrypoint": list(config.entrypoint) if config.entrypoint is not None else None,
        "WorkingDir": config.working_dir,
        "Volumes": {path: {} for path in config.volumes} or None,
        "ExposedPorts": {port: {} for port in config.exposed_ports} or None,
        "Labels": dict(config.labels),
        "StopSignal": config.stop_signal,
        "Shell": list(config.shell) or None,
        "OnBuild": None,
    }
    if config.healthcheck is not None:
        check = config.healthcheck
        settings["Healthcheck"] = {
            "Test": list(check.test),
            "Interval": check.interval_ns,
            "Timeout": check.timeout_ns,
            "StartPeriod": check.start_period_ns,
            "Retries": check.retries,
        }
    optional = ("Volumes", "ExposedPorts", "StopSignal", "Shell")
    return {key: value for key, value in settings.items() if value or key not in optional}
