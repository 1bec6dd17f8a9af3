"""Who may import whom: downwards only, and the compiled core through one room."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python/pyrust_ctr"

# From the top; a room imports rooms of lower levels, and its own.
LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"__main__"}),
    frozenset({"cli", "daemon"}),
    frozenset({"__init__"}),
    frozenset({"aio"}),
    frozenset({"engine"}),
    frozenset({"images", "containers", "networks", "volumes", "build"}),
    frozenset({"runtime", "registry", "state", "events"}),
    frozenset({"config", "wire"}),
    frozenset({"models"}),
    frozenset({"errors", "refs", "ids", "paths"}),
)
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# Rooms of one level that may see each other, each with its reason.
SIDEWAYS = {
    ("containers", "images"): "a container is made from an image",
    ("refs", "errors"): "a reference that does not parse is an error",
}
# At the start of a container or of the program none of these may be loaded.
HEAVY = (
    "asyncio",
    "rich",
    "http",
    "email",
    "ssl",
    "importlib.metadata",
    "urllib.request",
    "logging",
    "tarfile",
)

FILES = sorted(PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(path: Path) -> list[tuple[int, str]]:
    """Modules of this package that a file imports at run time, with their lines."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            if module == "pyrust_ctr":
                found.extend((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            else:
                found.append((node.lineno, module))
    return [(line, name) for line, name in found if name.split(".")[0] == "pyrust_ctr"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    room = _room(path)
    assert room in LEVEL_OF, f"`{room}` has no place in the house: give it one in LEVELS"
    for line, name in _imports(path):
        parts = name.split(".")
        target = parts[1] if len(parts) > 1 else "__init__"
        if target == "_core":
            assert room == "runtime", f"{path}:{line}: only `runtime` imports `_core`"
            continue
        if target == room or target not in LEVEL_OF:
            continue
        allowed = LEVEL_OF[target] > LEVEL_OF[room] or (room, target) in SIDEWAYS
        assert allowed, f"{path}:{line}: `{room}` may not import `{target}`"


@pytest.mark.parametrize("module", ["pyrust_ctr", "pyrust_ctr.engine"])
def test_starting_loads_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_no_file_is_longer_than_the_law_allows() -> None:
    root = PACKAGE.parents[1]
    long = {
        str(path.relative_to(root)): lines
        for folder in ("python", "rust", "tests", "benches")
        for path in (root / folder).rglob("*")
        if path.suffix in {".py", ".rs"} and (lines := path.read_text().count("\n")) > 800
    }
    assert long == {}
