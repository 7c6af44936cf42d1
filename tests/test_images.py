"""What the images are made of, and what images.sh says and asks of each builder, unbuilt."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tally import __version__, content

PROJECT = Path(__file__).parents[1]
DOCKERFILES = sorted((PROJECT / "images").glob("*.Dockerfile"))
LOCKS = sorted((PROJECT / "requirements").glob("*.lock"))

# In place of a builder: it tells what it was asked, and pushes to nowhere.
_STAND_IN = """#!/bin/sh
echo {name} "$@" >>{folder}/asked
[ "$1 {dead}" != "info yes" ] || exit 1
case "$1" in
images) case "$*" in *format*) echo 219 MB ;; *) echo 0123456789ab ;; esac ;;
push) while [ $# -gt 0 ]; do [ "$1" != --digestfile ] || echo sha256:{digest} >"$2"; shift; done ;;
image) for it in tally-gpu tally-meter; do echo registry.example/team/$it@sha256:{digest}; done ;;
esac
"""
DIGEST = "a" * 64


def images(
    folder: Path, builders: dict[str, bool], **environment: str
) -> "subprocess.CompletedProcess[str]":
    """images.sh where these builders are there, and answer or not."""
    tools = folder / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname", "sed", "date", "head", "timeout", "mktemp", "cat", "rm", "grep"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    (tools / "python3").symlink_to(sys.executable)
    for name, answers in builders.items():
        program = tools / name
        program.write_text(
            _STAND_IN.format(
                name=name,
                folder=shlex.quote(str(folder)),
                dead="no" if answers else "yes",
                digest=DIGEST,
            )
        )
        program.chmod(0o755)
    return subprocess.run(
        ["/bin/sh", str(PROJECT / "scripts/images.sh")],
        env={"PATH": str(tools), "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_is_of_a_named_base_and_ends_as_nobody(path: Path) -> None:
    text = path.read_text()
    defaults = dict(re.findall(r"^ARG (\w+)=(.+)$", text, re.MULTILINE))
    stages: set[str] = set()
    for base, stage in re.findall(r"^FROM (\S+)(?: AS (\w+))?$", text, re.MULTILINE):
        named = re.sub(r"\$\{(\w+)\}", lambda found: defaults[found[1]], base)
        assert named in {"scratch", *stages} or re.search(r":\d[\w.-]*$", named), named
        stages.add(stage)
    assert "latest" not in text
    last = text.rindex("FROM ")
    assert re.findall(r"^USER (.+)$", text[last:], re.MULTILINE) == ["65532:65532"]
    for line in text[last:].splitlines():  # downloads only in libraries.sh, hash by hash
        assert not re.search(r"\b(apt-get|curl|wget|ADD)\b|pip install", line)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_requirement_of_a_lock_has_its_hashes(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text and "--index" not in text
    entries = re.sub(r"\\\n", "", text).splitlines()
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9][a-z0-9._-]*==\S+ .*--hash=sha256:[0-9a-f]{64}", entry), entry[
            :80
        ]


def named_by(source: str) -> set[str]:
    """What a module may load: what it imports, and words in quotes."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"[\w+]+", str(node.value)):
            found |= set(str(node.value).split("+"))
    return found


@pytest.mark.parametrize(
    ("name", "folders"), [("local", "tally components pipelines"), ("meter", "tally")]
)
def test_somebody_imports_every_requirement(name: str, folders: str) -> None:
    paths = [path for folder in folders.split() for path in (PROJECT / folder).rglob("*.py")]
    loaded = set[str]().union(*(named_by(path.read_text()) for path in paths))
    text = "".join(
        (PROJECT / f"requirements/{each}.in").read_text()
        for each in {"local": ("common", "local")}.get(name, (name,))
    )
    wanted = [Requirement(line) for line in re.findall(r"^\w[^#\n]+", text, re.MULTILINE)]
    assert len(wanted) > 10
    for library in wanted:
        if library.marker is None or library.marker.evaluate():
            files = metadata.files(library.name) or []
            modules = {".".join(file.with_suffix("").parts) for file in files}
            assert {module.removesuffix(".__init__") for module in modules} & loaded, library


def pins(name: str) -> dict[str, set[str]]:
    """Each library's versions; a lock for every machine may have two of one."""
    found: dict[str, set[str]] = {}
    text = (PROJECT / f"requirements/{name}.lock").read_text()
    for library, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE):
        found.setdefault(library, set()).add(version)
    return found


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("worker-gpu", {"tensorflow", "nvidia-cudnn-cu12", "nvidia-nccl-cu12"}),
        ("worker-tpu", {"tensorflow-tpu", "libtpu"}),
    ],
)
def test_an_accelerators_lock_has_its_tensorflow_and_the_rest_at_the_same_versions(
    name: str, own: set[str]
) -> None:
    usual, here = pins("local"), pins(name)
    assert own <= here.keys() and "tensorflow-cpu" not in here
    shared = here.keys() & usual.keys() - {"tensorflow"}
    assert [library for library in shared if not here[library] <= usual[library]] == []
    assert {"keras", "kfp", "grpcio", "safetensors"} <= shared


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        pytest.param({"ACCELERATOR": "npu"}, "cpu, gpu or tpu, got 'npu'", id="accelerator"),
        pytest.param({"PUSH": "yes"}, "expected PUSH to be 1 or nothing, got 'yes'", id="push"),
        pytest.param({"PUSH": "1"}, "expected REGISTRY with PUSH=1, got none", id="nowhere"),
        pytest.param({"REGISTRY": "r.example/a"}, "expected PUSH=1 with REGISTRY", id="no push"),
        pytest.param(
            {"REGISTRY": "https://r.example", "PUSH": "1"}, "like registry.example/team", id="URL"
        ),
        pytest.param({"REGISTRY": "a;b", "PUSH": "1"}, "like registry.example/team", id="words"),
        pytest.param(
            {"BUILDER": "kaniko"}, "buildah, podman or docker, got 'kaniko'", id="builder"
        ),
        pytest.param({"BUILDER": "podman"}, "expected BUILDER podman to answer", id="not there"),
        pytest.param({"BUILDER": "docker"}, "expected BUILDER docker to answer", id="no server"),
        pytest.param({}, "expected buildah, podman or docker, got none that answers", id="none"),
    ],
)
def test_what_cannot_be_built_gets_one_line(
    environment: dict[str, str], says: str, tmp_path: Path
) -> None:
    done = images(tmp_path, {"docker": False}, **environment)
    assert done.returncode == 2 and done.stdout == ""
    assert says in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("builder", ["buildah", "podman", "docker"])
def test_whichever_builder_is_there_builds_pushes_and_names_by_digest(
    builder: str, tmp_path: Path
) -> None:
    there = {"docker": False, builder: True}
    where = {"REGISTRY": "registry.example/team", "PUSH": "1"}
    done = images(tmp_path, there, ACCELERATOR="gpu", **where)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"export TALLY_IMAGE=registry.example/team/tally-gpu@sha256:{DIGEST}",
        f"export IMAGES=localhost/tally-meter=registry.example/team/tally-meter@sha256:{DIGEST}",
    ]
    asked = (tmp_path / "asked").read_text().splitlines()
    built = [line for line in asked if line.startswith(f"{builder} build ")]
    assert len(built) == 2 and all("-f images/" in line for line in built)
    assert "LOCK=worker-gpu" in built[0] and "LOCK" not in built[1]
    assert ("--timestamp 0" in built[0]) is (builder != "docker")  # what docker does not know
    assert ("SOURCE_DATE_EPOCH=0" in built[0]) is (builder == "docker")
    tag = f"{__version__}-{content.tag_of(PROJECT, 'meter')}"
    pushed = [line for line in asked if line.startswith(f"{builder} push ")]
    assert len(pushed) == 2 and f"registry.example/team/tally-meter:{tag}" in pushed[1]
    assert "219 MB" in done.stderr


def test_a_bill_of_materials_names_what_is_installed_and_is_the_same_twice(tmp_path: Path) -> None:
    sys.path.insert(0, str(PROJECT / "images"))
    try:
        import sbom
    finally:
        sys.path.pop(0)
    status = (
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\n"
        "Version: 2.36-9+deb12u14\nDescription: GNU C Library\n more: of it\n\n"
        "Package: apt\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 2.6\n"
    )
    (made,) = sbom.debian_components(status)
    assert made["purl"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64"
    said = [
        subprocess.run(
            [sys.executable, str(PROJECT / "images/sbom.py")],
            env={"PATH": os.environ["PATH"], "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    whole = json.loads(said[0])
    assert whole["bomFormat"] == "CycloneDX"
    assert f"pkg:pypi/kfp@{metadata.version('kfp')}" in {c["purl"] for c in whole["components"]}
