"""From the call to the answer: a static `true` in a container, beside `crun run` of the same program.

`Engine.run` creates the container from its image, starts it, waits, collects its output and removes it;
`crun run` is a bare runtime: the bundle is made beforehand, and there are no images, logs or engine.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from benches.conftest import in_turns
from tests.support import images
from tests.support.processes import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.registry import RegistryServer

ROUNDS = 200
GOAL = 0.5


@pytest.fixture
def engine(tmp_path: Path, bench_registry: RegistryServer) -> Iterator[Any]:
    import pyrust_ctr

    reference = images.push(bench_registry, "bench/busybox", "latest", images.busybox_image())
    with pyrust_ctr.Engine(root=tmp_path / "state") as opened:
        opened.images.pull(reference)
        opened.images.tag(reference, "bench")
        yield opened


class CrunShell:
    """A shell in a mount namespace without the v2 tree, where crun runs on a hybrid machine too."""

    def __init__(self, bundle: Path, state: Path) -> None:
        self._command = (
            f"crun --root {state} run -b {bundle} bench </dev/null >/dev/null 2>&1; echo $?\n".encode()
        )
        script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec sh"
        self._shell = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def run(self) -> None:
        """One `crun run`, from the shell's fork to its end."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(self._command)
        assert self._shell.stdout.readline() == b"0\n", "crun failed"

    def close(self) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.close()
        self._shell.wait(10)
        self._shell.stdout.close()


@pytest.fixture
def crun(tmp_path: Path) -> Iterator[CrunShell]:
    if find_program("crun") is None or shutil.which("unshare") is None:
        pytest.skip("`crun` is not installed")
    bundle = tmp_path / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(images.busybox_layer().archive)) as archive:
        archive.extractall(bundle / "rootfs", filter="fully_trusted")
    subprocess.run(["crun", "spec"], cwd=bundle, check=True)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"]["terminal"] = False
    spec["process"]["args"] = ["/bin/true"]
    (bundle / "config.json").write_text(json.dumps(spec))
    shell = CrunShell(bundle, tmp_path / "crun")
    yield shell
    shell.close()


def bench_start(benchmark: Any, engine: Any) -> None:
    """The time of one run, for the table."""
    result = benchmark.pedantic(engine.run, ("bench", ["/bin/true"]), rounds=ROUNDS, warmup_rounds=5)
    assert result.exit_code == 0


def bench_start_beside_crun(engine: Any, crun: CrunShell) -> None:
    compared = in_turns(
        lambda: _ignore(engine.run("bench", ["/bin/true"], network="none")), crun.run, rounds=ROUNDS
    )
    print(compared.report("engine.run of a static `true`", "`crun run`"))
    assert compared.ratio <= GOAL, (
        f"the start takes {compared.ratio:.2f} of crun's time, and {GOAL} is the goal"
    )


def _ignore(_: object) -> None:
    return None
