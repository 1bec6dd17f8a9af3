"""The container service on a fake runtime: what is created, found, listed, repaired and removed."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.fake_runtime import BrokenRuntime, FakeRuntime

import pyrust_ctr
from pyrust_ctr import Engine
from pyrust_ctr.containers import owner, truth
from pyrust_ctr.containers.names import check_name, random_name
from pyrust_ctr.errors import (
    Cancelled,
    CommandNotFound,
    ContainerNotFound,
    ContainerNotRunning,
    ContainerRunning,
    ImageInUse,
    ImageNotFound,
    InvalidArgument,
    KernelFeatureMissing,
    NameInUse,
    PermissionDenied,
    ProcessFailed,
    TimedOut,
    UnsupportedOption,
)
from pyrust_ctr.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyrust_ctr import Container

IMAGE = "host"


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def engine(tmp_path: Path, runtime: FakeRuntime) -> Iterator[Engine]:
    with Engine(tmp_path / "state", runtime=runtime) as opened:  # type: ignore[arg-type]
        yield opened


def sleeping(engine: Engine, **options: Any) -> Container:
    container = engine.containers.create(IMAGE, ["sleep", "60"], **options)
    container.start()
    return container


def table(engine: Engine) -> Any:
    return engine.containers._context.table


def die(engine: Engine, container_id: str) -> None:
    """The owner of a container died: its row names a process that does not exist."""
    with table(engine)._database.write() as connection:
        connection.execute(
            "UPDATE containers SET owner_pid = 4194304, owner_start = 1 WHERE id = ?", (container_id,)
        )


# --- run ------------------------------------------------------------------------------------------------


def test_run_tells_what_came_of_it(engine: Engine, runtime: FakeRuntime) -> None:
    result = engine.run(IMAGE, ["echo", "hi", "there"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, b"hi there\n", b"")
    assert result.duration_s > 0
    assert result.peak_memory_bytes == 4096
    assert runtime.specs[-1]["stdio"] == {"mode": "direct"}
    assert runtime.specs[-1]["root"]["is_volatile"]
    assert engine.containers.list(all=True) == []
    assert os.listdir(Paths.resolve(engine.root).containers) == []


def test_input_and_timeout(engine: Engine) -> None:
    assert engine.run(IMAGE, ["cat"], input=b"\0data").stdout == b"\0data"
    result = engine.run(IMAGE, ["sleep", "30"], timeout=0.05)
    assert result.timed_out
    assert result.exit_code == 137
    for timeout in (0, -1):
        with pytest.raises(InvalidArgument, match="timeout"):
            engine.run(IMAGE, ["true"], timeout=timeout)


def test_check_raises(engine: Engine) -> None:
    assert engine.run(IMAGE, ["exit", "3"]).exit_code == 3
    with pytest.raises(ProcessFailed, match="exit code 3") as caught:
        engine.run(IMAGE, ["exit", "3"], check=True)
    assert caught.value.result.exit_code == 3
    with pytest.raises(ProcessFailed, match="time was over"):
        engine.run(IMAGE, ["sleep", "9"], check=True, timeout=0.01)


def test_a_run_that_cannot_start_leaves_nothing(engine: Engine) -> None:
    with pytest.raises(CommandNotFound) as caught:
        engine.run(IMAGE, ["nothing-here"])
    assert caught.value.exit_status == 127
    with pytest.raises(ImageNotFound, match="No such image: missing"):
        engine.run("missing", ["true"], pull="never")
    with pytest.raises(InvalidArgument, match="pull policy"):
        engine.run(IMAGE, ["true"], pull="sometimes")
    assert table(engine).all() == []
    assert os.listdir(Paths.resolve(engine.root).containers) == []


def test_a_run_on_an_old_kernel_leaves_nothing(tmp_path: Path) -> None:
    with Engine(tmp_path / "state", runtime=BrokenRuntime()) as engine:  # type: ignore[arg-type]
        with pytest.raises(KernelFeatureMissing):
            engine.run(IMAGE, ["true"])
        assert table(engine).all() == []


def test_a_run_is_seen_while_it_runs(engine: Engine) -> None:
    runner = threading.Thread(target=lambda: engine.run(IMAGE, ["sleep", "0.5"], name="seen"))
    runner.start()
    try:
        deadline = time.monotonic() + 5
        while not (found := engine.containers.list()):
            assert time.monotonic() < deadline
        assert [container.name for container in found] == ["seen"]
    finally:
        runner.join()
    assert engine.containers.list(all=True) == []


def test_a_run_can_be_cancelled_from_another_thread(engine: Engine) -> None:
    run = engine.containers.prepare_run(IMAGE, ["sleep", "60"])
    timer = threading.Timer(0.1, run.cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        run.execute()
    timer.join()
    assert time.monotonic() - began < 5
    assert table(engine).all() == []


def test_a_run_can_be_cancelled_before_it_begins(engine: Engine) -> None:
    run = engine.containers.prepare_run(IMAGE, ["sleep", "60"])
    run._is_cancelled.set()
    with pytest.raises(Cancelled):
        run.execute()


def test_many_threads_run_at_once(engine: Engine) -> None:
    results: list[int] = []

    def work(number: int) -> None:
        results.append(engine.run(IMAGE, ["exit", str(number)]).exit_code)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(16))


# --- create, find, names --------------------------------------------------------------------------------


def test_a_container_from_beginning_to_end(engine: Engine) -> None:
    container = engine.containers.create(IMAGE, ["sleep", "60"], name="x", labels={"a": "b"})
    assert container.status == "created"
    container.start()
    container.start()
    assert container.state.is_running
    assert container.exec(["echo", "in"], env={"A": "1"}, timeout=2).stdout == b"in\n"
    container.stop(timeout=1)
    assert container.status == "exited"
    assert container.wait().exit_code == 128 + 15
    assert container.state.signal == 15
    container.remove()
    with pytest.raises(ContainerNotFound, match="No such container: x"):
        _ = container.state
    with pytest.raises(ContainerNotFound):
        engine.containers.get("x")


def test_containers_are_found_by_name_id_and_prefix(engine: Engine) -> None:
    container = engine.containers.create(IMAGE, ["true"], name="finder")
    for text in ("finder", "/finder", container.id, container.id[:12], container.id[:1]):
        assert engine.containers.get(text) == container
    for text in ("find", "zzz", "f" * 65, container.id + "0"):
        with pytest.raises(ContainerNotFound, match=f"No such container: {text}"):
            engine.containers.get(text)
    with pytest.raises(InvalidArgument):
        engine.containers.get("")


def test_an_ambiguous_beginning_is_refused(engine: Engine) -> None:
    ids = [engine.containers.create(IMAGE, ["true"]).id for _ in range(17)]
    first = [one[0] for one in ids]
    twice = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(InvalidArgument, match="more than one"):
        engine.containers.get(twice)


def test_a_name_in_use_has_dockers_words(engine: Engine) -> None:
    container = engine.containers.create(IMAGE, ["true"], name="taken")
    with pytest.raises(NameInUse, match=rf'"/taken" is already in use by container "{container.id}"'):
        engine.containers.create(IMAGE, ["true"], name="taken")
    with pytest.raises(NameInUse):
        engine.run(IMAGE, ["true"], name="taken")
    assert len(os.listdir(Paths.resolve(engine.root).containers)) == 1, "the refused one left no files"


def test_a_race_for_a_name_has_one_winner(engine: Engine) -> None:
    outcomes: list[str] = []

    def work() -> None:
        try:
            engine.containers.create(IMAGE, ["true"], name="race")
            outcomes.append("won")
        except NameInUse:
            outcomes.append("lost")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]
    assert len(os.listdir(Paths.resolve(engine.root).containers)) == 1


def test_names() -> None:
    assert check_name("/ab") == "ab"
    for name in ("", "/", "-ab", "a b", "ä1", "a/b", "../x", "a" * 300, "ab\n"):
        with pytest.raises(InvalidArgument, match="is not a name"):
            check_name(name)
    for attempt in range(5):
        assert check_name(random_name(attempt))


def test_an_image_in_use_stays(engine: Engine) -> None:
    container = engine.containers.create(IMAGE, ["true"])
    with pytest.raises(ImageInUse):
        engine.images.remove(IMAGE)
    container.remove()


def test_options_that_are_not_there_yet_change_nothing(engine: Engine) -> None:
    with pytest.raises(UnsupportedOption):
        engine.containers.create(IMAGE, ["true"], network="bridge")
    assert table(engine).all() == []


def test_a_missing_source_of_a_bind_mount(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="does not exist"):
        engine.containers.create(IMAGE, ["true"], mounts=[f"type=bind,src={tmp_path}/no,dst=/x"])
    engine.containers.create(IMAGE, ["true"], volumes=[f"{tmp_path}/made:/x"])
    assert (tmp_path / "made").is_dir()


# --- states ---------------------------------------------------------------------------------------------


def test_what_only_running_containers_can_do(engine: Engine) -> None:
    container = engine.containers.create(IMAGE, ["true"], name="idle")
    for act in (
        lambda: container.exec(["true"]),
        container.kill,
        lambda: container.resize(1, 1),
    ):
        with pytest.raises(ContainerNotRunning, match="is not running"):
            act()
    container.stop()


def test_a_running_container_is_only_removed_by_force(engine: Engine) -> None:
    container = sleeping(engine)
    with pytest.raises(ContainerRunning, match="You cannot remove a running container"):
        container.remove()
    container.remove(force=True)
    assert engine.containers.list(all=True) == []


def test_the_end_of_a_container_whose_folder_is_just_deleted_is_seen(
    engine: Engine, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = sleeping(engine)
    wait = runtime.wait_container

    def see_a_half_deleted_folder(container_dir: str, timeout_s: float | None = None) -> None:
        wait(container_dir, timeout_s)

    monkeypatch.setattr(runtime, "wait_container", see_a_half_deleted_folder)
    container.remove(force=True)
    assert engine.containers.list(all=True) == []


def test_a_deaf_program_is_killed(engine: Engine) -> None:
    container = engine.containers.create(IMAGE, ["trap", "60"])
    container.start()
    began = time.monotonic()
    container.stop(timeout=0.2)
    assert 0.2 <= time.monotonic() - began < 5
    assert container.state.exit_code == 137


def test_waiting_has_an_end(engine: Engine) -> None:
    container = sleeping(engine)
    with pytest.raises(TimedOut, match="did not end within"):
        container.wait(timeout=0.05)
    container.kill()
    assert container.wait(timeout=5).signal == 9


def test_a_dead_shim_is_repaired(engine: Engine, runtime: FakeRuntime) -> None:
    container = sleeping(engine)
    runtime.containers[str(Paths.resolve(engine.root).container(container.id))].shim_is_dead = True
    assert container.state.exit_code == 137
    assert runtime.repaired == [container.id]
    assert "supervisor" in container.state.failure


def test_a_thrown_away_container_leaves_its_row_to_the_next_comer(engine: Engine) -> None:
    container = engine.containers.create(IMAGE, ["true"], name="gone", auto_remove=True)
    container.start()
    deadline = time.monotonic() + 5
    while Paths.resolve(engine.root).container(container.id).exists():
        assert time.monotonic() < deadline
    assert engine.containers.list(all=True) == []
    assert table(engine).all() == []
    engine.containers.create(IMAGE, ["true"], name="gone")


def test_a_name_of_a_vanished_container_is_free(engine: Engine) -> None:
    container = engine.containers.create(IMAGE, ["true"], name="name")
    Paths.resolve(engine.root).container_spec(container.id).unlink()
    Paths.resolve(engine.root).container(container.id).rmdir()
    engine.containers.create(IMAGE, ["true"], name="name")


@pytest.mark.parametrize("is_started", [False, True])
def test_transient_containers_of_killed_processes_go(
    engine: Engine, tmp_path: Path, runtime: FakeRuntime, is_started: bool
) -> None:
    config = engine.containers.create(IMAGE, ["sleep", "60"]).config
    config = replace(config, auto_remove=True)
    container = engine.containers.create_from_config(config, name="orphan", is_transient=True)
    if is_started:
        runtime.start_container(container._directory, "")
    assert container.status == ("running" if is_started else "created")
    die(engine, container.id)
    with Engine(engine.root, runtime=runtime) as other:  # type: ignore[arg-type]
        assert "orphan" not in {one.name for one in other.containers.list(all=True)}
    assert not Paths.resolve(engine.root).container(container.id).exists()


def test_a_started_container_has_no_owner(engine: Engine) -> None:
    config = engine.containers.create(IMAGE, ["sleep", "60"]).config
    container = engine.containers.create_from_config(config, is_transient=True)
    assert [row.id for row in table(engine).owned()] == [container.id]
    container.start()
    assert table(engine).owned() == []
    container.remove(force=True)


def test_owners_are_told_from_their_successors() -> None:
    me = owner.Owner.current()
    assert me.is_alive()
    assert not owner.Owner(me.pid, me.start_time + 1).is_alive()
    assert owner.start_time(2**22) is None


def test_prune_removes_what_does_not_run_and_what_nobody_knows(engine: Engine) -> None:
    running = sleeping(engine)
    ended = engine.containers.create(IMAGE, ["true"])
    paths = Paths.resolve(engine.root)
    orphan, young, stranger = paths.container("a" * 64), paths.container("b" * 64), paths.containers / "keep"
    for folder in (orphan, young, stranger):
        folder.mkdir()
    os.utime(orphan, (0, 0))
    assert engine.containers.prune().containers == (ended.id,)
    assert not orphan.exists()
    assert young.exists()
    assert stranger.exists()
    running.remove(force=True)


def test_a_container_that_was_started_meanwhile_is_not_forgotten(engine: Engine) -> None:
    container = sleeping(engine)
    with pytest.raises(ContainerRunning):
        truth.discard(engine.containers._context, container._row)
    assert engine.containers.get(container.id).state.is_running
    container.remove(force=True)


# --- lists ----------------------------------------------------------------------------------------------


def test_filters(engine: Engine) -> None:
    first = engine.containers.create(IMAGE, ["exit", "3"], name="one-a", labels={"k": "v", "only": ""})
    second = sleeping(engine, name="two-b", labels=["k=w"])
    first.start()
    first.wait()

    def found(**filters: Any) -> list[str]:
        return [one.name for one in engine.containers.list(all=True, filters=filters)]

    assert found() == ["two-b", "one-a"]
    assert [one.name for one in engine.containers.list()] == ["two-b"]
    assert found(name="one") == ["one-a"]
    assert found(name="^/two") == ["two-b"]
    assert found(id=first.id[:10]) == ["one-a"]
    assert found(label="k") == ["two-b", "one-a"]
    assert found(label=["k=v", "only"]) == ["one-a"]
    assert found(status=["running"]) == ["two-b"]
    assert found(exited="3") == ["one-a"]
    assert found(ancestor=IMAGE) == ["two-b", "one-a"]
    assert found(ancestor="other") == []
    assert found(since="one-a") == ["two-b"]
    assert found(before="two-b") == ["one-a"]
    assert [one.name for one in engine.containers.list(filters={"status": "exited"})] == ["one-a"]
    second.remove(force=True)


@pytest.mark.parametrize(
    "filters",
    [{"what": "x"}, {"status": "well"}, {"exited": "x"}, {"name": "("}, {"since": "nobody"}, {"health": "x"}],
)
def test_wrong_filters_are_refused(engine: Engine, filters: dict[str, str]) -> None:
    engine.containers.create(IMAGE, ["true"])
    with pytest.raises(InvalidArgument):
        engine.containers.list(filters=filters)


def test_inspect_has_dockers_shape(engine: Engine) -> None:
    container = sleeping(engine, memory="64m", cap_add=["NET_ADMIN"], labels={"a": "b"}, env=["X=1"])
    document = container.inspect()
    assert document["Name"] == f"/{container.name}"
    assert document["State"]["Running"]
    assert document["State"]["Status"] == "running"
    assert document["HostConfig"]["Memory"] == 64 << 20
    assert document["HostConfig"]["CapAdd"] == ["CAP_NET_ADMIN"]
    assert len(document["HostConfig"]["Capabilities"]) == 15
    assert document["Config"]["Labels"] == {"a": "b"}
    assert "X=1" in document["Config"]["Env"]
    assert document["Path"] == "sleep"
    container.remove(force=True)


# --- exec -----------------------------------------------------------------------------------------------


def test_exec_takes_over_the_containers_settings(engine: Engine, runtime: FakeRuntime) -> None:
    container = sleeping(engine, env=["A=1"], user="5", workdir="/w", cap_drop=["ALL"])
    container.exec(["true"])
    process = runtime.specs[-1]["process"]
    assert "A=1" in process["env"]
    assert (process["user"]["name"], process["cwd"], process["capabilities"]) == ("5", "/w", 0)
    container.exec(["true"], env=["A=2"], user="6", workdir="/v", privileged=True, timeout=1.5)
    document = runtime.specs[-1]
    assert "A=2" in document["process"]["env"]
    assert document["process"]["capabilities"] > 0
    assert document["is_privileged"]
    assert document["timeout_ms"] == 1500
    with pytest.raises(ProcessFailed):
        container.exec(["exit", "1"], check=True)
    for args in ([], [""], ["a\0"]):
        with pytest.raises(InvalidArgument):
            container.exec(args)
    container.remove(force=True)


# --- the engine -----------------------------------------------------------------------------------------


def test_only_root_may(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PermissionDenied, match="needs root"):
        Engine(tmp_path)


def test_opening_touches_nothing(tmp_path: Path, runtime: FakeRuntime) -> None:
    with Engine(tmp_path / "state", runtime=runtime) as engine:  # type: ignore[arg-type]
        assert not (tmp_path / "state").exists()
        assert engine.containers.list() == []
    assert (tmp_path / "state" / "state.db").exists()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_closed_engine_can_be_used_again(engine: Engine) -> None:
    engine.containers.create(IMAGE, ["true"])
    engine.close()
    assert len(engine.containers.list(all=True)) == 1


def test_public_names() -> None:
    for name in pyrust_ctr.__all__:
        assert getattr(pyrust_ctr, name) is not None
    assert set(pyrust_ctr.__all__) <= set(dir(pyrust_ctr))
    with pytest.raises(AttributeError):
        _ = pyrust_ctr.nothing  # type: ignore[attr-defined]


def test_what_a_killed_shim_did_not_throw_away_is_thrown_away(engine: Engine, runtime: FakeRuntime) -> None:
    container = sleeping(engine, auto_remove=True)
    folder = Paths.resolve(engine.root).container(container.id)
    process = runtime.containers[str(folder)]
    process.spec["auto_remove"] = False  # its shim dies before it removes anything
    container.stop(timeout=1)
    assert container.status == "removing"
    assert process.record is not None
    process.record = replace(process.record, finished_at_ns=1)
    assert engine.containers.list(all=True) == []
    assert not folder.exists()


def test_what_is_being_started_is_removed_by_force(
    engine: Engine, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = engine.containers.create(IMAGE, ["true"])
    refusals = [ContainerRunning("starting"), ContainerRunning("starting")]
    remove = runtime.remove_container

    def refuse_twice(*arguments: Any) -> None:
        if refusals:
            raise refusals.pop()
        remove(*arguments)

    monkeypatch.setattr(runtime, "remove_container", refuse_twice)
    with pytest.raises(ContainerRunning, match="You cannot remove"):
        container.remove()
    container.remove(force=True)
    assert engine.containers.list(all=True) == []
