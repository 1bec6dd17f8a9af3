"""Names that are paths, labels that look like settings, and texts that would drive a terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.security.attacks import attack_image

from pyrust_ctr import errors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import CommandLine

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root

PATHS = [
    "../x",
    "../../x",
    "a/b",
    "a/../../b",
    ".",
    "..",
    "/",
    "./x",
    "x/",
    "\\..\\x",
    "x\0y",
    "x\ny",
    "-x",
    "",
    "\u2025/x",
    "a" * 5000,
]


def _everything(directory: Path) -> set[str]:
    return {
        os.path.join(folder, name)
        for folder, folders, files in os.walk(directory)
        for name in folders + files
    }


def test_names_of_containers(engine: Engine, busybox: str, canary: Path) -> None:
    parent = canary.parent
    before = _everything(parent)
    for name in PATHS:
        if name:
            with pytest.raises(errors.Error):
                engine.containers.create(busybox, ["true"], name=name)
            with pytest.raises(errors.Error):
                engine.run(busybox, ["true"], name=name)
        with pytest.raises(errors.Error) as refusal:
            engine.containers.get(name)
        assert "\n" not in refusal.value.message
    assert engine.containers.list(all=True) == []
    new = {path for path in _everything(parent) - before if "state.db" not in path}
    assert new == set()


def test_names_on_the_command_line(cli: CommandLine, engine: Engine, busybox: str, canary: Path) -> None:
    made = engine.containers.create(busybox, ["true"])
    for name in PATHS:
        if "\0" in name or name.startswith("-"):
            continue
        for command in (["rm", "-f"], ["inspect"], ["rmi"]):
            done = cli(*command, name)
            assert done.returncode != 0
            assert "Traceback" not in done.stderr
    for path in (f"../containers/{made.id}", f"{made.id}/..", f"./{made.id}"):
        assert cli("inspect", path).returncode != 0


def test_names_of_images(engine: Engine) -> None:
    for name in [*PATHS, "../../etc/passwd:1", "a/../b", "localhost/../x", "x@sha256:../../etc"]:
        with pytest.raises(errors.Error):
            engine.images.pull(name)
        with pytest.raises(errors.Error):
            engine.images.get(name)


def test_tags_of_an_archive(engine: Engine, canary: Path) -> None:
    for tag in ("../../x:1", "/etc/passwd:1", "x:../y", "a b:1", "x\n:1"):
        with pytest.raises(errors.Error) as refusal:
            attack_image(engine, name=tag)
        assert "\n" not in refusal.value.message
    assert engine.images.list() == []


# --- labels and other texts of an image -------------------------------------------------------------------

LABELS = {
    "run.oci.hooks.stdout": "/bin/touch",
    "run.oci.keep_original_groups": "1",
    "run.oci.handler": "krun",
    "run.oci.seccomp_fail_unknown_syscall": "0",
    "io.containerd.runc.v2.group": "x",
    "io.kubernetes.cri.container-type": "sandbox",
    "org.criu.config": "/etc/evil.conf",
    "cdi.k8s.io/x": "vendor.com/device=all",
    "io.podman.annotations.privileged": "TRUE",
    "io.podman.annotations.seccomp": "unconfined",
    "org.systemd.property.DevicePolicy": "'auto'",
    "io.pyrust-ctr.program": "sha256:" + "0" * 64,
    "io.pyrust-ctr.privileged": "true",
    "devices": "a *:* rwm",
    "__proto__": "x",
    "com.example.line\nbreak": "a\nb",
}
SHOW = (
    "grep -E '^(Cap|Seccomp|NoNewPrivs|Groups)' /proc/self/status; cut -d' ' -f2,3 /proc/self/mounts; ls /dev"
)


def test_labels_are_only_labels(engine: Engine, canary: Path) -> None:
    """CVE-2026-53488, and everything that other runtimes take from annotations."""
    plain = attack_image(engine, name="attack:plain")
    labelled = attack_image(
        engine, config={"Labels": LABELS, "Annotations": LABELS, "HostConfig": {"Privileged": True}}
    )
    for options in ({}, {"init": True}):
        shown = [engine.run(image, ["sh", "-c", SHOW], **options).stdout for image in (plain, labelled)]  # type: ignore[arg-type]
        assert shown[0] == shown[1]
    # The user's labels do no more.
    shown.append(engine.run(plain, ["sh", "-c", SHOW], labels=LABELS, init=True).stdout)
    assert shown[2] == shown[0]


def test_an_image_cannot_ask_for_more(engine: Engine, canary: Path) -> None:
    """Volumes, ports, health checks and unknown settings of an image mount, open and run nothing."""
    config = {
        "Volumes": {str(canary): {}, "/proc": {}, "../x": {}},
        "ExposedPorts": {"22/tcp": {}},
        "Healthcheck": {"Test": ["CMD-SHELL", f"touch {canary}/evil"]},
        "OnBuild": [f"RUN touch {canary}/evil"],
        "Binds": [f"{canary}:/canary"],
        "Privileged": True,
        "CapAdd": ["ALL"],
        "NetworkMode": "host",
        "Mounts": [{"Type": "bind", "Source": str(canary), "Target": "/canary"}],
    }
    image = attack_image(engine, config=config)
    result = engine.run(image, ["sh", "-c", "ls /canary; grep CapEff /proc/self/status; ls /sys/class/net"])
    assert result.stdout.split() == [b"CapEff:", b"00000000a80425fb", b"lo"]


TERMINAL = "\x1b]0;evil\x07\x1b[2J\x9b31m\r\x08"


def _is_clean(text: str) -> bool:
    return not any(
        (ord(character) < 32 and character not in "\n\t") or 0x7F <= ord(character) < 0xA0
        for character in text
    )


def test_texts_of_an_image_do_not_drive_the_terminal(cli: CommandLine, engine: Engine) -> None:
    """The command, user, directory and labels of an image are shown in tables and in messages."""
    image = attack_image(
        engine,
        config={
            "Cmd": [f"no{TERMINAL}such", TERMINAL],
            "Labels": {TERMINAL: TERMINAL},
            "Env": [f"A{TERMINAL}={TERMINAL}"],
            "StopSignal": "",
        },
    )
    engine.containers.create(image, name="evil")
    runs = [
        ["run", "--rm", image],
        ["run", "--rm", "-u", TERMINAL, image],
        ["run", "--rm", "-w", f"/{TERMINAL}", image],
    ]
    for command in (
        ["ps", "-a"],
        ["ps", "-a", "--no-trunc"],
        ["images"],
        ["inspect", "evil"],
        ["start", "evil"],
        *runs,
    ):
        done = cli(*command)
        assert _is_clean(done.stdout), (command, done.stdout)
        assert _is_clean(done.stderr), (command, done.stderr)
        assert "Traceback" not in done.stderr
    for key, value in (("User", TERMINAL), ("WorkingDir", f"/{TERMINAL}/\0"), ("StopSignal", TERMINAL)):
        bad = attack_image(engine, config={key: value}, name="attack:bad")
        done = cli("run", "--rm", bad, "true")
        assert _is_clean(done.stderr), (key, done.stderr)
        assert "Traceback" not in done.stderr


def test_texts_that_cannot_be_written_down(engine: Engine) -> None:
    """JSON can name half of a pair of surrogates, which is no character in any encoding."""
    half = "\ud800"
    for config in ({"Cmd": [half]}, {"User": half}, {"Env": [f"A={half}"]}, {"Labels": {half: half}}):
        with pytest.raises(errors.ContentError):
            attack_image(engine, config=config)
    assert engine.images.list() == []
