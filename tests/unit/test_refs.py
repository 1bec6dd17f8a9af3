"""The reference grammar: Docker's rules by example, and properties over all that it can say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrust_ctr.errors import InvalidReference
from pyrust_ctr.refs import MAX_NAME_LENGTH, Reference, normalize_registry

DIGEST = "sha256:" + "0123456789abcdef" * 4

EXAMPLES = {
    "busybox": ("docker.io", "library/busybox", "latest", None),
    "busybox:1.36": ("docker.io", "library/busybox", "1.36", None),
    "user/app": ("docker.io", "user/app", "latest", None),
    "docker.io/busybox": ("docker.io", "library/busybox", "latest", None),
    "index.docker.io/user/app:x": ("docker.io", "user/app", "x", None),
    "quay.io/a/b/c": ("quay.io", "a/b/c", "latest", None),
    "localhost/x": ("localhost", "x", "latest", None),
    "localhost:5000": ("docker.io", "library/localhost", "5000", None),
    "LOCALHOST:5000/x": ("localhost:5000", "x", "latest", None),
    "Registry/x": ("Registry", "x", "latest", None),
    "127.0.0.1:5000/x:y": ("127.0.0.1:5000", "x", "y", None),
    "[::1]:5000/x:y": ("[::1]:5000", "x", "y", None),
    "[2001:db8::1]/x": ("[2001:db8::1]", "x", "latest", None),
    f"localhost:5000/a/b:c@{DIGEST}": ("localhost:5000", "a/b", "c", DIGEST),
    f"busybox@{DIGEST}": ("docker.io", "library/busybox", None, DIGEST),
    "a__b/c-d/e---f/g.h": ("docker.io", "a__b/c-d/e---f/g.h", "latest", None),
    "x:_.-": ("docker.io", "library/x", "_.-", None),
    "x:" + "t" * 128: ("docker.io", "library/x", "t" * 128, None),
}


@pytest.mark.parametrize(("text", "parts"), EXAMPLES.items())
def test_a_reference_has_the_parts_that_docker_sees(text: str, parts: tuple[str | None, ...]) -> None:
    parsed = Reference.parse(text)
    assert (parsed.registry, parsed.path, parsed.tag, parsed.digest) == parts


@pytest.mark.parametrize(
    ("text", "reason"),
    {
        "": "empty",
        "Busybox": "lower case: `busybox`",
        "docker.io/User/app": "lower case: `user/app`",
        "busybox:": "tag",
        "busybox:-x": "tag",
        "x:" + "t" * 129: "tag",
        "a//b": "not an image reference",
        "/a": "not an image reference",
        "a/": "not an image reference",
        "a___b": "not an image reference",
        "a..b/c": "malformed",
        "-a": "not an image reference",
        "a b": "not an image reference",
        "a\n": "not an image reference",
        "ä": "not an image reference",
        "https://quay.io/x": "URL",
        "x@sha256:abc": "64 lower-case",
        "x@sha256:" + "A" * 64: "64 lower-case",
        "x@sha512:" + "a" * 128: "only `sha256` is supported",
        "x@": "malformed",
        "a" * 64: "image id",
        "localhost:99999/x": "between 1 and 65535",
        "localhost:0/x": "between 1 and 65535",
        "[::g]:1/x": "malformed",
        "[:::]:1/x": "IPv6",
        "host_name.example/x": "malformed",
        "-.example/x": "malformed",
        "docker.io/": "not an image reference",
    }.items(),
)
def test_a_malformed_reference_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert reason in str(caught.value)


def test_a_name_may_have_255_characters_and_no_more() -> None:
    registry = "registry.example"
    longest = "a" * (MAX_NAME_LENGTH - len(registry) - 1)
    assert Reference.parse(f"{registry}/{longest}").path == longest
    with pytest.raises(InvalidReference, match="longer than 255"):
        Reference.parse(f"{registry}/{longest}a")


def test_a_message_quotes_no_book_and_no_escape_sequence() -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse("\x1b[31m" + "A" * 100_000)
    assert len(str(caught.value)) < 600
    assert "\x1b" not in str(caught.value)


def test_the_digest_decides_when_there_is_a_tag_too() -> None:
    both = Reference.parse(f"localhost:5000/a/b:c@{DIGEST}")
    assert both.canonical == f"localhost:5000/a/b@{DIGEST}"
    assert both.wanted == DIGEST
    assert both.familiar == f"localhost:5000/a/b:c@{DIGEST}"


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "https://index.docker.io/v1/": "docker.io",
        "registry-1.docker.io": "docker.io",
        "docker.io": "docker.io",
        "HTTP://x": None,
        "https://Quay.io/": "quay.io",
        "localhost:5000": "localhost:5000",
        "[::1]:5000": "[::1]:5000",
        "": None,
        "a b": None,
        "x:0": None,
    }.items(),
)
def test_registries_have_one_name(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(InvalidReference):
            normalize_registry(text)
    else:
        assert normalize_registry(text) == expected


_ALNUM = "abcdefghijklmnopqrstuvwxyz0123456789"
_WORD = st.text(_ALNUM, min_size=1, max_size=8)
_COMPONENT = st.builds(
    lambda words, separator: separator.join(words),
    st.lists(_WORD, min_size=1, max_size=3),
    st.sampled_from([".", "_", "__", "-", "---"]),
)
_PATHS = st.lists(_COMPONENT, min_size=1, max_size=4).map("/".join)
_HOSTS = st.sampled_from(
    ["docker.io", "quay.io", "localhost", "a-b.example", "127.0.0.1", "[::1]", "[fe80::1]"]
)
_PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
_TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True).filter(str.isascii)
_DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)


@given(_HOSTS, _PORTS, _PATHS, st.none() | _TAGS, st.none() | _DIGESTS)
def test_every_reference_survives_writing_and_reading(
    host: str, port: str, path: str, tag: str | None, digest: str | None
) -> None:
    if host == "docker.io":
        port = ""
    text = f"{host}{port}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    parsed = Reference.parse(text)
    assert parsed.tag == (tag or (None if digest else "latest"))
    assert parsed.digest == digest
    assert Reference.parse(parsed.familiar) == parsed
    assert Reference.parse(parsed.canonical).repository == parsed.repository
    assert Reference.parse(parsed.canonical).canonical == parsed.canonical


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_one_clear_error(text: str) -> None:
    try:
        parsed = Reference.parse(text)
    except InvalidReference as failure:
        assert str(failure)
        assert not str(failure).endswith(".")
    else:
        assert Reference.parse(parsed.familiar) == parsed
        assert ".." not in parsed.path.split("/")
        assert not parsed.path.startswith("/")
