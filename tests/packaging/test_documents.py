"""The documents say what is: their commands exist with these options, their links lead somewhere."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def _commands() -> list[str]:
    lines = [line for block in _blocks("console") for line in block.splitlines()]
    return [re.sub(r"^[$#] ", "", line) for line in lines if re.match(r"[$#] ", line)]


PCTR_COMMANDS = [command for command in _commands() if command.startswith("pctr ")]


@cache
def _help(*words: str) -> str:
    program = Path(sys.executable).with_name("pctr")
    shown = subprocess.run(
        [program, *words, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def test_readme_shows_commands() -> None:
    assert "make demo" in _commands()
    assert "make test" in _commands()
    assert PCTR_COMMANDS


@pytest.mark.parametrize("command", PCTR_COMMANDS)
def test_readme_command_exists(command: str) -> None:
    words = shlex.split(command.partition(" | ")[0], comments=True)[1:]
    name = words[:2] if words[0] in {"image", "container"} else words[:1]
    text = _help(*name)
    for word in words[len(name) :]:
        if not word.startswith("-"):
            # What follows the image or container is the container's own command line.
            if (
                name[0] in {"run", "exec", "create"}
                and word[0].isalpha()
                and "=" not in word
                and ":" not in word
            ):
                break
            continue
        option = word.partition("=")[0]
        if re.fullmatch(r"-[a-zA-Z]{2,}", option):  # short options in one word
            options = [f"-{letter}" for letter in option[1:]]
        else:
            options = [option]
        for each in options:
            assert re.search(rf"(^|[\s,]){re.escape(each)}\b", text), (
                f"`{' '.join(name)}` has no option `{each}`"
            )


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(_commands())))))
def test_readme_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("block", _blocks("python"))
def test_readme_python_is_python(block: str) -> None:
    ast.parse(block)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), f"{document.name} links to `{target}`"
        if anchor:
            assert anchor in _anchors(linked), f"{document.name} links to `{target}`"


def _anchors(document: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
