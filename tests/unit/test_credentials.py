"""Docker's credential file: read as Docker reads it, written without losing anything."""

from __future__ import annotations

import base64
import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from pyrust_ctr.errors import InvalidArgument
from pyrust_ctr.registry.credentials import CredentialFile, Credentials

if TYPE_CHECKING:
    from pathlib import Path


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def file(tmp_path: Path) -> CredentialFile:
    return CredentialFile(tmp_path / "docker" / "config.json")


def write(file: CredentialFile, document: Any) -> None:
    file.path.parent.mkdir(exist_ok=True)
    file.path.write_text(document if isinstance(document, str) else json.dumps(document))


def test_without_a_file_nobody_is_known(file: CredentialFile) -> None:
    assert file.lookup("docker.io").credentials is None
    assert not file.erase("docker.io")
    assert not file.path.exists()


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("localhost:5000", "localhost:5000"),
        ("https://quay.io/v2/", "quay.io"),
        ("Quay.io", "quay.io"),
    ],
)
def test_keys_are_understood_as_docker_understands_them(
    file: CredentialFile, key: str, registry: str
) -> None:
    write(file, {"auths": {"other": {}, key: {"auth": encoded("alice:a:b")}}})
    assert file.lookup(registry).credentials == Credentials("alice", "a:b")
    assert file.lookup("else.example").credentials is None


def test_an_identity_token_stands_for_a_password(file: CredentialFile) -> None:
    write(file, {"auths": {"x": {"auth": encoded("<token>:"), "identitytoken": "t0k3n"}}})
    found = file.lookup("x").credentials
    assert found is not None
    assert found.identity_token == "t0k3n"
    assert "t0k3n" not in repr(found)


def test_a_helper_is_named_only_where_the_file_has_nothing(file: CredentialFile) -> None:
    write(
        file,
        {
            "auths": {"x": {"auth": encoded("a:b")}, "y": {}},
            "credsStore": "desktop",
            "credHelpers": {"z": "pass"},
        },
    )
    assert file.lookup("x").helper == ""
    assert file.lookup("y").helper == "desktop"
    assert file.lookup("z").helper == "pass"


@pytest.mark.parametrize(
    "document",
    [
        "[",
        "[]",
        {"auths": ["x"]},
        {"auths": {"x": 3}},
        {"auths": {"x": {"auth": "%%%"}}},
        {"auths": {"x": {"auth": encoded("nocolon")}}},
    ],
)
def test_a_damaged_file_is_named(file: CredentialFile, document: Any) -> None:
    write(file, document)
    with pytest.raises(InvalidArgument) as caught:
        file.lookup("x")
    assert str(file.path) in str(caught.value)


def test_writing_keeps_everything_else(file: CredentialFile) -> None:
    write(
        file,
        {
            "HttpHeaders": {"X": "ü"},
            "auths": {"other": {"auth": encoded("o:o"), "extra": 1}},
            "psFormat": "x",
        },
    )
    file.path.chmod(0o644)
    file.store("docker.io", Credentials("alice", "pässword"))
    document = json.loads(file.path.read_text())
    assert document["HttpHeaders"] == {"X": "ü"}
    assert document["psFormat"] == "x"
    assert document["auths"]["other"] == {"auth": encoded("o:o"), "extra": 1}
    assert document["auths"]["https://index.docker.io/v1/"] == {"auth": encoded("alice:pässword")}
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [entry.name for entry in file.path.parent.iterdir()] == ["config.json"]
    assert file.erase("docker.io")
    assert set(json.loads(file.path.read_text())["auths"]) == {"other"}


def test_logging_in_again_replaces_old_spellings(file: CredentialFile) -> None:
    write(file, {"auths": {"https://quay.io/v1/": {"auth": encoded("old:old")}}})
    file.store("quay.io", Credentials("new", "new"))
    assert json.loads(file.path.read_text())["auths"] == {"quay.io": {"auth": encoded("new:new")}}


def test_a_link_stays_a_link(file: CredentialFile, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    file.path.parent.mkdir()
    file.path.symlink_to(real)
    file.store("x", Credentials("a", "b"))
    assert file.path.is_symlink()
    assert "auths" in json.loads(real.read_text())
