"""The command line on a fake runtime: what it prints, where, and how it ends."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from tests.support.fake_runtime import FakeRuntime

from pyrust_ctr import runtime
from pyrust_ctr.cli import _container_options, _foreground, _human, _unsupported, app
from pyrust_ctr.cli._template import Template
from pyrust_ctr.errors import InvalidArgument
from pyrust_ctr.models.options import ContainerOptions

if TYPE_CHECKING:
    from pathlib import Path


class Outcome(tuple[int, str, str]):
    __slots__ = ()

    @property
    def status(self) -> int:
        return self[0]

    @property
    def out(self) -> str:
        return self[1]

    @property
    def err(self) -> str:
        return self[2]


class Pctr(Protocol):
    def __call__(self, *arguments: str) -> Outcome: ...


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRuntime:
    made = FakeRuntime()
    monkeypatch.setattr(runtime, "load", lambda: made)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PYRUST_CTR_ROOT", str(tmp_path / "state"))
    return made


@pytest.fixture
def pctr(fake: FakeRuntime, capfd: pytest.CaptureFixture[str]) -> Pctr:
    del fake

    def call(*arguments: str) -> Outcome:
        status = app.invoke(arguments)
        return Outcome((status, *capfd.readouterr()))

    return call


def test_a_container_from_the_command_line(pctr: Pctr) -> None:
    created = pctr("create", "--name", "box", "-e", "A=1", "--rm=false", "host", "sleep", "60")
    assert created.status == 0
    container_id = created.out.strip()
    assert len(container_id) == 64
    assert pctr("start", "box").out == "box\n"
    assert pctr("ps", "-q").out == f"{container_id[:12]}\n"
    listed = pctr("ps").out.splitlines()
    assert listed[0].split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert '"sleep 60"' in listed[1]
    assert "Up " in listed[1]
    assert listed[1].endswith("box")
    assert pctr("stop", "-t", "1", "box").out == "box\n"
    assert pctr("wait", "box").out == "143\n"
    assert "Exited (143)" in pctr("ps", "-a").out
    assert pctr("rm", "box").out == "box\n"
    assert pctr("ps", "-aq").out == ""


def test_detached_prints_the_id(pctr: Pctr) -> None:
    ran = pctr("run", "-d", "--name", "bg", "host", "sleep", "60")
    assert ran.status == 0
    assert len(ran.out.strip()) == 64
    assert pctr("kill", "-s", "TERM", "bg").status == 0
    assert pctr("rm", "-f", "bg").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["run", "-d", "host", "nothing"], 127, "executable file not found"),
        (["run", "-d", "-u", "nobody-here", "host", "true"], 125, "unable to find user"),
        (["run", "--pull", "never", "missing", "true"], 125, "No such image: missing"),
        (["run", "Bad", "true"], 125, "must be lower case"),
        (["run", "-p", "80:80", "host", "true"], 125, "`--publish` is not available: networks are not"),
        (["run", "--restart", "always", "host", "true"], 125, "`--restart` is not available"),
        (["run", "-P", "host", "true"], 125, "`--publish-all` is not available"),
        (["run", "--gpus=all", "host", "true"], 125, "`--gpus` is not available"),
        (["run", "--network", "bridge", "host", "true"], 125, "networks are not available yet"),
        (["run", "-v", "data:/x", "host", "true"], 125, "named volumes are not available yet"),
        (["run", "--memory", "1k", "host", "true"], 125, "at least 6m"),
        (["run", "--what", "host", "true"], 125, "no such option: --what"),
        (["run"], 125, "missing argument"),
        (["run", "-it", "host", "true"], 125, "the input device is not a TTY"),
        (["frobnicate"], 125, "no such command 'frobnicate'"),
        (["rm", "nobody"], 125, "No such container: nobody"),
        (["inspect", "nobody"], 125, "No such object: nobody"),
        (["exec", "nobody", "true"], 125, "No such container: nobody"),
        (["logs", "--tail", "x", "nobody"], 125, "No such container"),
        (["ps", "--filter", "x"], 125, "a filter is `key=value`"),
        (["ps", "--format", "{{.What}}", "-a"], 0, ""),
    ],
)
def test_bad_input_is_one_sentence(pctr: Pctr, arguments: list[str], status: int, sentence: str) -> None:
    outcome = pctr(*arguments)
    assert outcome.status == status
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err
    assert len(outcome.err.splitlines()) <= 2
    if status:
        assert outcome.err.startswith("pctr: ")


def test_a_defect_is_told_as_one(pctr: Pctr, fake: FakeRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(state_dir: str) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(fake, "doctor", fail)
    outcome = pctr("doctor")
    assert outcome.status == 125
    assert "this is a defect of pctr: ZeroDivisionError: oops" in outcome.err


def test_several_containers_and_one_failure(pctr: Pctr) -> None:
    pctr("create", "--name", "here", "host", "true")
    outcome = pctr("rm", "nobody", "here")
    assert outcome.status == 125
    assert outcome.out == "here\n"
    assert "No such container: nobody" in outcome.err


def test_inspect_shows_json_or_a_template(pctr: Pctr) -> None:
    pctr("create", "--name", "box", "-l", "a=b", "host", "true")
    (document,) = json.loads(pctr("inspect", "box").out)
    assert document["Name"] == "/box"
    assert pctr("container", "inspect", "-f", "{{.State.Status}}", "box").out == "created\n"
    assert pctr("inspect", "-f", "{{json .Config.Labels}}", "box").out == '{"a":"b"}\n'
    assert pctr("inspect", "-f", '{{index .Config.Labels "a"}}', "box").out == "b\n"
    outcome = pctr("inspect", "-f", "{{.Nothing}}", "box")
    assert outcome.status == 125
    assert "there is no `Nothing`" in outcome.err


def test_lists_in_every_form(pctr: Pctr) -> None:
    pctr("create", "--name", "box", "host", "true")
    assert json.loads(pctr("ps", "-a", "--format", "json").out)["Names"] == "box"
    assert pctr("ps", "-a", "--format", "{{.Names}}\\t{{upper .State}}").out == "box\tCREATED\n"
    shown = pctr("ps", "-a", "--format", "table {{.Names}}\\t{{.Status}}").out.splitlines()
    assert [line.split() for line in shown] == [["NAMES", "STATUS"], ["box", "Created"]]
    assert pctr("ps", "-aq", "--filter", "name=nobody").out == ""
    assert pctr("container", "prune", "-f").out.startswith("Deleted Containers:\n")


def test_doctor_says_what_is_missing(pctr: Pctr) -> None:
    outcome = pctr("doctor")
    assert outcome.status == 0, "only an optional feature is missing"
    assert "overlayfs" in outcome.out
    assert "openat2: Use Linux 5.6 or later." in outcome.out


def test_a_log_goes_to_the_right_streams(pctr: Pctr, fake: FakeRuntime) -> None:
    pctr("run", "-d", "--name", "talk", "host", "echo", "hi")
    pctr("wait", "talk")
    (folder,) = fake.containers
    with open(f"{folder}/container.log", "a", encoding="utf-8") as file:
        file.write('{"log":"bad\\n","stream":"stderr","time":"2026-01-01T00:00:00Z"}\n')
    outcome = pctr("logs", "talk")
    assert (outcome.out, outcome.err) == ("hi\n", "bad\n")
    stamped = pctr("logs", "-t", "--tail", "1", "talk").err
    assert stamped == "2026-01-01T00:00:00.000000000Z bad\n"


def test_a_file_for_the_id(pctr: Pctr, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    made = pctr("create", "--cidfile", str(file), "host", "true")
    assert file.read_text() == made.out.strip()
    again = pctr("create", "--cidfile", str(file), "host", "true")
    assert again.status == 125
    assert "exists already" in again.err


def test_files_of_variables(pctr: Pctr, tmp_path: Path, fake: FakeRuntime) -> None:
    file = tmp_path / "env"
    file.write_text("A=1\nB=2\n")
    pctr("create", "--env-file", str(file), "-e", "B=3", "host", "true")
    assert {"A=1", "B=3"} <= set(fake.specs[-1]["process"]["env"])
    assert pctr("create", "--env-file", "/nowhere", "host", "true").status == 125


# --- options --------------------------------------------------------------------------------------------


def test_what_follows_the_image_is_the_commands(pctr: Pctr, fake: FakeRuntime) -> None:
    pctr("create", "-i", "host", "echo", "--name", "x", "-e", "--init=false", "--", "-p")
    assert fake.specs[-1]["process"]["args"] == ["echo", "--name", "x", "-e", "--init=false", "--", "-p"]


def test_flags_take_docker_values(pctr: Pctr, fake: FakeRuntime) -> None:
    pctr(
        "create", "--init=true", "--read-only=false", "-e", "--init=false", "--restart", "no", "host", "true"
    )
    assert fake.specs[-1]["init"]
    assert not fake.specs[-1]["root"]["is_readonly"]
    assert "--init=false" in fake.specs[-1]["process"]["env"]
    assert pctr("create", "--init=perhaps", "host", "true").status == 125


def _parameters() -> dict[str, Any]:
    from pyrust_ctr.cli.run import run

    return dict(inspect.signature(run).parameters)


def test_every_option_reaches_the_engine() -> None:
    used = {*_container_options._SAME_NAME, "env", "env_file", "label", "label_file", "volume", "mount"}
    used |= {"ulimit", "log_opt", "interactive", "rm", "entrypoint", "image", "command"}
    used |= {"pull", "quiet", "cidfile", "detach", "no_sig_proxy"}
    assert set(_parameters()) == used
    assert set(_container_options._SAME_NAME) <= set(ContainerOptions.__annotations__)


def test_refused_options_are_not_offered() -> None:
    options = (*_container_options._OPTIONS, *_container_options._RUN_OPTIONS)
    offered = [name for option in options for name in option.names.split()]
    assert len(offered) == len(set(offered))
    assert set(_unsupported.reasons()).isdisjoint(offered)


def test_refused_options_in_every_spelling(pctr: Pctr, fake: FakeRuntime) -> None:
    for words in (
        ["-p", "1:1"],
        ["-p1:1"],
        ["--publish=1:1"],
        ["--publish", "1:1"],
        ["-dp", "1:1"],
        ["-e", "A", "-P"],
    ):
        assert "is not available" in pctr("run", *words, "host", "true").err, words
    for words in (
        ["-e", "-p"],
        ["-e-P"],
        ["--name", "x", "-w", "/-p"],
        ["--label=--publish"],
        ["-ie", "--gpus"],
    ):
        assert pctr("create", *words, "host", "true").status == 0, words
    assert len(fake.specs) == 5


# --- templates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.A}}", "1"),
        ("{{ .B.C }}-{{.B.D}}", "x-[1 2]"),
        ("{{json .B}}", '{"C":"x","D":[1,2]}'),
        ("{{upper .B.C}}{{lower .B.C}}{{len .B.D}}", "Xx2"),
        ("{{range .B.D}}<{{.}}>{{end}}", "<1><2>"),
        ("{{range $k, $v := .B}}{{$k}}={{$v}};{{end}}", "C=x;D=[1 2];"),
        ("{{range .E}}x{{else}}none{{end}}", "none"),
        ("{{if .A}}yes{{else}}no{{end}}{{if .E}}yes{{end}}", "yes"),
        ('{{index .B "C"}}{{index .B.D 1}}', "x2"),
        ('{{join .F ", "}}', "a, b"),
        ("{{.F | json}}", '["a","b"]'),
        ("a {{- .A -}} b", "a1b"),
        ('{{"quoted"}}', "quoted"),
        ("{{.G}}{{.H}}", "true<no value>"),
        ("{{$.A}}", "1"),
        ("plain", "plain"),
    ],
)
def test_templates(template: str, text: str) -> None:
    value = {"A": 1, "B": {"C": "x", "D": [1, 2]}, "E": [], "F": ["a", "b"], "G": True, "H": None}
    assert Template(template).render(value) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{.X}}",
        "{{",
        "{{end}}",
        "{{range .A}}",
        "{{what .A}}",
        "{{}}",
        "{{$x}}",
        "{{range .A}}{{end}}",
        "{{A}}",
    ],
)
def test_wrong_templates_are_refused(template: str) -> None:
    with pytest.raises(InvalidArgument, match="the format"):
        Template(template).render({"A": 1})


# --- small things ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (600, "10 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (3 * 86400, "3 days"),
        (20 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert _human.duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_234_567, "1.23MB"), (4 * 10**9, "4GB")]
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert _human.size(size) == text


def test_the_keys_that_detach() -> None:
    assert _foreground.find_detach(b"abc") == (b"abc", b"", False)
    assert _foreground.find_detach(b"ab\x10") == (b"ab", b"\x10", False)
    assert _foreground.find_detach(b"\x10\x11") == (b"", b"", True)
    assert _foreground.find_detach(b"x\x10\x11y") == (b"x", b"", True)
    assert _foreground.find_detach(b"\x10x") == (b"\x10x", b"", False)


def test_help_needs_no_command_to_be_imported() -> None:
    script = (
        "import sys; from pyrust_ctr.cli.app import invoke; invoke(['--help']); "
        "print([name for name in sys.modules if name.startswith('pyrust_ctr.cli.') "
        "and name.rpartition('.')[2] in ('run', 'exec', 'images', 'logs')], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip() == "[]"
    assert "Create a container from an image" in done.stdout


def test_run_loads_nothing_heavy() -> None:
    heavy = ("asyncio", "rich", "http", "email", "ssl", "importlib.metadata", "urllib.request", "logging")
    used = (
        "cli.run",
        "containers.create",
        "containers.start",
        "containers.run",
        "images.service",
        "state.db",
    )
    script = (
        "import sys\nfrom pyrust_ctr.cli.app import invoke\n"
        f"import {', '.join(f'pyrust_ctr.{name}' for name in used)}\n"
        "invoke(['run', '--help'])\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip() == "[]"


def test_every_command_has_a_help_text(pctr: Pctr) -> None:
    tables: list[tuple[list[str], Any]] = [
        ([], app.COMMANDS),
        (["container"], app.CONTAINER_COMMANDS),
        (["image"], app.IMAGE_COMMANDS),
    ]
    for prefix, entries in tables:
        for name in entries:
            outcome = pctr(*prefix, name, "--help")
            assert outcome.status == 0, name
            assert outcome.out.startswith(f"Usage: pctr {' '.join([*prefix, name])}"), name
