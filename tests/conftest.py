"""Fixtures of the whole suite. Whatever a fixture starts, mounts or makes, it ends, unmounts and removes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support import images, leaks
from tests.support.faults import FaultyRegistry, faulty_registry
from tests.support.registry import RegistryServer, basic_registry, open_registry, token_registry

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from pyrust_ctr import Engine

IS_ROOT = os.geteuid() == 0
BUSYBOX = "library/busybox"
_FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") == "true" and not IS_ROOT:
        pytest.exit("continuous integration must run as root: the tests that prove most need it", 1)
    if config.option.basetemp is None:
        # A folder of the run's own: runs that share one clear away each other's files.
        folder = tempfile.mkdtemp(prefix="pyrust-ctr-tests-")
        config.option.basetemp = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if IS_ROOT:
        return
    skip = pytest.mark.skip(reason="needs root: namespaces, mounts and control groups")
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the settings and credentials of whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name.startswith("PYRUST_CTR_") or name in {"DOCKER_CONFIG", "NO_COLOR", "FORCE_COLOR"}:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that starts containers leaves no mount, control group, namespace, process or descriptor."""
    if request.node.get_closest_marker("root") is None or not IS_ROOT:
        yield
        return
    with leaks.the_machine_to_oneself():
        yield from _watched(request)


def _release_reserve() -> None:
    """Ends the shims that the core keeps ready on purpose."""
    from pyrust_ctr import _core

    _core.release_spare_shims()


def _watched(request: pytest.FixtureRequest) -> Iterator[None]:
    _release_reserve()
    before = leaks.look()
    yield
    _release_reserve()
    if request.node.stash.get(_FAILED, False):
        # The failure's traceback keeps what the test had open.
        before = replace(before, descriptors=frozenset())
    leaks.assert_nothing_new(before)


# --- the engine -----------------------------------------------------------------------------------------


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A state directory of the test's own, not yet made."""
    return tmp_path / "state"


@pytest.fixture
def engine(nothing_left: None, state_dir: Path) -> Iterator[Engine]:
    """A real engine on a fresh state directory; containers that the test left are removed."""
    import pyrust_ctr

    with pyrust_ctr.Engine(root=state_dir) as opened:
        yield opened
        _remove_containers(opened)


def _remove_containers(engine: Engine) -> None:
    from pyrust_ctr.errors import ContainerNotFound

    for container in engine.containers.list(all=True):
        try:
            container.remove(force=True)
        except ContainerNotFound:
            continue


@pytest.fixture
def busybox(engine: Engine, busybox_reference: str) -> str:
    """The reference of a busybox image that was pulled into `engine`."""
    engine.images.pull(busybox_reference)
    return busybox_reference


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The installed `pctr` on one state directory."""

    root: Path

    def __call__(
        self,
        *arguments: str,
        input: str | None = None,
        check: bool = False,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program(), *arguments],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment() | dict(env or {}),
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    @staticmethod
    def program() -> str:
        """The installed script, beside the interpreter that runs the tests."""
        script = Path(sys.executable).with_name("pctr")
        assert script.exists(), "`pctr` is not installed beside this interpreter: run `make test`"
        return str(script)

    def environment(self) -> dict[str, str]:
        return os.environ | {"PYRUST_CTR_ROOT": str(self.root)}


@pytest.fixture
def cli(nothing_left: None, state_dir: Path) -> Iterator[CommandLine]:
    """`cli("run", "--rm", …)` runs the installed `pctr` on the state directory that `engine` has."""
    command_line = CommandLine(state_dir)
    yield command_line
    if (state_dir / "state.db").exists() and IS_ROOT:
        import pyrust_ctr

        with pyrust_ctr.Engine(root=state_dir) as engine:
            _remove_containers(engine)


# --- registries -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A real registry that everybody may use."""
    with open_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="session")
def auth_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A real registry with basic authentication."""
    with basic_registry(tmp_path_factory.mktemp("auth-registry")) as server:
        yield server


@pytest.fixture(scope="session")
def bearer_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A real registry that wants bearer tokens of a token service."""
    with token_registry(tmp_path_factory.mktemp("token-registry")) as server:
        yield server


@pytest.fixture(scope="session")
def busybox_reference(registry: RegistryServer) -> str:
    """Where a busybox image lies in `registry`; pulled by nobody yet."""
    return images.push(registry, BUSYBOX, "1.36", images.busybox_image())


@pytest.fixture
def faulty(registry: RegistryServer) -> Iterator[FaultyRegistry]:
    """A front of `registry` that misbehaves on demand."""
    with faulty_registry(registry) as server:
        yield server


@pytest.fixture(scope="session")
def debian_archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of a minimal Debian, made once by mmdebstrap (slow)."""
    from tests.support.debian import minimal_debian

    directory = tmp_path_factory.mktemp("debian")
    try:
        return minimal_debian(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
