"""Where things are. Together with `config`, the only module that knows directory names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ROOT = Path("/var/lib/pyrust-ctr")
ROOT_VARIABLE = "PYRUST_CTR_ROOT"


@dataclass(frozen=True, slots=True)
class Paths:
    """The state directory and what is in it."""

    root: Path

    @classmethod
    def resolve(cls, root: str | os.PathLike[str] | None = None) -> Paths:
        """`root`, else `$PYRUST_CTR_ROOT`, else `/var/lib/pyrust-ctr`; made absolute, not created."""
        chosen = root if root is not None else os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT
        return cls(Path(os.path.abspath(chosen)))

    @property
    def database(self) -> Path:
        """The state database."""
        return self.root / "state.db"

    @property
    def containers(self) -> Path:
        """One folder a container, named by its full id."""
        return self.root / "containers"

    @property
    def trash(self) -> Path:
        """What is to be deleted."""
        return self.root / "trash"

    @property
    def locks(self) -> Path:
        """Lock files of the state."""
        return self.root / "locks"

    def container(self, container_id: str) -> Path:
        """The folder of one container."""
        return self.containers / container_id

    def container_spec(self, container_id: str) -> Path:
        """The specification that the container was made from."""
        return self.containers / container_id / "spec.json"

    def container_log(self, container_id: str) -> Path:
        """The current log file; older ones have `.1`, `.2` … appended."""
        return self.containers / container_id / "container.log"


def binary(name: str) -> Path:
    """A static program of this package (`pyrust-ctr-shim`, `hello-world`)."""
    return Path(__file__).parent / "_bin" / name
