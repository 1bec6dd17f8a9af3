"""`pctr login` and `pctr logout`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pyrust_ctr.cli import _ask, _output

_Server = Annotated[
    str | None,
    typer.Argument(metavar="[REGISTRY]", help="`host[:port]`; Docker Hub by default.", show_default=False),
]


def login(
    registry: _Server = None,
    username: Annotated[str | None, typer.Option("--username", "-u", help="User name.")] = None,
    password: Annotated[str | None, typer.Option("--password", "-p", help="Password or token.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
) -> None:
    """Keep credentials for a registry, after it has taken them."""
    from pyrust_ctr.engine import Engine
    from pyrust_ctr.errors import InvalidArgument
    from pyrust_ctr.refs import DEFAULT_REGISTRY, normalize_registry

    host = normalize_registry(registry or DEFAULT_REGISTRY)
    if password_stdin:
        if password is not None:
            raise InvalidArgument("`--password` and `--password-stdin` exclude each other")
        if username is None:
            raise InvalidArgument("`--password-stdin` needs `--username`")
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    elif password is not None:
        _output.warn("other users may see a password on the command line: `--password-stdin` is safer")
    if username is None:
        username = _ask.ask("Username", option="--username", is_secret=False)
    if password is None:
        password = _ask.ask("Password", option="--password-stdin", is_secret=True)
    if not username or not password:
        raise InvalidArgument("a user name and a password are needed")
    if ":" in username:
        raise InvalidArgument("a user name cannot have a colon")
    with Engine() as engine:
        kept = engine.images.login(host, username, password)
    _output.warn(f"the password is kept unencrypted in `{kept.path}`")
    if kept.helper:
        _output.warn(
            f"the credential helper `{kept.helper}` that this file names is not supported and was not used"
        )
    _output.line("Login Succeeded")


def logout(registry: _Server = None) -> None:
    """Forget the credentials for a registry."""
    from pyrust_ctr.engine import Engine
    from pyrust_ctr.refs import DEFAULT_REGISTRY, normalize_registry

    host = normalize_registry(registry or DEFAULT_REGISTRY)
    with Engine() as engine:
        was_known = engine.images.logout(host)
    if was_known:
        _output.line(f"Removing login credentials for {host}")
    else:
        _output.note(f"Not logged in to {host}")
