"""Options that cannot be had: one exception, one sentence, Docker's exit status, and nothing left behind."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Any

import pytest

from pyrust_ctr import errors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import CommandLine

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root

HARD_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _may_raise_limits() -> bool:
    with open("/proc/self/status") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    return bool(effective & (1 << 24))  # CAP_SYS_RESOURCE


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"user": "nosuch"}, errors.UnknownUser),
        ({"user": "root:nosuch"}, errors.UnknownUser),
        ({"user": "4294967296"}, errors.Error),
        ({"user": "2147483648"}, errors.Error),
        ({"user": "-1"}, errors.Error),
        ({"user": "1:"}, errors.Error),
        ({"workdir": "/etc/passwd"}, errors.BadWorkingDirectory),
        ({"workdir": "relative"}, errors.InvalidArgument),
        ({"memory": "1k"}, errors.Error),
        ({"memory": "banana"}, errors.InvalidArgument),
        ({"cpus": 10_000}, errors.Error),
        ({"cpus": -1}, errors.InvalidArgument),
        ({"cpuset_cpus": "9999"}, errors.Error),
        ({"pids_limit": -5}, errors.InvalidArgument),
        ({"cap_add": ["NO_SUCH_CAPABILITY"]}, errors.InvalidArgument),
        ({"network": "bridge"}, errors.UnsupportedOption),
        ({"network": "container:nosuch"}, errors.ContainerNotFound),
        ({"hostname": "a" * 65}, errors.InvalidArgument),
        ({"env": {"A=B": "1"}}, errors.InvalidArgument),
    ],
    ids=str,
)
def test_refused(engine: Engine, busybox: str, options: dict[str, Any], expected: type[errors.Error]) -> None:
    with pytest.raises(expected) as failure:
        engine.run(busybox, ["true"], **options)
    assert "\n" not in failure.value.message
    assert not failure.value.message.endswith(".")
    assert engine.containers.list(all=True) == []


def test_missing_program(engine: Engine, busybox: str) -> None:
    with pytest.raises(errors.CommandNotFound, match="nosuch") as failure:
        engine.run(busybox, ["nosuch"])
    assert failure.value.exit_status == 127


def test_not_executable(engine: Engine, busybox: str) -> None:
    with pytest.raises(errors.CommandNotExecutable) as failure:
        engine.run(busybox, ["/etc/passwd"])
    assert failure.value.exit_status == 126


def test_name_in_use(engine: Engine, busybox: str) -> None:
    engine.containers.create(busybox, ["true"], name="taken")
    with pytest.raises(errors.NameInUse, match="taken"):
        engine.containers.create(busybox, ["true"], name="taken")
    assert len(engine.containers.list(all=True)) == 1


@pytest.mark.skipif(_may_raise_limits(), reason="this user may raise any limit (CAP_SYS_RESOURCE)")
def test_limit_above_the_hard_limit_is_refused_when_wished_for(engine: Engine, busybox: str) -> None:
    with pytest.raises(errors.LimitRefused, match="nofile"):
        engine.run(busybox, ["true"], ulimits=[f"nofile={HARD_FILES + 1}:{HARD_FILES + 1}"])


def test_default_limits_never_fail_a_start(engine: Engine, busybox: str) -> None:
    result = engine.run(busybox, ["sh", "-c", "ulimit -Hn"])
    assert result.exit_code == 0
    assert int(result.stdout) <= HARD_FILES or _may_raise_limits()


def test_bind_source_that_does_not_exist(cli: CommandLine, busybox: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    done = cli("run", "--rm", "--mount", f"type=bind,source={missing},target=/x", busybox, "true")
    assert done.returncode == 125
    assert str(missing) in done.stderr
    assert not missing.exists()


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["{image}", "nosuch"], 127),
        (["{image}", "/etc/passwd"], 126),
        (["-u", "nosuch", "{image}", "true"], 125),
        (["--memory", "1k", "{image}", "true"], 125),
        (["--cpus", "10000", "{image}", "true"], 125),
        (["--network", "bridge", "{image}", "true"], 125),
        (["--no-such-option", "{image}", "true"], 125),
        (["--security-opt", "seccomp=/nonexistent.json", "{image}", "true"], 125),
        (["localhost:1/no/such:image", "true"], 125),
        (["{image}", "sh", "-c", "exit 42"], 42),
        (["--init", "{image}", "sh", "-c", "kill -9 $$"], 137),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else " ".join(value),
)
def test_exit_status_of_run(cli: CommandLine, busybox: str, arguments: list[str], status: int) -> None:
    done = cli("run", "--rm", *[word.format(image=busybox) for word in arguments])
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    if status in {125, 126, 127}:
        assert 1 <= len(done.stderr.strip().splitlines()) <= 3, done.stderr
    assert cli("ps", "-a", "-q", check=True).stdout == ""


@pytest.mark.parametrize("command", ["start", "stop", "kill", "wait", "rm", "logs", "inspect"])
def test_no_such_container(cli: CommandLine, command: str) -> None:
    done = cli(command, "nosuch")
    assert done.returncode not in {0, 2}
    assert "No such" in done.stderr
    assert "nosuch" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_lists_every_feature(cli: CommandLine) -> None:
    done = cli("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout.lower()
    for feature in ("overlay", "seccomp", "pid", "cgroup"):
        assert feature in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_damaged_state_database_is_said(cli: CommandLine, state_dir: Path) -> None:
    state_dir.mkdir()
    (state_dir / "state.db").write_bytes(b"this is not a database" * 100)
    done = cli("ps")
    (state_dir / "state.db").unlink()
    assert done.returncode == 125
    assert "state.db" in done.stderr
    assert "Traceback" not in done.stderr
