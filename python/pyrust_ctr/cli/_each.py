"""Commands on several containers: each is tried, each failure is told, and the status says whether
there was one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from pyrust_ctr.cli._errors import report
from pyrust_ctr.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def for_each(names: Iterable[str], act: Callable[[str], None]) -> None:
    """Calls `act` with every name; ends with the status of the first failure."""
    status = 0
    for name in names:
        try:
            act(name)
        except Error as failure:
            status = status or report(failure)
    if status:
        raise typer.Exit(status)
