"""Pulling from real registries: every kind of manifest, every way in, once and at the same time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.support import images, layers
from tests.support.faults import Fault
from tests.support.registry import PASSWORD, USERNAME

from pyrust_ctr import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import CommandLine
    from tests.support.faults import FaultyRegistry
    from tests.support.registry import RegistryServer

    from pyrust_ctr import Engine, PullProgress

pytestmark = pytest.mark.root

FOREIGN = "s390x" if images.this_architecture() != "s390x" else "amd64"


def small_layer(name: str, size: int = 1000) -> layers.Layer:
    """A layer that no other test has."""
    return layers.gzip_layer(layers.archive_of([layers.entry(name, os.urandom(size))]))


def zstd(archive: bytes) -> layers.Layer:
    return layers.zstd_layer(archive)


FORMS: dict[str, Callable[[bytes], layers.Layer]] = {
    "gzip": layers.gzip_layer,
    "gzip-members": lambda archive: layers.gzip_layer(archive, members=5),
    "plain": layers.plain_layer,
    "zstd": zstd,
}


@pytest.mark.parametrize("is_oci", [False, True], ids=["docker", "oci"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_layer_and_manifest(
    engine: Engine, registry: RegistryServer, form: str, is_oci: bool
) -> None:
    if form != "gzip" and not is_oci:
        pytest.skip("Docker's own manifests have gzip layers")
    layer = FORMS[form](layers.archive_of([layers.entry("etc/"), layers.entry("etc/x", os.urandom(100_000))]))
    document = images.image([images.busybox_layer(), layer], oci=is_oci)
    reference = images.push(registry, "forms/x", f"{form}-{is_oci}", document)
    image = engine.images.pull(reference)
    assert image.manifest_digest == document.digest
    assert image.layers == (images.busybox_layer().diff_id, layer.diff_id)
    assert image.tags == (reference,)
    result = engine.run(reference, ["sha256sum", "/etc/x"], check=True)
    assert len(result.stdout.split()[0]) == 64


def test_by_digest(engine: Engine, registry: RegistryServer) -> None:
    document = images.image([small_layer("x")])
    images.push(registry, "digest/x", "1", document)
    reference = f"{registry.host}/digest/x@{document.digest}"
    image = engine.images.pull(reference)
    assert image.tags == ()
    assert image.digests == (reference,)
    assert engine.images.get(reference).id == image.id
    with pytest.raises(errors.ManifestUnknown, match="digest/x"):
        engine.images.pull(f"{registry.host}/digest/x@sha256:{'0' * 64}")


def test_a_tag_beside_a_digest_is_decoration(engine: Engine, registry: RegistryServer) -> None:
    document = images.image([small_layer("x")])
    images.push(registry, "digest/y", "1", document)
    image = engine.images.pull(f"{registry.host}/digest/y:whatever@{document.digest}")
    assert image.manifest_digest == document.digest


@pytest.mark.parametrize("is_oci", [False, True], ids=["docker", "oci"])
def test_an_index_gives_this_machines_image(engine: Engine, registry: RegistryServer, is_oci: bool) -> None:
    here = images.image([small_layer("here")], oci=is_oci)
    there = images.image([small_layer("there")], oci=is_oci, architecture=FOREIGN)
    index = images.index([there, here], oci=is_oci)
    reference = images.push(registry, f"index/{is_oci}".lower(), "1", index)
    image = engine.images.pull(reference)
    assert image.manifest_digest == here.digest
    assert image.digests == (f"{reference.rpartition(':')[0]}@{index.digest}",)
    assert engine.images.pull(reference, platform=f"linux/{FOREIGN}").manifest_digest == there.digest
    with pytest.raises(errors.PlatformMismatch, match="cannot run") as caught:
        engine.run(reference, ["true"], pull="never")
    assert f"`linux/{FOREIGN}`" in str(caught.value)


def test_an_index_in_an_index(engine: Engine, registry: RegistryServer) -> None:
    here = images.image([small_layer("here")], oci=True)
    inner = images.index([here], oci=True)
    outer = images.index([inner], oci=True)
    assert (
        engine.images.pull(images.push(registry, "index/nested", "1", outer)).manifest_digest == here.digest
    )


def test_an_image_of_another_platform_only(engine: Engine, registry: RegistryServer) -> None:
    foreign = images.image([small_layer("there")], architecture=FOREIGN)
    reference = images.push(registry, "index/foreign", "1", images.index([foreign]))
    with pytest.raises(errors.PlatformMismatch, match=f"`linux/{FOREIGN}`"):
        engine.images.pull(reference)
    assert engine.images.list() == []


def test_basic_credentials(engine: Engine, auth_registry: RegistryServer) -> None:
    reference = images.push(auth_registry, "secret/x", "1", images.image([small_layer("x")]))
    with pytest.raises(errors.Unauthorized) as caught:
        engine.images.pull(reference)
    assert f"pctr login {auth_registry.host}" in caught.value.hint
    with pytest.raises(errors.Unauthorized):
        engine.images.login(auth_registry.host, USERNAME, "wrong")
    engine.images.login(auth_registry.host, USERNAME, PASSWORD)
    assert engine.images.pull(reference).tags == (reference,)


def test_bearer_tokens(engine: Engine, bearer_registry: RegistryServer) -> None:
    reference = images.push(
        bearer_registry, "secret/x", "1", images.image([small_layer("x"), small_layer("y")])
    )
    with pytest.raises(errors.RegistryError):
        engine.images.pull(reference)
    with pytest.raises(errors.Unauthorized):
        engine.images.login(bearer_registry.host, USERNAME, "wrong")
    engine.images.login(bearer_registry.host, USERNAME, PASSWORD)
    assert len(engine.images.pull(reference).layers) == 2


def test_a_helper_that_is_not_supported_is_named(
    engine: Engine, auth_registry: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = images.push(auth_registry, "secret/y", "1", images.image([small_layer("x")]))
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "desktop"}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(errors.Unauthorized, match="`desktop`"):
        engine.images.pull(reference)


def test_a_mirror_is_asked_first_and_the_registry_when_it_fails(
    registry: RegistryServer, faulty: FaultyRegistry, state_dir: Path
) -> None:
    import pyrust_ctr

    document = images.image([small_layer("x")])
    reference = images.push(registry, "mirrored/x", "1", document)
    state_dir.mkdir()
    (state_dir / "config.toml").write_text(
        f'[registries."{registry.host}"]\nplain_http = true\nmirrors = ["http://{faulty.host}"]\n'
    )
    with pyrust_ctr.Engine(root=state_dir) as engine:
        engine.images.pull(reference)
        assert faulty.requests_for("mirrored/x/blobs"), "the mirror was not asked"
        engine.images.remove(reference)
        faulty.faults.append(Fault("/v2/", status=404, body=b"{}"))
        assert engine.images.pull(reference).manifest_digest == document.digest


def test_what_is_here_is_not_asked_for_again(
    engine: Engine, registry: RegistryServer, faulty: FaultyRegistry
) -> None:
    shared = small_layer("shared")
    images.push(registry, "again/x", "1", images.image([shared, small_layer("one")]))
    images.push(registry, "again/x", "2", images.image([shared, small_layer("two")]))
    assert engine.images.pull_with_outcome(f"{faulty.host}/again/x:1").is_new
    faulty.seen.clear()
    assert not engine.images.pull_with_outcome(f"{faulty.host}/again/x:1").is_new
    assert faulty.requests_for("/blobs/") == []
    engine.images.pull(f"{faulty.host}/again/x:2")
    assert faulty.requests_for(shared.digest) == []


def test_two_pulls_at_once_do_the_work_once(
    registry: RegistryServer, faulty: FaultyRegistry, state_dir: Path, cli: CommandLine
) -> None:
    """Two processes and two threads of a third one, all for the same image."""
    import pyrust_ctr

    document = images.image([small_layer("a", 3_000_000), small_layer("b", 3_000_000)])
    images.push(registry, "race/x", "1", document)
    reference = f"{faulty.host}/race/x:1"
    processes = [
        subprocess.Popen(
            [cli.program(), "pull", "-q", reference],
            env=cli.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    failures: list[BaseException] = []

    def pull(engine: Engine) -> None:
        try:
            engine.images.pull(reference)
        except BaseException as failure:
            failures.append(failure)

    with pyrust_ctr.Engine(root=state_dir) as engine:
        threads = [threading.Thread(target=pull, args=(engine,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ends = [process.communicate(timeout=60) for process in processes]
        assert failures == []
        assert [process.returncode for process in processes] == [0, 0], ends
        assert len(engine.images.list()) == 1
    for described in json.loads(document.data)["layers"]:
        assert len(faulty.requests_for(described["digest"])) == 1


def test_a_killed_pull_leaves_nothing_half_and_the_next_one_finishes(
    engine: Engine, cli: CommandLine, registry: RegistryServer, faulty: FaultyRegistry, state_dir: Path
) -> None:
    good, stuck = small_layer("good", 200_000), small_layer("stuck", 3_000_000)
    images.push(registry, "killed/x", "1", images.image([good, stuck]))
    reference = f"{faulty.host}/killed/x:1"
    faulty.faults.append(Fault(stuck.digest, hang_after=1_000_000, times=1))
    process = subprocess.Popen(
        [cli.program(), "pull", reference],
        env=cli.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not faulty.requests_for(stuck.digest) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert engine.images.list() == []
    engine.images.pull(reference)
    assert len(engine.images.get(reference).layers) == 2
    assert list((state_dir / "tmp").iterdir()) == []


def test_an_interrupt_ends_a_pull_soon(
    engine: Engine, cli: CommandLine, registry: RegistryServer, faulty: FaultyRegistry, state_dir: Path
) -> None:
    layer = small_layer("slow", 3_000_000)
    images.push(registry, "interrupted/x", "1", images.image([layer]))
    faulty.faults.append(Fault(layer.digest, hang_after=1_000_000))
    process = subprocess.Popen(
        [cli.program(), "pull", f"{faulty.host}/interrupted/x:1"],
        env=cli.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not faulty.requests_for(layer.digest) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert time.monotonic() - begun < 10
    assert engine.images.list() == []
    assert not (state_dir / "tmp").exists() or list((state_dir / "tmp").iterdir()) == []


def test_progress_counts_every_byte(engine: Engine, registry: RegistryServer) -> None:
    parts = [small_layer("a", 400_000), small_layer("b", 200_000)]
    reference = images.push(registry, "progress/x", "1", images.image(parts))
    events: list[PullProgress] = []
    engine.images.pull(reference, progress=events.append)
    last = {event.layer: event for event in events}
    assert {event.total_bytes for event in last.values()} == {len(part.blob) for part in parts}
    assert all(event.is_finished and event.current_bytes == event.total_bytes for event in last.values())
    for layer in last:
        seen = [event.current_bytes for event in events if event.layer == layer]
        assert seen == sorted(seen)


def test_a_callback_that_fails_cancels_the_pull(engine: Engine, registry: RegistryServer) -> None:
    reference = images.push(registry, "progress/y", "1", images.image([small_layer("a", 400_000)]))

    def refuse(event: PullProgress) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        engine.images.pull(reference, progress=refuse)
    assert engine.images.list() == []


# --- the command line -----------------------------------------------------------------------------------


def test_pull_speaks_as_docker_does(cli: CommandLine, registry: RegistryServer) -> None:
    layer = small_layer("x")
    document = images.image([layer])
    reference = images.push(registry, "words/x", "1", document)
    done = cli("pull", reference, check=True)
    assert done.stdout.splitlines() == [
        f"Digest: {document.digest}",
        f"Status: Downloaded newer image for {reference}",
        reference,
    ]
    short = layer.digest.removeprefix("sha256:")[:12]
    told = done.stderr.splitlines()
    assert told[0] == "1: Pulling from words/x"
    assert told[1] == f"{short}: Pulling fs layer"
    assert told[-1] == f"{short}: Pull complete"
    again = cli("pull", reference, check=True)
    assert f"Status: Image is up to date for {reference}" in again.stdout
    assert f"{short}: Already exists" in again.stderr
    quiet = cli("pull", "-q", reference, check=True)
    assert (quiet.stdout, quiet.stderr) == (f"{reference}\n", "")


@pytest.mark.parametrize(
    ("reference", "words"),
    [("UPPER", "lower case"), ("localhost:1/x", "localhost:1"), ("x@sha512:" + "a" * 128, "sha512")],
)
def test_a_failed_pull_is_one_sentence(cli: CommandLine, reference: str, words: str) -> None:
    done = cli("pull", reference)
    assert done.returncode == 125
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_login_and_logout(cli: CommandLine, auth_registry: RegistryServer, tmp_path: Path) -> None:
    host = auth_registry.host
    environment = {"DOCKER_CONFIG": str(tmp_path)}
    wrong = cli("login", "-u", USERNAME, "--password-stdin", host, input="wrong\n", env=environment)
    assert wrong.returncode == 125
    assert not (tmp_path / "config.json").exists()
    done = cli("login", "-u", USERNAME, "--password-stdin", host, input=f"{PASSWORD}\n", env=environment)
    assert (done.returncode, done.stdout) == (0, "Login Succeeded\n"), done.stderr
    assert host in json.loads((tmp_path / "config.json").read_text())["auths"]
    reference = images.push(auth_registry, "login/x", "1", images.image([small_layer("x")]))
    assert cli("pull", "-q", reference, env=environment, check=True).stdout == f"{reference}\n"
    assert (
        cli("logout", host, env=environment, check=True).stdout == f"Removing login credentials for {host}\n"
    )
    assert json.loads((tmp_path / "config.json").read_text())["auths"] == {}
    assert cli("logout", host, env=environment, check=True).stdout == ""
    asked = cli("login", host, env=environment)
    assert asked.returncode == 125
    assert "not a terminal" in asked.stderr
