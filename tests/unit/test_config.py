"""Settings: merged, typed, and every mistake named with its file and key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyrust_ctr.config import EngineConfig, load_config
from pyrust_ctr.errors import InvalidArgument
from pyrust_ctr.paths import Paths
from pyrust_ctr.registry.endpoints import endpoints_for, is_loopback

if TYPE_CHECKING:
    from pathlib import Path


def load(tmp_path: Path, text: str = "", *, system: str | None = None, **environ: str) -> EngineConfig:
    (tmp_path / "config.toml").write_text(text)
    system_file = tmp_path / "system.toml"
    if system is not None:
        system_file.write_text(system)
    return load_config(Paths(tmp_path), environ=environ, system_file=system_file)


def test_without_files_there_are_defaults(tmp_path: Path) -> None:
    config = load_config(Paths(tmp_path / "none"), environ={}, system_file=tmp_path / "none")
    assert config == EngineConfig()
    assert (config.parallel_downloads, config.max_layer_bytes) == (3, 32 << 30)


def test_files_and_environment_are_merged_key_by_key(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        'registry_timeout_s = 5\n[registries."x:1"]\nplain_http = true\n',
        system='parallel_downloads = 7\nregistry_timeout_s = 9\n[registries."x:1"]\ninsecure = true\n',
        PYRUST_CTR_PARALLEL_DOWNLOADS="2",
    )
    assert config.parallel_downloads == 2
    assert config.registry_timeout_s == 5.0
    assert config.registry("x:1").insecure
    assert config.registry("x:1").plain_http
    assert not config.registry("y").insecure


@pytest.mark.parametrize(
    ("text", "named"),
    {
        "paralel_downloads = 3": "paralel_downloads",
        "parallel_downloads = 0": "parallel_downloads",
        "parallel_downloads = true": "parallel_downloads",
        "parallel_downloads = '3'": "parallel_downloads",
        "max_layer_bytes = -1": "max_layer_bytes",
        "registry_timeout_s = inf": "registry_timeout_s",
        "registry_timeout_s = 0": "registry_timeout_s",
        "registries = 3": "registries",
        "[registries]\nx = 1": "registries.x",
        '[registries."x"]\ninsecur = true': "registries.x.insecur",
        '[registries."x"]\ninsecure = 1': "registries.x.insecure",
        '[registries."x"]\nmirrors = "https://y"': "registries.x.mirrors",
        '[registries."x"]\nmirrors = ["y"]': "registries.x.mirrors",
        '[registries."x"]\nmirrors = ["https://user:pass@y"]': "registries.x.mirrors",
        '[registries."x"]\nca_file = "relative"': "registries.x.ca_file",
        '[registries."x"]\nca_file = "/does/not/exist"': "registries.x.ca_file",
        '[registries."a b"]\ninsecure = true': "a b",
        "x = ": "TOML",
    }.items(),
)
def test_a_mistake_is_named_with_its_file_and_key(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load(tmp_path, text)
    assert named in str(caught.value)
    assert str(tmp_path / "config.toml") in str(caught.value)


@pytest.mark.parametrize(
    "environ", [{"PYRUST_CTR_PARALLEL_DOWNLOADS": "x"}, {"PYRUST_CTR_REGISTRY_TIMEOUT_S": "soon"}]
)
def test_a_mistake_in_the_environment_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(environ))):
        load(tmp_path, **environ)


def urls(registry: str, config: EngineConfig) -> list[str]:
    return [endpoint.base_url for endpoint in endpoints_for(registry, config)]


def test_endpoints_are_tried_in_order(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        '[registries."docker.io"]\nmirrors = ["http://mirror:5000", "https://other/"]\n'
        '[registries."plain.example"]\nplain_http = true\n'
        '[registries."lax.example:1"]\ninsecure = true\n',
    )
    assert urls("docker.io", config) == [
        "http://mirror:5000",
        "https://other",
        "https://registry-1.docker.io",
    ]
    assert urls("plain.example", config) == ["http://plain.example"]
    assert urls("lax.example:1", config) == ["https://lax.example:1", "http://lax.example:1"]
    assert urls("[::1]:5000", config) == ["https://[::1]:5000", "http://[::1]:5000"]
    assert urls("quay.io", config) == ["https://quay.io"]
    assert not any(endpoint.insecure for endpoint in endpoints_for("quay.io", config))
    assert [endpoint.credentials_key for endpoint in endpoints_for("docker.io", config)] == [
        "mirror:5000",
        "other",
        "docker.io",
    ]


@pytest.mark.parametrize(
    ("registry", "expected"),
    {
        "localhost": True,
        "localhost:5000": True,
        "127.3.2.1:5000": True,
        "[::1]:5000": True,
        "[::1]": True,
        "localhost.example": False,
        "127.0.0.1.example": False,
        "10.0.0.1:5000": False,
        "[fe80::1]:5000": False,
    }.items(),
)
def test_only_this_machine_is_loopback(registry: str, expected: bool) -> None:
    assert is_loopback(registry) is expected
