"""The test programs of this checkout and the shim, as `cargo test` builds them, without debug information."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The same selection as in `make test-rust`, so that nothing is built twice.
SELECTION = ["--workspace", "--exclude", "ctr-py"]
CARGO = ["cargo", "test", "-q", "--no-run", *SELECTION, "--message-format=json-render-diagnostics"]


@dataclass(frozen=True, slots=True)
class Suite:
    """A test program, and what of it is run: not what only moves many bytes, which emulation makes slow."""

    crate: str
    kind: str
    target: str
    arguments: str = ""


SUITES = {
    "sys": Suite("ctr-sys", "lib", "ctr_sys", "--skip tree:: --skip frame::"),
    "core": Suite("ctr-core", "lib", "ctr_core", "cgroup:: container:: doctor:: seccomp::"),
    "layers": Suite("ctr-core", "test", "layer_store"),
    "shim": Suite("ctr-shim", "test", "it"),
    "containers": Suite("ctr-core", "test", "containers", "--skip much_input_and_output_flow"),
}


@dataclass(frozen=True, slots=True)
class Programs:
    """Stripped programs, and the libraries that they are linked with."""

    suites: dict[str, Path]
    shim: Path
    libraries: dict[str, Path]


def build(place: Path) -> Programs:
    """Build with cargo and leave stripped copies in `place`."""
    done = subprocess.run(CARGO, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    built: dict[tuple[str, str, str, bool], Path] = {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if program := message.get("executable"):
            target = message["target"]
            crate = re.split(r"[/#@]", message["package_id"])[-2]
            built[crate, target["kind"][0], target["name"], message["profile"]["test"]] = Path(program)
    suites = {
        name: _strip(built[suite.crate, suite.kind, suite.target, True], place / name)
        for name, suite in SUITES.items()
    }
    shim = _strip(built["ctr-shim", "bin", "pyrust-ctr-shim", False], place / "pyrust-ctr-shim")
    libraries: dict[str, Path] = {}
    for program in [shim, *suites.values()]:
        libraries.update(_libraries(program))
    return Programs(suites, shim, libraries)


def _strip(program: Path, target: Path) -> Path:
    subprocess.run(["strip", "--strip-all", "-o", target, program], check=True)
    return target


def _libraries(program: Path) -> dict[str, Path]:
    """Where the program looks for its libraries, and its loader."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return {path: Path(path).resolve() for path in re.findall(r"(/\S+) \(0x", listed)}
