"""The door to the core: every kind of failure has an exception, every promise of the interface is kept."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyrust_ctr import errors
from pyrust_ctr.runtime import errors as translation
from pyrust_ctr.runtime import interface

PACKAGE = Path(translation.__file__).parents[1]


@dataclass
class Failure:
    kind: str
    message: str = "cannot do it"
    errno: int | None = None
    path: str | None = None


def test_the_table_is_complete() -> None:
    core = pytest.importorskip("pyrust_ctr._core")
    assert set(core.error_kinds()) == set(translation.EXCEPTIONS)


@pytest.mark.parametrize("kind", sorted(translation.EXCEPTIONS))
def test_a_failure_keeps_its_sentence(kind: str) -> None:
    made = translation.exception_for(Failure(kind))
    assert type(made) is translation.EXCEPTIONS[kind]
    assert str(made) == "cannot do it"


def test_an_unknown_kind_is_still_an_error_of_ours() -> None:
    assert type(translation.exception_for(Failure("new"))) is errors.SystemError_


def test_the_exit_statuses_of_docker() -> None:
    statuses = {"command_not_found": 127, "command_not_executable": 126}
    for kind, exception in translation.EXCEPTIONS.items():
        assert exception.exit_status == statuses.get(kind, 125)


def _errors() -> list[type[errors.Error]]:
    return [
        member
        for _, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, errors.Error)
    ]


def test_codes_are_stable_and_unique() -> None:
    codes = [member.code for member in _errors()]
    assert len(codes) == len(set(codes))


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = errors.__doc__ or ""
    for member in _errors():
        if member is errors.Error:
            continue
        assert f" {member.code}" in drawn, member
        assert member.__name__ in drawn, member


def test_the_core_has_every_method_of_the_interface() -> None:
    """Read from the source, so that it also holds where the core is not built."""
    tree = ast.parse((PACKAGE / "runtime/core.py").read_text())
    methods = {
        node.name: {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    for made, promised in {
        "CoreRuntime": interface.Runtime,
        "CoreStore": interface.Store,
        "CoreRegistry": interface.Registry,
        "CoreStartedContainer": interface.StartedContainer,
        "CoreStartedExec": interface.StartedExec,
        "CoreAttachment": interface.Attachment,
    }.items():
        wanted = {
            name
            for name, member in vars(promised).items()
            if not name.startswith("_") and inspect.isfunction(member)
        }
        assert wanted <= methods[made], made
