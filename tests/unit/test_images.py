"""The image service on a store and registries in memory: what is fetched, kept, named, removed."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.support import images
from tests.support.image_bench import BASE, EXTRA, Bench
from tests.support.layers import Layer, sha256

from pyrust_ctr.config import EngineConfig, RegistrySettings
from pyrust_ctr.errors import (
    Cancelled,
    Conflict,
    ContentError,
    DigestMismatch,
    ImageInUse,
    ImageNotFound,
    InvalidArgument,
    InvalidReference,
    ManifestUnknown,
    NotFound,
    PlatformMismatch,
    RegistryUnreachable,
    TooLarge,
    Unauthorized,
)
from pyrust_ctr.images import content
from pyrust_ctr.registry.credentials import Credentials
from pyrust_ctr.state import locks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.fake_store import FakeProgress

    from pyrust_ctr.models.progress import PullProgress

OTHER = "s390x"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "state")
    yield made
    made.database.close()


# --- pull -----------------------------------------------------------------------------------------------


def test_a_pull_brings_everything_and_names_it(bench: Bench) -> None:
    digest = bench.hub.push("library/busybox", "latest", images.image([BASE, EXTRA]))
    outcome = bench.images.pull_with_outcome("busybox")
    assert outcome.is_new
    assert outcome.digest == digest
    image = outcome.image
    assert image.tags == ("busybox:latest",)
    assert image.digests == (f"busybox@{digest}",)
    assert image.layers == (BASE.diff_id, EXTRA.diff_id)
    assert image.size_bytes == 405
    assert image.created_at_ns == 1_704_164_645_678_901_000
    assert bench.store.has_blob(image.id)
    assert bench.store.has_blob(digest)
    for name in (
        "busybox",
        "docker.io/library/busybox:latest",
        f"busybox@{digest}",
        image.id,
        image.short_id,
    ):
        assert bench.images.get(name).id == image.id


def test_what_is_here_is_not_fetched_again(bench: Bench) -> None:
    digest = bench.hub.push("library/x", "latest", images.image([BASE]))
    bench.images.pull("x")
    bench.hub.requests.clear()
    outcome = bench.images.pull_with_outcome("x")
    assert not outcome.is_new
    assert [request.split()[1] for request in bench.hub.requests] == ["manifest"]
    bench.hub.requests.clear()
    assert not bench.images.pull_with_outcome(f"x@{digest}").is_new
    assert bench.hub.requests == []


def test_a_shared_layer_is_fetched_once(bench: Bench) -> None:
    bench.hub.push("library/x", "1", images.image([BASE]))
    bench.hub.push("library/x", "2", images.image([BASE, EXTRA, EXTRA]))
    bench.images.pull("x:1")
    bench.images.pull("x:2")
    assert len(bench.fetched("layer")) == 2


def test_a_moved_tag_takes_the_name_along(bench: Bench) -> None:
    bench.hub.push("library/x", "latest", images.image([BASE]))
    old = bench.images.pull("x")
    bench.hub.push("library/x", "latest", images.image([BASE, EXTRA]))
    new = bench.images.pull_with_outcome("x")
    assert new.is_new
    assert bench.images.get("x").id == new.image.id != old.id
    assert bench.images.get(old.id).is_dangling


def test_the_platform_is_chosen_from_nested_indexes(bench: Bench) -> None:
    inner = images.index([images.image([BASE], architecture=OTHER), images.image([BASE])], oci=True)
    top = images.index([images.image([EXTRA], architecture="riscv64"), inner], oci=True)
    digest = bench.hub.push("library/x", "latest", top)
    outcome = bench.images.pull_with_outcome("x")
    assert outcome.digest == digest
    assert outcome.image.layers == (BASE.diff_id,)
    assert bench.images.pull("x", platform=f"linux/{OTHER}").platform == f"linux/{OTHER}"
    with pytest.raises(PlatformMismatch, match="`linux/riscv64`"):
        bench.images.pull("x", platform="linux/ppc64le")


def test_attestations_are_not_images(bench: Bench) -> None:
    attestation = images.image([EXTRA], architecture="unknown", os="unknown")
    bench.hub.push("library/x", "latest", images.index([attestation, images.image([BASE])], oci=True))
    assert bench.images.pull("x").layers == (BASE.diff_id,)


def test_indexes_nested_without_end_are_refused(bench: Bench) -> None:
    document = images.image([BASE])
    for _ in range(6):
        document = images.index([document])
    bench.hub.push("library/x", "latest", document)
    with pytest.raises(ContentError, match="more than 4 deep"):
        bench.images.pull("x")


def test_an_index_of_many_unlabelled_manifests_is_refused(bench: Bench) -> None:
    children = [
        images.Document(child.data, child.media_type, {}, (), child.blobs)
        for child in (images.image([BASE], architecture=OTHER, config={"User": str(n)}) for n in range(80))
    ]
    bench.hub.push("library/x", "latest", images.index(children))
    with pytest.raises(TooLarge, match="more than 64"):
        bench.images.pull("x")


def test_an_image_for_another_machine_needs_to_be_asked_for(bench: Bench) -> None:
    bench.hub.push("library/x", "latest", images.image([BASE], architecture=OTHER))
    with pytest.raises(PlatformMismatch, match=f"linux/{OTHER}") as caught:
        bench.images.pull("x")
    assert f"--platform linux/{OTHER}" in caught.value.hint
    assert bench.images.pull("x", platform=f"linux/{OTHER}").platform == f"linux/{OTHER}"
    with pytest.raises(PlatformMismatch):
        bench.images.pull("x", platform="linux/riscv64")
    with pytest.raises(PlatformMismatch, match="this machine"):
        bench.images.resolve_for_run("x")


def test_an_index_and_a_configuration_must_agree_about_the_platform(bench: Bench) -> None:
    liar = images.image([BASE], architecture=OTHER)
    honest = images.image([EXTRA]).platform
    lying = images.Document(liar.data, liar.media_type, honest, (), liar.blobs)
    bench.hub.push("library/x", "latest", images.index([lying]))
    with pytest.raises(PlatformMismatch, match="contradicts itself"):
        bench.images.pull("x")


def test_layers_and_diff_ids_must_be_as_many(bench: Bench) -> None:
    bench.hub.push("library/x", "latest", images.image([BASE], diff_ids=[BASE.diff_id, EXTRA.diff_id]))
    with pytest.raises(ContentError, match="its manifest has 1 layers, and its configuration 2"):
        bench.images.pull("x")


def test_a_false_diff_id_leaves_no_image(bench: Bench) -> None:
    bench.hub.push("library/x", "latest", images.image([BASE], diff_ids=[EXTRA.diff_id]))
    with pytest.raises(DigestMismatch):
        bench.images.pull("x")
    assert bench.images.list() == []


def test_a_manifest_with_another_digest_is_refused(bench: Bench) -> None:
    digest = bench.hub.push("library/x", "latest", images.image([BASE]))
    other = images.image([EXTRA])
    bench.hub.documents["library/x", digest] = (other.data, other.media_type)
    with pytest.raises(DigestMismatch, match=digest):
        bench.images.pull(f"x@{digest}")


@pytest.mark.parametrize(
    "config",
    [
        b"[]",
        b"{}",
        b'{"os": "linux", "os": "linux"}',
        b'{"os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:x"]}}',
        b'{"os": "linux", "rootfs": {"type": "other", "diff_ids": []}}',
        b'{"os": "windows", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}',
        b'{"os": "linux", "rootfs": {"type": "layers"}, "config": {"Env": "A=1"}}',
        b'{"os": "linux", "rootfs": {"type": "layers"}, "config": {"Cmd": ["a\\u0000b"]}}',
        b'{"os": "linux", "rootfs": {"type": "layers"}, "config": {"User": 0}}',
        b'{"os": "linux", "rootfs": {"type": "layers"}, "config": {"Labels": {"a": 1}}}',
    ],
)
def test_a_configuration_that_lies_is_refused(bench: Bench, config: bytes) -> None:
    manifest = {
        "schemaVersion": 2,
        "config": images.descriptor(config, images.OCI_CONFIG),
        "layers": [],
    }
    document = images.Document(
        json.dumps(manifest).encode(), images.OCI_MANIFEST, {}, (), {sha256(config): config}
    )
    bench.hub.push("library/x", "latest", document)
    with pytest.raises(ContentError) as caught:
        bench.images.pull("x")
    assert "x:latest" in str(caught.value)


def test_an_unknown_image_is_named(bench: Bench) -> None:
    with pytest.raises(ManifestUnknown, match=r"`docker.io` has no image `nope:latest`"):
        bench.images.pull("nope")


def test_progress_reaches_the_callers_thread(bench: Bench) -> None:
    bench.hub.push("library/x", "latest", images.image([BASE, EXTRA]))
    threads: set[int] = set()
    events: list[PullProgress] = []

    def note(event: PullProgress) -> None:
        threads.add(threading.get_ident())
        events.append(event)

    bench.images.pull("x", progress=note)
    assert threads == {threading.get_ident()}
    last = {event.layer: event for event in events}
    assert len(last) == 2
    assert all(
        event.phase == "complete" and event.current_bytes == event.total_bytes for event in last.values()
    )
    assert (
        events[-1].overall_current_bytes == events[-1].overall_total_bytes == len(BASE.blob) + len(EXTRA.blob)
    )
    events.clear()
    bench.images.pull("x", progress=note)
    assert {event.phase for event in events} == {"already_exists"}


def test_the_first_failure_stops_the_other_layers(bench: Bench) -> None:
    bench.hub.push("library/x", "latest", images.image([BASE, EXTRA]))
    stopped = threading.Event()

    def before_layer(digest: str, progress: FakeProgress) -> None:
        if digest == EXTRA.digest:
            raise RegistryUnreachable("the connection broke")
        if progress.cancelled.wait(20):
            stopped.set()

    bench.hub.before_layer = before_layer
    with pytest.raises(RegistryUnreachable, match="broke"):
        bench.images.pull("x")
    assert stopped.is_set()
    assert bench.images.list() == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_stops_every_worker(bench: Bench, failure: type[BaseException]) -> None:
    bench.hub.push("library/x", "latest", images.image([BASE]))
    bench.hub.before_layer = lambda _digest, progress: progress.cancelled.wait(20) and None

    def interrupt(event: PullProgress) -> None:
        if event.phase == "downloading":
            raise failure

    begun = time.monotonic()
    with pytest.raises(failure):
        bench.images.pull("x", progress=interrupt)
    assert time.monotonic() - begun < 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pyrust-ctr-layer")]


def test_another_thread_may_cancel(bench: Bench) -> None:
    bench.hub.push("library/x", "latest", images.image([BASE]))
    cancel = threading.Event()

    def hang(_digest: str, progress: FakeProgress) -> None:
        cancel.set()
        assert progress.cancelled.wait(20)

    bench.hub.before_layer = hang
    with pytest.raises(Cancelled):
        bench.images.pull("x", cancel=cancel)
    assert bench.images.list() == []


def test_a_cancelled_transfer_is_told_as_such(bench: Bench) -> None:
    bench.hub.push("library/x", "latest", images.image([BASE]))
    bench.hub.before_layer = lambda _digest, progress: progress.cancel()
    with pytest.raises(Cancelled):
        bench.images.pull("x")


# --- endpoints and credentials --------------------------------------------------------------------------


def test_mirrors_come_first_and_get_no_foreign_credentials(tmp_path: Path) -> None:
    config = EngineConfig(registries={"docker.io": RegistrySettings(mirrors=("https://mirror.example",))})
    bench = Bench(tmp_path / "state", config)
    bench.credentials.store("docker.io", Credentials("alice", "secret"))
    bench.hub.push("library/x", "latest", images.image([BASE]))
    bench.images.pull("x")
    assert [request.split()[0] for request in bench.hub.requests] == ["https://mirror.example"] * 4
    assert bench.hub.opened[0]["username"] is None
    bench.images.remove("x")
    bench.hub.answering = {"https://registry-1.docker.io"}
    bench.images.pull("x")
    assert bench.hub.opened[-1]["base_url"] == "https://registry-1.docker.io"
    assert bench.hub.opened[-1]["username"] == "alice"
    bench.database.close()


def test_plain_http_is_for_loopback_only_and_remembered(bench: Bench) -> None:
    bench.hub.push("x", "latest", images.image([BASE]))
    bench.hub.answering = {"http://localhost:5000", "http://far.example"}
    bench.images.pull("localhost:5000/x")
    tried = [request.split()[0] for request in bench.hub.requests]
    assert tried.count("https://localhost:5000") == 1
    with pytest.raises(RegistryUnreachable):
        bench.images.pull("far.example/x")
    assert not [request for request in bench.hub.requests if "http://far.example" in request]


def test_missing_credentials_are_explained(bench: Bench) -> None:
    bench.hub.push("x", "latest", images.image([BASE]))
    bench.hub.passwords["https://r.example"] = ("alice", "secret")
    with pytest.raises(Unauthorized) as caught:
        bench.images.pull("r.example/x")
    assert "pctr login r.example" in caught.value.hint
    bench.credentials.path.write_text('{"credHelpers": {"r.example": "vault"}}')
    with pytest.raises(Unauthorized, match=r"credential helper `vault`.*not supported yet"):
        bench.images.pull("r.example/x")
    with pytest.raises(Unauthorized):
        bench.images.login("r.example", "alice", "wrong")
    assert "auths" not in json.loads(bench.credentials.path.read_text())
    assert bench.images.login("r.example", "alice", "secret").helper == "vault"
    bench.images.pull("r.example/x")
    assert bench.images.logout("r.example")
    assert not bench.images.logout("r.example")


# --- names, removal -------------------------------------------------------------------------------------


@pytest.fixture
def pulled(bench: Bench) -> str:
    """Id of an image `x:latest` in the store."""
    bench.hub.push("library/x", "latest", images.image([BASE]))
    return bench.images.pull("x").id


def test_an_image_goes_with_its_last_tag(bench: Bench, pulled: str) -> None:
    bench.images.tag("x", "y:1")
    assert bench.images.remove("x").untagged[0].startswith("x")
    assert bench.images.get("y:1").id == pulled
    removal = bench.images.remove("y:1")
    assert removal.deleted == (pulled, BASE.diff_id)
    assert removal.freed_bytes == 400
    assert bench.store.layers() == []
    assert bench.store.blobs() == []
    with pytest.raises(ImageNotFound, match=r"^No such image: x$"):
        bench.images.get("x")


def test_a_second_tag_of_the_same_repository_keeps_the_digest(bench: Bench, pulled: str) -> None:
    bench.images.tag("x", "x:2")
    assert bench.images.remove("x:2").untagged == ("x:2",)
    assert bench.images.get("x").digests


def test_by_id_several_repositories_need_force(bench: Bench, pulled: str) -> None:
    bench.images.tag(pulled, "y")
    with pytest.raises(Conflict, match="`x:latest`, `y:latest`"):
        bench.images.remove(pulled[:20])
    assert bench.images.remove(pulled[:20], force=True).deleted[0] == pulled


def test_an_image_in_use_is_kept(bench: Bench, pulled: str) -> None:
    bench.add_container(pulled)
    with pytest.raises(ImageInUse, match="c0ffee"):
        bench.images.remove("x")
    assert bench.images.prune(all=True).deleted == ()
    assert bench.images.remove("x", force=True).deleted == ()
    assert bench.images.get(pulled).is_dangling
    assert bench.store.layers() == [BASE.diff_id]
    with bench.database.write() as connection:
        connection.execute("DELETE FROM containers")
    assert bench.images.prune().deleted == (pulled, BASE.diff_id)


def test_prune_takes_untagged_images_and_content_of_nobody(bench: Bench, pulled: str) -> None:
    bench.store.keep(EXTRA.blob, None)
    bench.store.put_blob(b"left by a killed pull")
    assert bench.images.prune().deleted == (EXTRA.diff_id,)
    assert bench.images.exists(pulled)
    assert set(bench.images.prune(all=True).deleted) == {pulled, BASE.diff_id}
    assert bench.store.blobs() == []


def test_nothing_is_deleted_while_somebody_adds(bench: Bench, pulled: str) -> None:
    """A pull that found a layer here relies on it until its row is written."""
    context = bench.images._context
    with content.adding(context):
        assert bench.images.remove("x").deleted == (pulled,)
        assert bench.store.layers() == [BASE.diff_id]
    assert bench.store.layers() == []
    with locks.exclusive_if_free(context.lock) as is_free:
        assert is_free
    assert not context.overdue.exists()


def test_a_digest_cannot_be_given_as_a_name(bench: Bench, pulled: str) -> None:
    with pytest.raises(InvalidReference):
        bench.images.tag("x", "y@sha256:" + "a" * 64)
    with pytest.raises(ImageNotFound):
        bench.images.tag("nope", "y")


def test_an_ambiguous_id_is_refused(bench: Bench) -> None:
    found: dict[str, str] = {}
    for number in range(40):
        bench.hub.push("library/n", str(number), images.image([BASE], config={"User": str(number)}))
        image = bench.images.pull(f"n:{number}")
        digit = image.id[7]
        if digit in found:
            break
        found[digit] = image.id
    with pytest.raises(InvalidArgument, match="more than one"):
        bench.images.get(f"sha256:{digit}")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, {"x:latest", "y:2"}),
        ({"reference": ["x"]}, {"x:latest"}),
        ({"reference": ["x:*"]}, {"x:latest"}),
        ({"reference": ["*:2", "x"]}, {"x:latest", "y:2"}),
        ({"reference": ["[yz]"]}, {"y:2"}),
        ({"reference": ["docker.io/library/?"]}, {"x:latest", "y:2"}),
        ({"reference": ["docker.io/*"]}, set()),
        ({"dangling": ["true"]}, set()),
        ({"dangling": ["false"]}, {"x:latest", "y:2"}),
        ({"label": ["k"]}, {"y:2"}),
        ({"label": ["k=v"], "dangling": ["false"]}, {"y:2"}),
        ({"label": ["k=w"]}, set()),
    ],
)
def test_lists_are_filtered(
    bench: Bench, pulled: str, filters: Mapping[str, list[str]], expected: set[str]
) -> None:
    bench.hub.push("library/y", "2", images.image([BASE], config={"Labels": {"k": "v"}}))
    bench.images.pull("y:2")
    assert {tag for image in bench.images.list(filters=filters) for tag in image.tags} == expected


def test_an_unknown_filter_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidArgument, match="colour"):
        bench.images.list(filters={"colour": ["red"]})
    with pytest.raises(InvalidArgument, match="dangling"):
        bench.images.list(filters={"dangling": ["maybe"]})


def test_inspect_speaks_as_docker_does(bench: Bench, pulled: str) -> None:
    document = bench.images.inspect("x")
    assert document["Id"] == pulled
    assert document["RepoTags"] == ["x:latest"]
    assert document["RepoDigests"][0].startswith("x@sha256:")
    assert document["Created"] == "2024-01-02T03:04:05.678901234Z"
    assert document["Os"] == "linux"
    assert document["Architecture"] == images.this_architecture()
    assert document["Config"]["Cmd"] == ["sh"]
    assert document["Config"]["Env"] == [images.DEFAULT_PATH]
    assert document["RootFS"] == {"Type": "layers", "Layers": [BASE.diff_id]}
    json.dumps(document)


# --- running --------------------------------------------------------------------------------------------


def test_a_resolved_image_has_what_a_start_needs(bench: Bench) -> None:
    layers: list[Layer] = [BASE, EXTRA, BASE]
    bench.hub.push("library/x", "latest", images.image(layers, config={"User": "app", "WorkingDir": "/w"}))
    bench.images.pull("x")
    resolved = bench.images.resolve_for_run("x")
    assert (resolved.config.user, resolved.config.working_dir, resolved.name) == ("app", "/w", "x")
    assert [lower.rpartition("/")[2] for lower in resolved.lowers] == [BASE.diff_id, EXTRA.diff_id]
    assert not resolved.is_host
    with pytest.raises(ImageNotFound, match=r"^No such image: x for `linux/s390x`"):
        bench.images.resolve_for_run("x", platform="linux/s390x")
    with pytest.raises(ImageNotFound, match=r"^No such image: y$"):
        bench.images.resolve_for_run("y")


def test_a_damaged_store_is_said(bench: Bench, pulled: str) -> None:
    bench.store.remove_blob(pulled)
    with pytest.raises(ContentError, match="damaged") as caught:
        bench.images.resolve_for_run("x")
    assert "again" in caught.value.hint
    assert bench.images.pull_with_outcome("x").is_new
    assert bench.images.resolve_for_run("x").image.id == pulled


def test_an_image_that_is_removed_while_it_is_looked_up_is_not_found(
    bench: Bench, pulled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowers = bench.store.rootfs_lowers

    def removed_first(diff_ids: list[str]) -> list[str]:
        bench.images.remove("x")
        if any(bench.store.layer(diff_id) is None for diff_id in diff_ids):
            raise NotFound("the layer is not here")
        return lowers(diff_ids)

    monkeypatch.setattr(bench.store, "rootfs_lowers", removed_first)
    with pytest.raises(ImageNotFound, match=r"^No such image: x$"):
        bench.images.resolve_for_run("x")


def test_an_image_without_layers_cannot_run(bench: Bench) -> None:
    bench.hub.push("library/x", "latest", images.image([]))
    bench.images.pull("x")
    with pytest.raises(InvalidArgument, match="no layers"):
        bench.images.resolve_for_run("x")


def test_the_host_image_needs_no_network(bench: Bench) -> None:
    resolved = bench.images.resolve_for_run("host")
    assert resolved.is_host
    assert resolved.lowers == ("/",)
    assert resolved.config.cmd == ("/bin/sh",)
    assert bench.hub.requests == []
    assert bench.images.get("host").tags == ("host:latest",)


def test_hello_world_is_made_of_the_packages_program(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "hello-world"
    program.write_bytes(b"first")
    monkeypatch.setattr("pyrust_ctr.paths.binary", lambda _name: program)
    first = bench.images.resolve_for_run("hello-world")
    again = bench.images.resolve_for_run("hello-world:latest")
    assert first.image.id == again.image.id
    assert first.config.cmd == ("/hello-world",)
    assert len(bench.store.applied) == 1
    program.write_bytes(b"an upgrade")
    upgraded = bench.images.resolve_for_run("hello-world")
    assert upgraded.image.id != first.image.id
    assert bench.images.get(first.image.id).is_dangling


def test_a_pulled_image_wins_over_a_built_in_one(bench: Bench) -> None:
    bench.hub.push("library/hello-world", "latest", images.image([BASE]))
    pulled = bench.images.pull("hello-world")
    assert bench.images.resolve_for_run("hello-world").image.id == pulled.id
