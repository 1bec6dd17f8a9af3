"""`pctr run` and `pctr create`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import typer

from pyrust_ctr.cli import _foreground, _output
from pyrust_ctr.cli._container_options import command as container_command
from pyrust_ctr.cli._container_options import options_of
from pyrust_ctr.engine import Engine
from pyrust_ctr.errors import Error, ImageNotFound, InvalidArgument

if TYPE_CHECKING:
    from pyrust_ctr.containers.container import Container
    from pyrust_ctr.models.container import ContainerConfig


def _run(image: str, command: tuple[str, ...], **values: Any) -> None:
    is_detached: bool = values["detach"]
    tty: bool = values["tty"]
    interactive: bool = values["interactive"] and not is_detached
    if not is_detached:
        _foreground.check_terminal(tty=tty, interactive=interactive)
    with Engine() as engine:
        container = _created(engine, image, command, values, is_detached=is_detached)
        try:
            if is_detached:
                session = container.start_attached()
                for warning in session.warnings:
                    _output.warn(warning)
                session.close()
                _output.line(container.id)
                return
            status = _foreground.run_in_foreground(
                container,
                tty=tty,
                interactive=interactive,
                passes_signals=not values["no_sig_proxy"],
                ends_with_reader=values["rm"],
            )
        except Error:
            # It cannot have been started: what happens to a running one is not raised.
            if values["rm"]:
                container.remove(force=True)
            raise
        if status is not None and values["rm"]:
            container.remove(force=True)
    if status:
        raise typer.Exit(status)


def _create(image: str, command: tuple[str, ...], **values: Any) -> None:
    with Engine() as engine:
        _output.line(_created(engine, image, command, values, is_detached=True, is_run=False).id)


def _created(
    engine: Engine,
    image: str,
    command: tuple[str, ...],
    values: dict[str, Any],
    *,
    is_detached: bool,
    is_run: bool = True,
) -> Container:
    from dataclasses import replace

    from pyrust_ctr.containers.configure import configure

    config = configure(image, command or None, options_of(values), outer_env=os.environ)
    if config.stdin_open and not is_detached:
        config = replace(config, stdin_once=True)
    cidfile = values["cidfile"]
    if cidfile and os.path.lexists(cidfile):
        raise InvalidArgument(
            f"the file for the container's id exists already: `{cidfile}`",
            hint="Another container may use it; remove it, or choose another name.",
        )
    # A container that nobody but this command knows goes away with it, should it end before the start.
    is_transient = is_run and config.auto_remove and not is_detached
    container = _with_image(engine, config, values, is_transient=is_transient)
    if cidfile:
        try:
            with open(cidfile, "x", encoding="ascii") as file:
                file.write(container.id)
        except OSError as cause:
            container.remove()
            raise InvalidArgument(f"cannot write the file `{cidfile}`: {cause.strerror}") from cause
    return container


def _with_image(
    engine: Engine, config: ContainerConfig, values: dict[str, Any], *, is_transient: bool
) -> Container:
    policy: str = values["pull"] or "missing"
    size = _foreground.terminal_size() if config.tty else (24, 80)

    def create(pull: str) -> Container:
        return engine.containers.create_from_config(
            config, name=values["name"], pull=pull, is_transient=is_transient, terminal_size=size
        )

    if policy == "missing":
        try:
            return create("never")
        except ImageNotFound:
            if not values["quiet"]:
                _output.note(f"Unable to find image '{_with_tag(config.image)}' locally")
    elif policy != "always":
        return create(policy)
    from pyrust_ctr.cli import _progress

    with _progress.layers(quiet=values["quiet"]) as progress:
        engine.images.pull(config.image, platform=config.platform or None, progress=progress)
    return create("never")


def _with_tag(image: str) -> str:
    from pyrust_ctr.refs import Reference

    try:
        return Reference.parse(image).familiar
    except Error:
        return image


run = container_command(
    "run",
    _run,
    "Create a container from an image and run a command in it.\n\nThe exit status is the program's own; "
    "125 when "
    "the engine failed, 126 when the program cannot be executed, 127 when it does not exist.",
    is_run=True,
)
create = container_command("create", _create, "Create a container and print its id.", is_run=False)
