"""A home for a whole file, an image's files, and what doctor says of a cluster that stands in."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.contract.done import Done
from tally import content

if TYPE_CHECKING:  # only doctor's tests have the time for Kubernetes' client
    from helpers.kubernetes_standin import ApiServer, Lines


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TALLY_HOME that a file's tests have together, with `one_home`."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def one_home(home: Path, tally_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a fresh home: each test goes on with what those before it in the file left."""
    monkeypatch.setenv("TALLY_HOME", str(home))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """What lies in /app of an image that was made of these sources."""
    folder = tmp_path / "image"
    for name in ("tally", "components"):
        shutil.copytree(Path(__file__).parents[2] / name, folder / name)
    (folder / content.FILE).write_text(content.tag_of())
    return folder


@pytest.fixture
def api() -> Iterator["ApiServer"]:
    """An API server of Kubernetes with the namespace that Kubeflow has for one user."""
    from helpers.kubernetes_standin import ApiServer, serving

    with serving(ApiServer()) as server:
        server.make_namespace("kubeflow", "pipeline-runner")
        yield server


@pytest.fixture
def lines(api: "ApiServer", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Lines":
    """What doctor says, or of it the lines about one thing."""
    from helpers.kubernetes_standin import TOKEN
    from tally.runs import doctor_cluster
    from tally.runs.finding import SECONDS

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    path = tmp_path / "kubeconfig"
    api.write_kubeconfig(path)

    def said(what: str = "", seconds: float = SECONDS, **environment: str) -> list[str]:
        given = {"KUBECONFIG": str(path), "HOME": str(tmp_path), **environment}
        found = [one.line() for one in doctor_cluster.findings(given, seconds)]
        assert not any(TOKEN in line for line in found)
        return [line for line in found if f" {what}" in line.partition(": ")[0]]

    return said


@pytest.fixture
def kubeconfig(api: "ApiServer", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The API server's kubeconfig, as commands find it that run in this process."""
    from kubernetes.config import kube_config

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    path = tmp_path / "kubeconfig"
    api.write_kubeconfig(path)
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    return path


@pytest.fixture
def called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """The real command in this process; nothing that it sets outlives it."""
    from tally import cli

    def call(*arguments: str, **environment: str) -> Done:
        before = dict(os.environ)
        os.environ.update(environment)
        monkeypatch.setattr(sys, "argv", ["tally", *arguments])
        try:
            with pytest.raises(SystemExit) as end:
                cli.main()
        finally:
            for name in set(os.environ) - set(before):
                del os.environ[name]
            os.environ.update(before)
        said = capsys.readouterr()
        return Done(int(end.value.code or 0), said.out, said.err)

    return call
