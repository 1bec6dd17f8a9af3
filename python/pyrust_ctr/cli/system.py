"""`pctr doctor`, `pctr info`, `pctr version`."""

from __future__ import annotations

import platform
from typing import Annotated, Any

import typer

from pyrust_ctr.cli import _output
from pyrust_ctr.paths import Paths


def version_line() -> str:
    """`pctr 0.1.0`."""
    from importlib.metadata import version as installed_version

    return f"pctr {installed_version('pyrust-ctr')}"


def version() -> None:
    """Show the version."""
    _output.line(version_line())


def doctor() -> None:
    """Check this machine for every feature that the engine uses.

    Ends with status 1 when a required feature is missing.
    """
    from pyrust_ctr import runtime

    features = runtime.load().doctor(str(Paths.resolve().root))
    missing = [feature for feature in features if not feature.available]
    _output.table(
        ["FEATURE", "STATUS", "NEEDED", "FOUND"],
        (
            [
                feature.name,
                "ok" if feature.available else "missing",
                "required" if feature.required else "optional",
                feature.detail,
            ]
            for feature in features
        ),
    )
    for feature in missing:
        if feature.remedy:
            _output.line("")
            _output.line(f"{feature.name}: {feature.remedy}")
    if any(feature.required for feature in missing):
        raise typer.Exit(1)


def info(
    template: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="TEMPLATE", help="Format: `json` or a Go template."),
    ] = None,
) -> None:
    """Show what this engine and this machine are."""
    from pyrust_ctr.engine import Engine

    with Engine() as engine:
        facts: dict[str, Any] = engine.info()
    if template is not None:
        _output.inspection([facts], template)
        return
    for name, value in facts.items():
        _output.line(f"{name}: {value}")


def machine() -> dict[str, str]:
    """Kernel and architecture."""
    return {"KernelVersion": platform.release(), "Architecture": platform.machine()}
